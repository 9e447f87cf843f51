"""How much XLA optimises what tests compile."""

from contextlib import contextmanager

import jax


@contextmanager
def few_optimisations(few=True):
    """Within the context, XLA compiles with few optimisations, or with all."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", few)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
