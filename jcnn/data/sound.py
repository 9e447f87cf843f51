"""One recording, in any format that libsndfile reads."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from jcnn.data.sound_length import FRAME, check_bytes, check_samples
from jcnn.errors import UserError

ENDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")
# Samples per second, ten times as many as converters take.
FASTEST = 10_000_000
# Of two rates, reduced, the other one's part at most: the filter between them has 20 times as many
# numbers, which of rates that share no factor would fill the memory.
FINEST = 1 << 18


def read_sound(path: Path, sample_rate: int) -> np.ndarray:
    """Read a recording into float32 samples in [-1, 1], its channels averaged.

    Another sample rate is resampled, without aliasing, by a polyphase filter.

    Raises:
        UserError: the file is missing, no recording or empty, or cut short: it has less than it
            announces (an MP3 without a count of its frames, and the last page of an Ogg file,
            announce nothing).
    """
    import soundfile

    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {found}: expected a recording")
    try:
        counted = check_bytes(path)
        name: Any = os.fsencode(path)  # of any encoding, which its stubs don't know
        with soundfile.SoundFile(name) as recording:
            rate = recording.samplerate
            if rate > FASTEST:
                raise UserError(f"{path} announces {rate} samples per second: expected a sound's")
            # as many as there are, in formats too that can't be asked how many are left
            samples = recording.read(recording.frames, dtype="float32", always_2d=True)
            announced = recording.frames - FRAME if counted else 0
            check_samples(path, recording.extra_info, announced, len(samples))
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


def _resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    from scipy.signal import resample_poly

    ratio = Fraction(wanted, rate).limit_denominator(FINEST) or Fraction(1, FINEST)
    return resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)
