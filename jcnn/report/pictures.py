"""Arrays as small PNG pictures within the page.

Signed values are orange where positive and blue where negative, and as transparent as they are
small: zero is the page itself, in light, in dark and in print. Each picture has its own scale, the
largest magnitude in it, which its caption says.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from jcnn.errors import counted

POSITIVE, NEGATIVE = (217, 95, 2), (31, 111, 190)
Scale = tuple[Sequence[float], Sequence[float]]
_LEVELS = 127
_GAP = 1
MOST_TILES = 16
_WAVE = (48, 160)  # rows and columns of a waveform
_STRIP = 32  # values per row of a picture of a vector
_MOST_CELLS = 160  # of a matrix, along each side


@dataclass(frozen=True)
class Picture:
    """A picture and what it says in words.

    Attributes:
        uri: The PNG as a ``data:`` address.
        alt: What is seen, for who does not see it.
        size: Columns and rows of values, for the page's layout.
        signed: Whether its colours are signs, on the page's own ground.
    """

    uri: str
    alt: str
    size: tuple[int, int]
    signed: bool = False


def strongest(array: np.ndarray) -> np.ndarray:
    """Numbers of the channels, of many those with the largest magnitudes, in their order."""
    strength = np.abs(array).reshape(-1, array.shape[-1]).max(axis=0)
    return np.sort(np.argsort(-strength, kind="stable")[:MOST_TILES])


def signed(array: np.ndarray, what: str, channels: np.ndarray | None = None) -> Picture:
    """Show a layer's values, (*size, C) or (n,): a tile per channel.

    Args:
        array: float32; of one, two or more axes, channels last.
        what: What they are.
        channels: Which of them, of more than two axes; the :func:`strongest` where not given.
    """
    tiles, shown = _tiles(array, channels)
    return _picture(tiles, f"{what}: {shown}, {_ends(array)}")


def plane(array: np.ndarray, what: str) -> Picture:
    """Show one channel, of one or more spatial axes."""
    return _picture([_flat(array)], f"{what}: {_times(array.shape)}, {_ends(array)}")


def matrix(array: np.ndarray, what: str) -> Picture:
    """Show a matrix; of a large one, the value of largest magnitude in each of many blocks."""
    shown = array
    for axis in (0, 1):
        shown = _condensed(shown, axis)
    return _picture([shown], f"{what}: {_times(array.shape)}, {_ends(array)}")


def _condensed(array: np.ndarray, axis: int) -> np.ndarray:
    step = -(-array.shape[axis] // _MOST_CELLS)
    if step == 1:
        return array
    starts = np.arange(0, array.shape[axis], step)
    high, low = (f.reduceat(array, starts, axis=axis) for f in (np.maximum, np.minimum))
    return np.where(high > -low, high, low)


def kernels(w: np.ndarray, what: str, chosen: np.ndarray | None = None) -> Picture:
    """Show kernels, (*window, C, D): in colour where C is 3, else a tile per pair of channels.

    Args:
        w: The kernels, or their gradients.
        what: What they are.
        chosen: Of many pairs c D + d those to show; the :func:`strongest` where not given.
    """
    *window, c, d = w.shape
    if len(window) == 2 and c == 3:
        shown = w[..., : MOST_TILES * 4]
        half = np.abs(shown).max(axis=(0, 1, 2), keepdims=True)
        pixels = 0.5 + 0.5 * shown / np.where(half > 0, half, 1)
        words = f"{what}: {shown.shape[-1]} of {counted(d, 'kernel')} of {_times(window)} in colour"
        return _pixels(_mosaic([pixels[..., k] for k in range(shown.shape[-1])]), words)
    if len(window) == 1:
        tiles = [w[..., k].T for k in range(min(d, MOST_TILES))]
        size = f"{counted(c, 'channel')} high and {counted(window[0], 'step')} wide"
        words = f"{what}: {len(tiles)} of {counted(d, 'kernel')}, {size}"
        return _picture(tiles, words)
    flat = w.reshape(*window, c * d)
    chosen = strongest(flat) if chosen is None else chosen
    words = f"{what}: {len(chosen)} of {counted(c * d, 'plane')} of {_times(window)}, {_ends(w)}"
    return _picture([_flat(flat[..., k]) for k in chosen], words)


def example(x: np.ndarray, scale: Scale | None, what: str) -> Picture:
    """Show an example as a person knows it: an image in its own shades, or a spectrum.

    Args:
        x: As the network takes it.
        scale: Of the data it is from, :attr:`jcnn.data.DataConfig.scale`.
        what: What it is.
    """
    if x.ndim != 3 or x.shape[-1] not in (1, 3):
        return _gray(_flat(x) if x.ndim != 2 else x.T[::-1], what)
    if scale is not None:
        mean, deviation = (np.asarray(part, np.float32) for part in scale)
        x = x * deviation + mean
    if x.min() < -0.01 or x.max() > 1.01:
        x = (x - x.min()) / max(float(np.ptp(x)), 1e-12)
    return _pixels(np.clip(x, 0, 1), what)


def waveform(samples: np.ndarray, rate: int, what: str) -> Picture:
    """Show a recording, (T,): from its least to its largest sample in each of many stretches."""
    stretches = min(_WAVE[1], len(samples))
    starts = np.linspace(0, len(samples), stretches, endpoint=False).astype(int)
    high, low = (f.reduceat(samples, starts) for f in (np.maximum, np.minimum))
    largest = max(float(np.abs(samples).max(initial=0)), 1e-12)
    edges = np.linspace(largest, -largest, _WAVE[0] + 1)[:, None]
    reached = (edges[1:] <= np.maximum(high, 0)) & (edges[:-1] >= np.minimum(low, 0))
    sides = np.where(edges[:-1] + edges[1:] > 0, 1.0, -1.0)
    words = f"{what}: {len(samples) / rate:.2g} s of sound, {_ends(samples)}"
    return _picture([np.where(reached, sides, 0.0)], words)


def over(x: np.ndarray, gradient: np.ndarray, what: str) -> Picture:
    """Show a gradient, (*size, C), over its example, which is faded to gray."""
    if gradient.ndim == 2:  # a spectrum: each coefficient by itself
        total, shade = gradient.T[::-1], x.T[::-1]
    elif gradient.ndim == 1:
        total, shade = _flat(gradient), _flat(x)
    else:
        total, shade = _flat(gradient.sum(axis=-1)), _flat(x.mean(axis=-1))
    gray = 0.35 + 0.45 * (shade - shade.min()) / max(float(np.ptp(shade)), 1e-12)
    strength = np.abs(total) / max(float(np.abs(total).max()), 1e-30)
    colour = np.where(total[..., None] > 0, np.array(POSITIVE), np.array(NEGATIVE)) / 255
    opacity = strength[..., None] ** 0.7
    return _pixels(gray[..., None] * (1 - opacity) + colour * opacity, what)


def _tiles(array: np.ndarray, chosen: np.ndarray | None) -> tuple[list[np.ndarray], str]:
    """Cut an array into tiles, and say which."""
    if array.ndim == 1:
        return [_flat(array)], counted(len(array), "value")
    if array.ndim == 2:
        steps, channels = (
            counted(n, word) for n, word in zip(array.shape, ("step", "channel"), strict=True)
        )
        return [array.T], f"{channels} high and {steps} wide"
    count = array.shape[-1]
    chosen = strongest(array) if chosen is None else chosen
    tiles = [_flat(array[..., k]) for k in chosen]
    some = "" if len(chosen) == count else f"{len(chosen)} of "
    return tiles, f"{some}{counted(count, 'channel')} of {_times(array.shape[:-1])}"


def _flat(array: np.ndarray) -> np.ndarray:
    """Bring spatial axes onto two: a vector into rows, of a volume the slice in the middle."""
    while array.ndim > 2:
        array = array[len(array) // 2]
    if array.ndim == 2:
        return array
    rows = math.ceil(array.size / _STRIP)
    if rows == 1:
        return array[None]
    filled = np.full(rows * _STRIP, 0, array.dtype)
    filled[: array.size] = array
    return filled.reshape(rows, _STRIP)


def _mosaic(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Lay tiles out in a near square, NaN between them."""
    columns = math.ceil(math.sqrt(len(tiles)))
    height, width, *rest = tiles[0].shape
    rows = math.ceil(len(tiles) / columns)
    size = rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP
    sheet = np.full((*size, *rest), np.nan, np.float32)
    for k, tile in enumerate(tiles):
        top, left = k // columns * (height + _GAP), k % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _picture(tiles: Sequence[np.ndarray], words: str) -> Picture:
    from PIL import Image

    sheet = _mosaic(tiles)
    largest = max(float(np.nanmax(np.abs(sheet), initial=0.0)), 1e-30)
    levels = np.rint(np.nan_to_num(np.clip(sheet / largest, -1, 1)) * _LEVELS).astype(np.int16)
    indices = np.where(np.isnan(sheet), 2 * _LEVELS + 1, levels + _LEVELS).astype(np.uint8)
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    colours, opacities = _palette()
    image.putpalette(colours)
    return replace(_encoded(image, words, transparency=opacities), signed=True)


