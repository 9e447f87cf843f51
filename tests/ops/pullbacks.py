"""Value and gradients for a random cotangent: what most tests of the operations compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def differentiable(args: Sequence[Any]) -> list[int]:
    """Return the places of the floating arrays; labels and keys are the others."""
    return [i for i, a in enumerate(args) if jnp.issubdtype(a.dtype, jnp.floating)]


def cotangents(function: Callable[..., Any], args: Sequence[Any], seed: int = 1) -> Any:
    """Draw an array for each output, of its shape and dtype."""
    generator = np.random.default_rng(seed)
    outputs = jax.eval_shape(function, *args)
    return jax.tree.map(lambda y: generator.standard_normal(y.shape).astype(y.dtype), outputs)


def pullback(function: Callable[..., Any]) -> Callable[..., tuple[Any, tuple[jax.Array, ...]]]:
    """Return ``(dy, *args) -> (y, gradients of the floating args)``."""

    def pulled(dy: Any, *args: Any) -> tuple[Any, tuple[jax.Array, ...]]:
        places = differentiable(args)

        def of_free(*free: jax.Array) -> Any:
            whole = dict(enumerate(args)) | dict(zip(places, free, strict=True))
            return function(*whole.values())

        y, pull = jax.vjp(of_free, *(args[i] for i in places))
        return y, pull(dy)

    return pulled


def assert_close(found: Any, expected: Any, rtol: float, atol: float) -> None:
    """Compare two trees of arrays: the same shapes, each element within its own tolerance."""
    found, expected = jax.tree.leaves(found), jax.tree.leaves(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
