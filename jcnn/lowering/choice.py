"""Which lowering a correlation takes on which platform, and why."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import jax.numpy as jnp

from jcnn.axes import known
from jcnn.geometry import Geometry
from jcnn.lowering.depthwise import TAPS as DEPTHWISE_TAPS
from jcnn.lowering.fold import Fold, outputs_a_block
from jcnn.lowering.policy import asked_for, only_local, winograd_allowed
from jcnn.lowering.windows import UNROLLED
from jcnn.lowering.winograd import TILE

# Output positions of the whole batch below which rearranging x or w is no small part of the work.
SMALL = 1024
# Few enough that starting an operation takes longer than its arithmetic: single small examples.
TINY = 64


class Choice(NamedTuple):
    """A lowering's name, and the reason it was taken."""

    name: str
    why: str


def choose(
    operation: str,
    g: Geometry,
    channels: int,
    features: int,
    *,
    batch: int = 64,
    platform: str = "cpu",
    dtype: jnp.dtype | type = jnp.float32,
) -> Choice:
    """The lowering for an operation between images of ``channels`` and outputs of ``features``.

    Double precision is asked for to be exact: there minimal filtering, which cancels a digit or
    two, is not chosen. Nor is it under ``jax.default_matmul_precision("highest")``, where every
    output depends on its own window alone, and nor are folds that multiply others by zero. Along
    time (one spatial axis) such folds are never chosen: a NaN would reach outputs before it.
    """
    wanted = asked_for(operation)
    if wanted in applicable(operation, g):
        return Choice(wanted, "forced")
    if platform != "cpu":
        return Choice("xla", "the platform's library recognises XLA's convolution")
    if not known(batch, *g.size):
        return _for_any_size(operation, g, channels)
    exact = jnp.dtype(dtype).itemsize == 8
    chosen = _on_cpu(operation, g, channels, features, batch=batch, exact=exact)
    name = "transposed" if operation == "kernel_gradient" else "xla"
    if operations(chosen.name, g, channels, features) > UNROLLED:
        return Choice(name, "a large window: one operation, whatever its size")
    along_time = g.rank == 1 and operation != "kernel_gradient"
    if (along_time or only_local()) and not local(chosen.name, g, channels, features):
        return Choice(name, "what one position holds must reach no window that it isn't in")
    return chosen


def local(name: str, g: Geometry, channels: int, features: int) -> bool:
    """Whether each result depends on the elements that its own sum names, and on no others.

    Others, multiplied by zero or cancelling, would bring their NaN and infinities with them.
    """
    if not name.startswith("fold") or name == "fold_winograd":
        return not name.endswith("winograd")
    whole = not any(k % s for k, s in zip(g.window, g.strides, strict=True))
    return whole and Fold.of(g, channels, features).single


def _for_any_size(operation: str, g: Geometry, channels: int) -> Choice:
    """What is right whatever the dimensions are that ``jax.export`` leaves open."""
    if operation == "kernel_gradient":
        name = "xla" if g.groups > 1 else "transposed"
    else:
        depthwise = g.groups > 1 and channels // g.groups <= 4 and known(*g.size)
        name = "direct" if depthwise else "xla"
    return Choice(name, "dimensions that are not known: no blocks, nothing to weigh")


def operations(name: str, g: Geometry, channels: int, features: int) -> int:
    """How many slices, or sums, one after another, a lowering is made of, as far as g says."""
    if name.startswith("fold") and name != "fold_winograd":
        folded = Fold.of(g, channels, features).folded
        base = {"fold": "patches", "fold_xla": "xla", "fold_overlap_add": "overlap_add"}[name]
        return operations(base, folded, channels, features)
    return {"patches": sum(g.window), "overlap_add": g.taps}.get(name, 1)


def _on_cpu(
    operation: str, g: Geometry, channels: int, features: int, *, batch: int, exact: bool
) -> Choice:
    least = min(channels, features) // g.groups
    if not exact and batch * prod(g.output) >= SMALL and _filters(operation, g, least):
        return Choice("winograd", "a small window at stride 1 over many channels: fewer products")
    if (
        not exact
        and batch * prod(g.output) >= SMALL
        and _filters_folded(operation, g, channels, features)
    ):
        return Choice("fold_winograd", "strides folded into channels leave a small window")
    if g.groups > 1:
        each = channels == features == g.groups
        if each and g.taps <= DEPTHWISE_TAPS and operation != "kernel_gradient":
            return Choice("depthwise", "one channel a group and few taps: a plain loop over all")
        # Depthwise, 64 channels, 3x3: 4 ms against XLA's 110; groups of 4 channels: 5 against 17.
        if channels // g.groups <= 4:
            return Choice("direct", "too few channels a group for a matrix product")
        return Choice("grouped", "each group is a correlation of its own")
    if batch * prod(g.output) <= TINY and (lightest := _lightest(operation, g, channels)):
        return lightest
    if operation == "correlate" and batch * prod(g.output) < SMALL:
        return Choice("xla", "too little work for more than one operation")
    return _RULES[operation](g, channels, features)