@cache
def _palette() -> tuple[bytes, bytes]:
    """Colours and opacities of -127 … 127, then of the gap between tiles."""
    steps = np.arange(-_LEVELS, _LEVELS + 1)
    colours = np.where(steps[:, None] > 0, np.array(POSITIVE), np.array(NEGATIVE))
    opacities = np.rint(255 * (np.abs(steps) / _LEVELS) ** 0.6)
    colours = np.concatenate([colours, [[127, 127, 127]]]).astype(np.uint8)
    return colours.tobytes(), np.append(opacities, 64).astype(np.uint8).tobytes()


def _gray(values: np.ndarray, words: str) -> Picture:
    shade = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    return _pixels(shade[..., None], words)


def _pixels(pixels: np.ndarray, words: str) -> Picture:
    from PIL import Image

    bytes_ = np.rint(255 * np.nan_to_num(pixels, nan=0.5)).astype(np.uint8)
    image = Image.fromarray(bytes_[..., 0] if bytes_.shape[-1] == 1 else bytes_)
    return _encoded(image, words)


def _encoded(image: object, words: str, **options: object) -> Picture:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True, **options)  # type: ignore[attr-defined]
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    size = image.size  # type: ignore[attr-defined]
    return Picture(f"data:image/png;base64,{text}", words, size)


def _times(size: Sequence[int]) -> str:
    return "×".join(map(str, size))


def _ends(array: np.ndarray) -> str:
    return f"from {_number(array.min())} to {_number(array.max())}"


def _number(value: float) -> str:
    return f"{float(value):.3g}".replace("-", "−")
