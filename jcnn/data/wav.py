"""One recording, read strictly."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from jcnn.errors import UserError

SAMPLE_BYTES = 2


def read_wav(path: Path, sample_rate: int) -> np.ndarray:
    """Read a WAV file of one channel and 16 bits per sample into float32 samples in [-1, 1).

    Raises:
        UserError: not such a file, another sample rate, or fewer samples than it announces.
    """
    try:
        with wave.open(str(path), "rb") as recording:
            _check_format(path, recording, sample_rate)
            announced = recording.getnframes()
            content = recording.readframes(announced)
    except (wave.Error, EOFError) as error:
        reason = str(error) or "it ends within its header"
        raise UserError(f"{path} is not an intact WAV file: {reason}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    found = len(content) // SAMPLE_BYTES
    if found < announced or len(content) % SAMPLE_BYTES:
        raise UserError(
            f"{path} is cut short: its header announces {announced} samples, found {found}"
        )
    if not found:
        raise UserError(f"{path} holds no sound: expected at least one sample")
    return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)


def _check_format(path: Path, recording: wave.Wave_read, sample_rate: int) -> None:
    if recording.getnchannels() != 1:
        raise UserError(f"{path} has {recording.getnchannels()} channels: expected one (mono)")
    if recording.getframerate() != sample_rate:
        raise UserError(
            f"{path} has {recording.getframerate()} samples per second: expected {sample_rate}"
        )
    if recording.getsampwidth() != SAMPLE_BYTES:
        raise UserError(f"{path} has {8 * recording.getsampwidth()} bits per sample: expected 16")
