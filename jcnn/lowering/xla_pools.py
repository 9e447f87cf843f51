"""Pools as XLA's own operations on windows, which its compiler for TPUs does best with.

Shifted views and blocks of a stride, compared by elements, a TPU lays out anew: on a v5e, 3x3
windows at stride 2 of (128, 55, 55, 96) moved 4.1 GB forward and backward, XLA's own 0.92; 2x2 of
(128, 24, 24, 32) 102 MB against 59. The price is that the input is kept, and not the winners.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import jax
from jax import lax

from jcnn.geometry import Geometry
from jcnn.precision import in_float32

_platform: ContextVar[str | None] = ContextVar("platform", default=None)


@contextmanager
def traced_for(platform: str) -> Iterator[None]:
    """Within the context, what is traced is to run on this platform, not on JAX's default one.

    What a rule keeps is chosen when it is traced: any choice is right on every platform, and slower
    on another than on its own.

    Args:
        platform: "cpu", "gpu" or "tpu".
    """
    token = _platform.set(platform)
    try:
        yield
    finally:
        _platform.reset(token)


def serves(g: Geometry) -> bool:
    """Whether XLA's own operations are to be taken: on TPUs, where no window is dilated."""
    return (_platform.get() or jax.default_backend()) == "tpu" and max(g.dilation) == 1


def maxima(g: Geometry, x: jax.Array, floor: float | None = None) -> jax.Array:
    """The maximum of each window, and of the floor; padding counts as -inf."""
    y = lax.reduce_window(x, -float("inf"), lax.max, *_windows(g))
    return y if floor is None else lax.max(y, lax.full_like(y, floor))


@in_float32
def scatter_in(g: Geometry, dy: jax.Array, x: jax.Array) -> jax.Array:
    """Adds each dy[m] at the first element of window m of x that is its maximum."""
    _, pull = jax.vjp(partial(maxima, g), x)
    return pull(dy)[0]


def window_sum(g: Geometry, x: jax.Array) -> jax.Array:
    """The sum of each window; padding counts as 0."""
    return lax.reduce_window(x, x.dtype.type(0), lax.add, *_windows(g))


def window_spread(g: Geometry, dy: jax.Array) -> jax.Array:
    """Adjoint of window_sum."""
    x = jax.ShapeDtypeStruct((dy.shape[0], *g.size, dy.shape[-1]), dy.dtype)
    (dx,) = jax.linear_transpose(partial(window_sum, g), x)(dy)
    return dx


def _windows(g: Geometry) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    return (1, *g.window, 1), (1, *g.strides, 1), [(0, 0), *g.padding, (0, 0)]
