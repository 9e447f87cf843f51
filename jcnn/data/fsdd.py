"""The Free Spoken Digit Dataset: 3,000 recordings by six speakers (Z. Jackson, CC BY-SA 4.0)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jcnn.data.base import DataConfig, Dataset, Recording, Split
from jcnn.data.folder import data_folder, missing
from jcnn.data.mel import MelFrontEnd
from jcnn.data.sound import read_sound
from jcnn.errors import UserError, nearest
from jcnn.fields import FilePath, Shape

OFFICIAL_TEST_INDICES = range(5)


class SpokenDigit(NamedTuple):
    """A file ``{digit}_{speaker}_{index}.wav``; sorting mixes the digits and the speakers."""

    index: int
    digit: int
    speaker: str
    path: Path


class Fsdd(DataConfig):
    """``name = "fsdd"``: spoken digits, 0 to 9, as signals of (frame_count, mel_bands).

    Attributes:
        folder: where ``recordings/`` lies, seen from the data folder.
        held_out_speaker: test on all that this speaker says, train on the others; where not given,
            the official split holds: indices 0 to 4 of each digit and speaker are the test set.
        front_end: how a recording becomes an array.
    """

    name: Literal["fsdd"] = "fsdd"
    folder: FilePath = "fsdd"
    held_out_speaker: str | None = None
    front_end: MelFrontEnd = MelFrontEnd()

    @property
    def input_shape(self) -> Shape:
        """Frames in time, and the mel coefficients as channels."""
        return (self.front_end.frame_count, self.front_end.mel_bands)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten digits."""
        return tuple("0123456789")

    def load(self) -> Dataset:
        """Read the recordings and compute their coefficients."""
        recordings = self._find_recordings()
        for_test = np.array([self._is_for_test(r) for r in recordings])
        if for_test.all() or not for_test.any():
            lacking = "nothing to train on" if for_test.all() else "no test set"
            raise UserError(
                f"{recordings[0].path.parent} has {lacking}: expected recordings of several "
                "speakers, of indices 0 to 4 and of higher ones"
            )
        whole = Split(
            np.stack([self._read(r.path) for r in recordings]),
            np.array([r.digit for r in recordings], np.int32),
        )
        return self.select(
            whole.take(np.flatnonzero(~for_test)), whole.take(np.flatnonzero(for_test))
        )

    def test_recordings(self) -> list[Recording] | None:
        """See :meth:`DataConfig.test_recordings`."""
        if self.validation_count is not None:  # the test set is some of the others then
            return None
        rate, found = self.front_end.sample_rate, self._find_recordings()
        return [Recording(each.path, rate) for each in found if self._is_for_test(each)]

    def read_example(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read a recording of any length, sample rate and number of channels."""
        if invert:
            raise UserError(f"{path} cannot be inverted: data set 'fsdd' has recordings, no images")
        return self._read(path)

    def _read(self, path: Path) -> np.ndarray:
        return self.front_end.features(read_sound(path, self.front_end.sample_rate))

    def _is_for_test(self, recording: SpokenDigit) -> bool:
        if self.held_out_speaker is not None:
            return recording.speaker == self.held_out_speaker
        return recording.index in OFFICIAL_TEST_INDICES

    def _find_recordings(self) -> list[SpokenDigit]:
        folder = data_folder() / self.folder / "recordings"
        if not folder.is_dir():
            raise missing(self.name, folder)
        paths = [p for p in folder.iterdir() if not p.name.startswith(".")]
        if not paths:
            raise UserError(f"{folder} is empty: expected recordings named digit_speaker_index.wav")
        recordings = sorted(map(_parse_name, paths))
        speakers = sorted({r.speaker for r in recordings})
        if self.held_out_speaker is not None and self.held_out_speaker not in speakers:
            raise UserError(
                f"data.held_out_speaker is '{self.held_out_speaker}'"
                f"{nearest(self.held_out_speaker, speakers)}: expected one of {', '.join(speakers)}"
            )
        return recordings


def _parse_name(path: Path) -> SpokenDigit:
    match = re.fullmatch(r"(\d)_([^_]+)_(\d+)\.wav", path.name)
    if match is None:
        raise UserError(
            f"{path} is a stray file: expected recordings named digit_speaker_index.wav only"
        )
    digit, speaker, index = match.groups()
    return SpokenDigit(int(index), int(digit), speaker, path)
