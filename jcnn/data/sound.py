"""One recording, in any format that libsndfile reads."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from jcnn.errors import UserError

ENDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")
# What writers announce that cannot know how long a recording in a pipe will be.
ENDLESS = 0x7FFFF000
# Samples per second, ten times as many as converters take.
FASTEST = 10_000_000
# Of two rates, reduced, the other one's part at most: the filter between them has 20 times as many
# numbers, which of rates that share no factor would fill the memory.
FINEST = 1 << 18


def read_sound(path: Path, sample_rate: int) -> np.ndarray:
    """Read a recording into float32 samples in [-1, 1], its channels averaged.

    Another sample rate is resampled, without aliasing, by a polyphase filter.

    Raises:
        UserError: the file is missing, no recording, cut short or empty.
    """
    import soundfile

    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {found}: expected a recording")
    try:
        name: Any = os.fsencode(path)  # of any encoding, which its stubs don't know
        with soundfile.SoundFile(name) as recording:
            _check_length(path, recording.extra_info)
            rate = recording.samplerate
            if rate > FASTEST:
                raise UserError(f"{path} announces {rate} samples per second: expected a sound's")
            samples = recording.read(dtype="float32", always_2d=True)
    except UserError:
        raise
    except MemoryError:
        raise UserError(
            f"{path} announces more samples than the memory holds: expected an intact recording"
        ) from None
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:  # .raw: TypeError
        reason = getattr(error, "error_string", None) or str(error)
        raise UserError(f"{path} is not an intact recording: {reason.rstrip('.')}") from None
    if not len(samples):
        raise UserError(f"{path} holds no sound: expected at least one sample")
    if not np.isfinite(samples).all():
        raise UserError(f"{path} holds samples that are not numbers: expected -1 to 1")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    return mono if rate == sample_rate else _resampled(mono, rate, sample_rate)


def _check_length(path: Path, log: str) -> None:
    """Refuse a file that has fewer bytes of sound than it announces, which libsndfile only logs."""
    match = re.search(r"data : (\d+) \(should be (\d+)\)", log)
    if match is None:
        return
    announced, found = int(match[1]), int(match[2])
    if found < announced < ENDLESS:
        raise UserError(
            f"{path} is cut short: its header announces {announced} bytes of sound, found {found}"
        )


def _resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    from scipy.signal import resample_poly

    ratio = Fraction(wanted, rate).limit_denominator(FINEST) or Fraction(1, FINEST)
    return resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)