def applicable(operation: str, g: Geometry) -> tuple[str, ...]:
    """The lowerings that can serve an operation."""
    single, undilated, unit = g.groups == 1, max(g.dilation) == 1, max(g.strides) == 1
    backward = operation == "input_gradient"
    fits = {
        "xla": True,
        "direct": True,
        "grouped": not single,
        "depthwise": not single and operation != "kernel_gradient",
        "patches": single and (unit or not backward),
        "transposed": single and operation == "kernel_gradient",
        "overlap_add": single and backward,
        "fold": single and undilated,
        "fold_xla": single and undilated,
        "fold_overlap_add": single and undilated and backward,
        "fold_winograd": single and undilated and not unit and _filtered_blocks(g) is not None,
        "winograd": undilated and unit and max(g.window) <= 5 and all(k % 2 for k in g.window),
    }
    return tuple(name for name, fit in fits.items() if fit)


def _lightest(operation: str, g: Geometry, channels: int) -> Choice | None:
    """What starts fastest, measured inside a scan: microseconds, not arithmetic."""
    if operation == "kernel_gradient":
        # One image, 5x5, stride 2, 12 to 12 channels, 4x4 outputs: 11 us against 34.
        return Choice("patches", "a single small product")
    if operation == "input_gradient" and max(g.strides) > 1 and max(g.dilation) == 1:
        # The same: 6.5 us against 13.
        return Choice("fold_overlap_add", "a single small product, then a sum a tap")
    if operation == "correlate" and channels <= 8:
        # 1 to 12 channels, 8x8 outputs: 3.2 us against 7.
        return Choice("patches", "a single small product")
    return None


def _correlate(g: Geometry, channels: int, features: int) -> Choice:
    if g.taps == 1 and channels > 8:
        # 256 to 64 channels: 1.4 ms against 3.5; 3 to 16: 0.56 against 0.19.
        return Choice("patches", "a 1x1 window: one matrix product")
    if _narrow(g, channels) and features <= 32 and _folds_well(g, channels, features):
        return Choice("fold", "few channels: several outputs a row fill the matrix product")
    if g.rank == 2 and max(g.strides) > 1:
        if 2 <= channels <= 4 and features <= 32 and g.taps < 50:
            # Stride 2, 3 to 32 channels: 7x7 1.0 ms against 4.6, 5x5 0.4 against 2.0.
            return Choice("patches", "few channels at a stride: blocks of patches stay in cache")
        if 64 <= channels <= 128 and 1 < g.taps <= 9:
            # 3x3, stride 2, 64 to 128 channels: 8.6 ms against 13.5; 256 to 512: 7.2 against 6.5.
            return Choice("patches", "a small window at a stride: blocks of patches stay in cache")
    return Choice("xla", "XLA packs its patches in cache, inside loops as well")


def _input_gradient(g: Geometry, channels: int, features: int) -> Choice:
    undilated, unit = max(g.dilation) == 1, max(g.strides) == 1
    if g.taps == 1:
        # 256 to 64 channels: 1.3 ms against 2.7; stride 2, 64 to 128: 1.2 against 1.5.
        return Choice("overlap_add", "a 1x1 window: one matrix product")
    few = channels <= 8 and features >= 2 * channels
    if few and unit:
        # 5x5, 1 to 32 channels: 4 ms against 19; 6 to 16 channels: 1.3 against 2.6.
        return Choice("overlap_add", "few channels: one product, then a sum a tap")
    if unit or not undilated:
        return Choice("xla", "a correlation with the flipped kernel, fast inside loops as well")
    if not any(k % s for k, s in zip(g.window, g.strides, strict=True)):
        # 1-D, 513 to 1 channels, window 1024, stride 256: 0.7 ms; fold_xla 0.9, xla 11.
        # 2-D, 4x4, stride 2, 128 to 64 channels: fold_xla 3.6 ms, fold_overlap_add 4.6, xla 6.0.
        name = "fold_overlap_add" if g.rank == 1 else "fold_xla"
        return Choice(name, "strides divide the window: folding wastes nothing")
    if few and channels <= 4 and g.taps < 50:
        # Stride 2, 3 channels. 3x3 to 32: overlap_add 1.1 ms, xla 1.4, fold_xla 1.9.
        # 7x7 to 64: fold_overlap_add 2.0 ms, fold_xla 3.1, overlap_add 3.9, xla 4.5.
        name = "overlap_add" if g.taps <= 9 else "fold_overlap_add"
        return Choice(name, "few channels at a stride: one product, then a sum a tap")
    if channels <= 16:
        # 3x3 stride 2, 16 to 32 channels: 3.2 ms against 7.1; from 32 channels folding loses.
        return Choice("fold_xla", "few channels at a stride: XLA would multiply by zeros")
    return Choice("xla", "many channels at a stride")


