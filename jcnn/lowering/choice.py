"""Which lowering a correlation takes on which platform, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from jcnn.lowering.geometry import Geometry

OPERATIONS = ("correlate", "input_gradient", "kernel_gradient")


class Choice(NamedTuple):
    """A lowering's name, and the reason it was taken."""

    name: str
    why: str


_forced: ContextVar[Mapping[str, str]] = ContextVar("forced", default={})
_filtering: ContextVar[bool | None] = ContextVar("filtering", default=None)


@contextmanager
def forced(name: str | None = None, /, **operations: str) -> Iterator[None]:
    """Within the context, what is traced takes this lowering wherever it can serve.

    >>> with forced("patches", input_gradient="xla"):
    ...     choose("correlate", Geometry((9, 9), (3, 3), (1, 1), ((0, 0),) * 2, (1, 1)), 8, 8).name
    'patches'

    The choice is made when a function is traced: a function that ``jax.jit`` compiled before
    keeps the lowerings it was compiled with (``jax.clear_caches()`` forgets them).
    """
    everywhere = dict.fromkeys(OPERATIONS, name) if name else {}
    token = _forced.set({**_forced.get(), **everywhere, **operations})
    try:
        yield
    finally:
        _forced.reset(token)


@contextmanager
def minimal_filtering(on: bool) -> Iterator[None]:
    """Within the context, Winograd's algorithm may (or may not) be chosen in what is traced."""
    token = _filtering.set(on)
    try:
        yield
    finally:
        _filtering.reset(token)


def choose(
    operation: str,
    g: Geometry,
    channels: int,
    features: int,
    *,
    batch: int = 1,
    itemsize: int = 4,
    platform: str = "cpu",
) -> Choice:
    """The lowering for an operation between images of ``channels`` and outputs of ``features``."""
    wanted = _forced.get().get(operation)
    if wanted and wanted in applicable(operation, g, channels, features):
        return Choice(wanted, "forced")
    if platform != "cpu":
        return Choice("xla", "the platform's library recognises XLA's convolution")
    if g.groups > 1:
        if channels // g.groups <= 4:
            return Choice("direct", "too few channels a group for a matrix product")
        return Choice("grouped", "each group is a correlation of its own")
    if _filters(g, channels, features):
        return Choice("winograd", "3x3 at stride 1 with many channels: 36 products for 144")
    rule = {
        "correlate": _correlate,
        "input_gradient": _input_gradient,
        "kernel_gradient": _kernel_gradient,
    }[operation]
    return rule(g, channels, features)


def applicable(operation: str, g: Geometry, channels: int, features: int) -> tuple[str, ...]:
    """The lowerings that can serve an operation."""
    stride_one, dense = max(g.strides) == 1, max(g.dilation) == 1
    names = {
        "xla": True,
        "patches": g.groups == 1 and (stride_one or operation != "input_gradient"),
        "overlap_add": g.groups == 1 and operation == "input_gradient",
        "fold": g.groups == 1 and dense,
        "fold_xla": g.groups == 1 and dense,
        "fold_overlap_add": g.groups == 1 and dense and operation == "input_gradient",
        "direct": True,
        "grouped": g.groups > 1,
        "winograd": g.groups == 1 and dense and stride_one and max(g.window) <= 5,
    }
    return tuple(name for name, fits in names.items() if fits)


def _correlate(g: Geometry, channels: int, features: int) -> Choice:
    if channels <= 4 and max(g.dilation) == 1:
        return Choice("fold", "few channels: several outputs a row fill the matrix product")
    return Choice("xla", "XLA packs its patches in cache, in loops as well")


def _input_gradient(g: Geometry, channels: int, features: int) -> Choice:
    if max(g.dilation) > 1:
        return Choice("xla", "dilated")
    if channels <= 8 and features >= 2 * channels:
        return Choice("fold_overlap_add", "few channels: one product and few sums")
    if max(g.strides) > 1:
        return Choice("fold_xla", "XLA is slow on strided input gradients, not on folded ones")
    return Choice("xla", "a correlation with the flipped kernel, fast in loops as well")


def _kernel_gradient(g: Geometry, channels: int, features: int) -> Choice:
    if channels <= 4 and max(g.dilation) == 1:
        return Choice("fold", "few channels: several outputs a row fill the matrix product")
    return Choice("patches", "XLA's kernel as large as the image is slow, in loops 90 times")


def _filters(g: Geometry, channels: int, features: int) -> bool:
    on = _filtering.get()
    if on is None:
        on = os.environ.get("JCNN_MINIMAL_FILTERING", "1") != "0"
    return (
        on
        and set(g.window) == {3}
        and g.rank == 2
        and set(g.strides) == set(g.dilation) == {1}
        and min(channels, features) >= 128
    )
