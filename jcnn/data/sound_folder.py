"""Own recordings in one folder per class, or with a table of labels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from jcnn.data.base import Dataset, Recording
from jcnn.data.folder_scan import Kind
from jcnn.data.labelled_folder import LabelledFolder, load_lists
from jcnn.data.mel import MelFrontEnd
from jcnn.data.sound import ENDINGS, read_sound
from jcnn.errors import UserError
from jcnn.fields import Shape


class SoundFolder(LabelledFolder):
    """``name = "sound_folder"``: recordings, as signals of (frame_count, mel_bands).

    Channels are averaged, and all are brought to ``front_end.sample_rate``. The keys that say where
    the files lie: :class:`LabelledFolder`. They are read into memory.

    Attributes:
        front_end: how a recording becomes an array.
    """

    kind: ClassVar[Kind] = Kind("recordings", ENDINGS)

    name: Literal["sound_folder"] = "sound_folder"
    front_end: MelFrontEnd = MelFrontEnd()

    @property
    def input_shape(self) -> Shape:
        """Frames in time, and the mel coefficients as channels."""
        return (self.front_end.frame_count, self.front_end.mel_bands)

    def load(self) -> Dataset:
        """Read the recordings and compute their coefficients."""
        return load_lists(self.lists(), self.class_names, self.read_example)

    def read_example(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read a recording of any length, sample rate and number of channels."""
        if invert:
            raise UserError(f"{path} cannot be inverted: it is a recording, no image")
        return self.front_end.features(read_sound(path, self.front_end.sample_rate))

    def test_recordings(self) -> list[Recording]:
        """See :meth:`DataConfig.test_recordings`."""
        files, rate = self.lists().test, self.front_end.sample_rate
        return [Recording(files.path(k), rate) for k in range(len(files))]

    def check_file(self, path: Path) -> None:
        """See :meth:`LabelledFolder.check_file`."""
        read_sound(path, self.front_end.sample_rate)