def _kernel_gradient(g: Geometry, channels: int, features: int) -> Choice:
    if _narrow(g, channels) and features <= 64:
        return Choice("fold", "few channels: several outputs a row fill the matrix product")
    if g.taps == 1 or (g.rank == 2 and g.taps <= 9):
        # 1x1: 8 ms against XLA's 22 to 90; 3x3, 24 to 64 channels: 39 against 138 to 220, 16 to 16:
        # 2.9 against 3.9, stride 2, 32 to 64: 4.3 against 10. Not 5x5, nor 7x7 stride 2: 28 to 19;
        # 11x11 stride 4 gains a fifth, but compiles six times as long.
        return Choice("patches", "a small window: one matrix product over all positions")
    return Choice(
        "transposed", "XLA's convolution laid out so that it is fast inside loops as well"
    )


_RULES = {
    "correlate": _correlate,
    "input_gradient": _input_gradient,
    "kernel_gradient": _kernel_gradient,
}


def _narrow(g: Geometry, channels: int) -> bool:
    """Whether folding several outputs together pays: 1 to 32 channels, 5x5, 1.5 ms against 2.2.

    At a stride it doesn't: 5x5, stride 2, 0.4 ms against 0.2.
    """
    undilated, unit = max(g.dilation) == 1, max(g.strides) == 1
    return undilated and unit and g.taps > 1 and channels <= 4


def _folds_well(g: Geometry, channels: int, features: int) -> bool:
    """Whether folding beats XLA's convolution, which does well with one channel and 32 features.

    There the window must fit two blocks: 5x5 took 0.6 ms against 0.7, but 7x7 in four 1.3 to 1.1.
    """
    if channels > 1:
        return True
    t = outputs_a_block(g, channels, features)[-1]
    return t > 1 and (features < 32 or g.window[-1] <= t + 1)


# The least channels for which F(4, r) was measured faster. r = 3, 32 channels: 4.4 ms forward
# against XLA's 6.1, kernel gradient 9.7 against 12; 128: 10 and 8 against 14 and 27.
# r = 5, 16 to 32 channels: 1.5 and 1.8 against 2 and 3.1; 32 to 64: 2.2 and 2.5 against 7 and 9.7.
# Input gradient, r = 3, 24 to 64 channels: 29 ms against 51, where forward takes 42 against 36.
_FILTERING_CHANNELS = {
    "correlate": {3: 32, 5: 16},
    "input_gradient": {3: 24, 5: 16},
    "kernel_gradient": {3: 32, 5: 16},
}


def _filters(operation: str, g: Geometry, least_channels: int) -> bool:
    window = g.window[0]
    enough = _FILTERING_CHANNELS[operation]
    return (
        winograd_allowed()
        and g.rank == 2
        and set(g.window) == {window}
        and window in enough
        and set(g.strides) == set(g.dilation) == {1}
        and least_channels >= enough[window]
    )


# From how many channels, once strides are folded into them, and features on. 11x11 stride 4, 3 to
# 96 channels: forward 17 ms against XLA's 26, kernel gradient 20 against 37; 7x7 stride 2, 3 to 64:
# 14 against 15, 16 against 33, 8 to 32: 38 against 33, 49 against 87; 5x5 stride 2, 8 to 64: 6.5
# against 5.6, 6 against 13. Input gradients lose (23 ms against 17, 38 against 26).
_FOLDED_CHANNELS = {"correlate": (48, 64), "kernel_gradient": (12, 32)}


def _filters_folded(operation: str, g: Geometry, channels: int, features: int) -> bool:
    """Whether strides leave a window that minimal filtering halves the products of, at least."""
    blocks = _filtered_blocks(g)
    if operation not in _FOLDED_CHANNELS or not winograd_allowed() or not blocks:
        return False
    if g.rank != 2 or min(g.strides) == 1 or max(g.dilation) * g.groups > 1:
        return False
    folded, (least, least_features) = prod(g.strides), _FOLDED_CHANNELS[operation]
    products = prod((TILE + k - 1) / TILE for k in blocks) * folded
    enough = folded * channels >= least and features >= least_features
    return enough and g.taps >= 2 * products


def _filtered_blocks(g: Geometry) -> tuple[int, ...] | None:
    """The window in blocks of one stride each, an odd number; None where it is too large."""
    blocks = tuple(-(-k // s) | 1 for k, s in zip(g.window, g.strides, strict=True))
    return blocks if max(blocks) <= 5 else None
