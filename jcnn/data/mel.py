"""The speech front end of Waibel et al. (1988): log energies in bands of the mel scale."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import model_validator

from jcnn.fields import Count, NonNegativeReal, PositiveReal, Real, Table

SMALLEST_ENERGY = 1e-12  # so that digital silence has a logarithm
LARGEST_BANK = 1 << 27  # weights of the bands, which take 8 bytes each


class MelFrontEnd(Table):
    """``[data.front_end]``: how a recording becomes an array of (frame_count, mel_bands).

    Hamming-windowed power spectra are summed in triangular bands that are equally wide on the mel
    scale, ``subframes`` of them are averaged to a frame, and the logarithm is taken.

    Attributes:
        sample_rate: samples per second of the recordings.
        frame_ms: from one frame to the next.
        window_ms: the length of the analysis window.
        subframes: spectra per frame; the paper computes one every 5 ms and averages pairs.
        mel_bands: coefficients per frame.
        low_hz: where the lowest band begins.
        high_hz: where the highest band ends.
        dynamic_range_db: energies further than this below the loudest are raised to that floor.
        frame_count: frames of an example: of a longer recording the middle ones; a shorter one
            is centred between frames of ``padding_value``.
        normalization: "coefficient" (the paper): each coefficient less its mean over the frames,
            then scaled into [-1, 1]; "recording": one mean and one scale for all coefficients,
            so that the spectrum's shape is kept; "none": logarithms to the base e.
        padding_value: the value of frames outside the recording, after normalisation.
    """

    sample_rate: Count = 8000
    frame_ms: PositiveReal = 10.0
    window_ms: PositiveReal = 25.0
    subframes: Count = 2
    mel_bands: Count = 16
    low_hz: NonNegativeReal = 0.0
    high_hz: PositiveReal = 4000.0
    dynamic_range_db: PositiveReal = 60.0
    frame_count: Count = 64
    normalization: Literal["coefficient", "recording", "none"] = "recording"
    padding_value: Real = 0.0

    @property
    def window_samples(self) -> int:
        """Samples under the window."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def hop_samples(self) -> int:
        """Samples from one spectrum to the next."""
        return round(self.sample_rate * self.frame_ms / 1000 / self.subframes)

    @model_validator(mode="after")
    def _check_bands(self) -> MelFrontEnd:
        if not self.low_hz < self.high_hz <= self.sample_rate / 2:
            raise ValueError(
                f"expected low_hz < high_hz <= sample_rate / 2 = {self.sample_rate / 2:g}, found "
                f"low_hz = {self.low_hz:g} and high_hz = {self.high_hz:g}"
            )
        if self.hop_samples < 1 or self.window_samples < 2:
            raise ValueError(
                "frame_ms / subframes and window_ms must span a sample and two samples"
            )
        if self.mel_bands * _fft_size(self) > LARGEST_BANK:
            raise ValueError(
                f"mel_bands = {self.mel_bands} of windows of {self.window_samples} samples are "
                "more than a spectrum tells apart: expected some tens of bands, and some ms"
            )
        empty = np.flatnonzero(mel_bank(self).sum(axis=0) == 0)
        if len(empty):
            raise ValueError(
                f"mel_bands = {self.mel_bands} is too many for window_ms = {self.window_ms:g}: "
                f"band {empty[0]} is narrower than the spectrum's resolution"
            )
        return self

    def features(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples, float32 (T,), into float32 (frame_count, mel_bands)."""
        kept = self._normalized(self._crop(self._log_energies(samples)))
        framed = np.full((self.frame_count, self.mel_bands), self.padding_value, np.float32)
        start = (self.frame_count - len(kept)) // 2
        framed[start : start + len(kept)] = kept
        return framed

    def _normalized(self, energies: np.ndarray) -> np.ndarray:
        """Of mean 0 and largest magnitude 1; zeros where all are equal, as those of silence are."""
        if self.normalization == "none":
            return energies
        axis = 0 if self.normalization == "coefficient" else None
        constant = np.ptp(energies, axis=axis, keepdims=True) == 0
        centred = np.where(constant, 0, energies - energies.mean(axis=axis, keepdims=True))
        largest = np.abs(centred).max(axis=axis, keepdims=True)
        return centred / np.where(constant, 1, largest)

    def _log_energies(self, samples: np.ndarray) -> np.ndarray:
        from scipy.signal import get_window

        # the first window is centred on the first sample, so that a short recording has a frame
        half = self.window_samples // 2
        padded = np.pad(samples.astype(np.float64), (half, self.window_samples))
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.window_samples)
        frames = max(1, len(samples) // (self.hop_samples * self.subframes))
        windows = windows[:: self.hop_samples][: frames * self.subframes]
        taper = get_window("hamming", self.window_samples)
        spectra = np.abs(np.fft.rfft(windows * taper, _fft_size(self))) ** 2
        energies = (spectra @ mel_bank(self)).reshape(frames, -1, self.mel_bands).mean(axis=1)
        floor = max(energies.max() * 10 ** (-self.dynamic_range_db / 10), SMALLEST_ENERGY)
        return np.log(np.maximum(energies, floor))

    def _crop(self, frames: np.ndarray) -> np.ndarray:
        start = max(0, (len(frames) - self.frame_count) // 2)
        return frames[start : start + self.frame_count]


def _fft_size(front_end: MelFrontEnd) -> int:
    return 1 << (front_end.window_samples - 1).bit_length()


def mel_bank(front_end: MelFrontEnd) -> np.ndarray:
    """Weights of the power spectrum in each band, (frequencies, mel_bands).

    Band k rises from edge k to edge k + 1 and falls to edge k + 2; the edges are equally far apart
    in mel = 2595 log10(1 + Hz / 700).
    """
    low, high = (_to_mel(hz) for hz in (front_end.low_hz, front_end.high_hz))
    mels = np.linspace(low, high, front_end.mel_bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    frequencies = np.fft.rfftfreq(_fft_size(front_end), 1 / front_end.sample_rate)[:, np.newaxis]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def _to_mel(hz: float) -> float:
    return 2595 * np.log10(1 + hz / 700)
