"""Writers of the formats that data are published in, independent of the readers."""

import struct
import wave

import numpy as np
from PIL import Image


def idx_bytes(array):
    """An array of bytes as an IDX file."""
    return struct.pack(f">{1 + array.ndim}I", 0x800 | array.ndim, *array.shape) + array.tobytes()


def write_wav(path, samples, rate=8000, channels=1, width=2):
    """Write samples in [-1, 1) as a WAV file."""
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(channels)
        recording.setsampwidth(width)
        recording.setframerate(rate)
        scale = 2 ** (8 * width - 1) - 1
        recording.writeframes((np.asarray(samples) * scale).astype(f"<i{width}").tobytes())


def tone(hertz, seconds=0.5, rate=8000):
    """A sine of half the full amplitude."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def write_image(path, seed=0, size=(12, 10)):
    """Write an image of noise, which no format compresses much; ``size`` is width, height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def write_colours(folder, counts, size=(24, 20), splits=("",)):
    """Write images whose colour says their class: ``counts[name]`` for each split."""
    for split in splits:
        for hue, (name, count) in enumerate(counts.items()):
            for k in range(count):
                path = folder / split / name / f"{k:03}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                draws = np.random.default_rng((hue, k, len(split)))
                pixels = draws.integers(0, 90, (size[1], size[0], 3), np.uint8)
                pixels[..., hue % 3] += 120
                Image.fromarray(pixels).save(path)
    return folder
