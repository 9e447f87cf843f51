"""From a recording to a network's input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from jcnn.data.mel import MelFrontEnd
from jcnn.demo.network import Network, Question
from jcnn.errors import UserError
from jcnn.report import pictures
from jcnn.training import Trained

SECONDS = 4  # of a recording, at most
_SILENCE_DB = 30.0  # below the loudest moment
_MOMENT = 0.01  # seconds


class Listener:
    """A network of recordings, asked about what one says."""

    kind: ClassVar[str] = "recording"

    def __init__(self, trained: Trained) -> None:
        """Compile.

        Raises:
            UserError: The network's data have no front end for sound.
        """
        self.experiment = trained.experiment
        front_end = getattr(self.experiment.data, "front_end", None)
        if front_end is None:
            raise UserError("jcnn demo needs a network of images or of recordings")
        self._front_end: MelFrontEnd = front_end
        self._network = Network(trained)
        most = 4 * SECONDS * self._front_end.sample_rate
        self.questions: Mapping[str, Question] = {"/look": Question("recording", most, self.heard)}

    @property
    def settings(self) -> dict[str, Any]:
        """How the page is to sample, and for how long."""
        return {"rate": self._front_end.sample_rate, "seconds": SECONDS}

    def heard(self, body: bytes) -> dict[str, Any]:
        """Say what a recording is: little-endian float32 samples at the front end's rate."""
        x = self._front_end.features(trimmed(decoded(body), self._front_end.sample_rate))
        return self._network(x, pictures.example(x, None, "What the network hears"))


def trimmed(samples: np.ndarray, rate: int) -> np.ndarray:
    """Cut the silence off both ends, as recordings of single words are published.

    Args:
        samples: float32, (T,).
        rate: Samples per second.

    Returns:
        From the first to the last hundredth of a second that is less than 30 dB below the loudest;
        all of a recording that is silent, or shorter than that.

    >>> trimmed(np.concatenate([np.zeros(800), np.ones(160), np.zeros(80)]), 8000).shape
    (160,)
    """
    step = max(1, round(_MOMENT * rate))
    moments = samples[: len(samples) // step * step].reshape(-1, step)
    energies = np.square(moments, dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(energies > energies.max(initial=0.0) * 10 ** (-_SILENCE_DB / 10))
    return samples[loud[0] * step : (loud[-1] + 1) * step] if len(loud) else samples


def decoded(body: bytes) -> np.ndarray:
    """Read what the page sends.

    Raises:
        UserError: There is no sample, half of one, or one that is no number.
    """
    if not body or len(body) % 4:
        raise UserError(f"expected samples of 4 bytes each, found {len(body)} bytes")
    samples = np.frombuffer(body, "<f4").astype(np.float32)
    if not np.isfinite(samples).all():
        raise UserError("expected samples from -1 to 1, found some that are no numbers")
    return np.clip(samples, -1, 1)
