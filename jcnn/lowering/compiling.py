"""What XLA is asked for when it compiles for this machine's CPU."""

from __future__ import annotations

import os

import jax

from jcnn import processor

_WIDTH = "xla_cpu_prefer_vector_width"


def compiler_options() -> dict[str, int]:
    """Return options of ``jax.jit`` that make a program faster on this machine.

    XLA's CPU backend computes its loops over arrays in vectors of 256 bits, those of 512 that a
    processor has unused. AMD's run them at the same clock, and get them: GELU there takes 0.6 of
    the time. Intel's may lower theirs, and keep XLA's choice. Results may differ in their last
    bits, since sums are taken in another order.

    All programs of ``jcnn train``, ``bench`` and ``tune`` are compiled so, those of ``jax.grad``
    that ``bench`` measures them against too. ``XLA_FLAGS=--xla_cpu_prefer_vector_width=256`` wins.

    Returns:
        For ``jax.jit(function, compiler_options=...)``; nothing where XLA's own choice stands.

    >>> program = jax.jit(jax.nn.softplus, compiler_options=compiler_options())
    """
    chosen = _WIDTH in os.environ.get("XLA_FLAGS", "")
    if chosen or jax.default_backend() != "cpu" or not processor.name().startswith("AMD"):
        return {}
    return {_WIDTH: 512} if processor.instructions() == "AVX-512" else {}
