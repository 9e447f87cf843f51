"""What a folder of one's own files holds, as training would find it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jcnn.data import ImageFolder, SoundFolder
from jcnn.data.folder_scan import FileList, Kind, class_folders, entries, is_text, list_files
from jcnn.data.image import opened
from jcnn.data.labelled_folder import VALIDATION_FOLDERS
from jcnn.errors import UserError, counted

_KINDS = (ImageFolder.kind, SoundFolder.kind)
_ENDINGS = sum((kind.endings for kind in _KINDS), ())
# Pillow's names of pixels without colour.
_GRAY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
_LOOKED_AT = 200
_TEST_SHARE = 0.2


@dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes:
        path: The folder.
        kind: "images" or "recordings".
        classes: Names of the class folders, sorted.
        count: Training files, or all of them where there is no split.
        test_folder: The folder of the test files beside ``train``; None where there is no split.
        validation_folder: That of validation files beside both; None where there is none.
        sides: Shorter sides of some images, in pixels; or lengths of some recordings, in seconds.
        square: The side of these images where all are squares of one size; else 0.
        is_gray: Whether none of these images has colours.
        sample_rate: Of most recordings; 0 of images.
    """

    path: Path
    kind: str
    classes: tuple[str, ...]
    count: int
    test_folder: str | None
    validation_folder: str | None
    sides: tuple[float, ...]
    square: int = 0
    is_gray: bool = False
    sample_rate: int = 0

    @property
    def test_share(self) -> float:
        """The share for testing where there is no split: a fifth, or one file for each class."""
        return max(_TEST_SHARE, ceil(100 * len(self.classes) / self.count) / 100)

    @property
    def trained(self) -> int:
        """How many files are trained on."""
        tested = 0 if self.test_folder else round(self.test_share * self.count)
        return self.count - tested

    @property
    def splits(self) -> str:
        """The splits in words."""
        if not self.test_folder:
            return f"{self.test_share:.0%} of each class for testing"
        first = f"train, {self.validation_folder}" if self.validation_folder else "train"
        return f"{first} and {self.test_folder}"


class _Layout(NamedTuple):
    """Where the training classes lie, and the names of the other splits' folders beside them."""

    train: Path
    test: str | None = None
    validation: str | None = None


def look(path: Path) -> Folder:
    """Look at a folder: ``CLASS/*``, or ``train/CLASS/*``, alone or beside ``test/CLASS/*``.

    Raises:
        UserError: It does not hold two classes of images or of recordings, or too few of them, or
            what training would refuse.
    """
    if not path.is_dir():
        raise UserError(f"'{path}' is no folder: expected one with a folder of files per class")
    if not is_text(str(path.resolve())):
        raise UserError(f"'{path}' has a name that is not in UTF-8: expected one to write down")
    train = path / "train"
    if [entry.name for entry in entries(path, _ENDINGS)] == [train.name] and _has_classes(train):
        return look(train)  # nothing lies beside it that could be for testing
    layout = _layout(path)
    kind = _kind(path, layout.train)
    classes = class_folders(layout.train, kind)
    files = list_files(layout.train, classes, kind, complete=True)
    for name in filter(None, layout[1:]):
        list_files(path / name, classes, kind, complete=False)
    if not layout.test:
        _check_enough(files, classes, kind)
    some = [files.path(k) for k in range(0, len(files), max(1, len(files) // _LOOKED_AT))]
    found = path, kind.word, classes, len(files), layout.test, layout.validation
    if kind is SoundFolder.kind:
        lengths, rate = _lengths(some)
        return Folder(*found, lengths, sample_rate=rate)
    sizes, modes = _sizes_and_modes(some)
    alike = len(set(sizes)) == 1 and len(set(sizes[0])) == 1
    square = sizes[0][0] if alike else 0
    sides = tuple(float(min(size)) for size in sizes)
    return Folder(*found, sides, square=square, is_gray=bool(modes) and modes <= _GRAY)


def _layout(path: Path) -> _Layout:
    """See whether there are folders for splits."""
    others = [name for name in ("test", *VALIDATION_FOLDERS) if _has_classes(path / name)]
    if not others or not _has_classes(path / "train"):
        return _Layout(path)
    return _Layout(path / "train", *others[:2])


def _has_classes(folder: Path) -> bool:
    return folder.is_dir() and any(entry.is_dir() for entry in entries(folder, _ENDINGS))


def _kind(path: Path, train: Path) -> Kind:
    """Return what most files of the class folders are."""
    folders = [Path(e.path) for e in entries(train, _ENDINGS) if e.is_dir()]
    names = {folder: [e.name.lower() for e in entries(folder, _ENDINGS)] for folder in folders}

    def count(kind: Kind) -> int:
        return sum(name.endswith(kind.endings) for found in names.values() for name in found)

    kind = max(_KINDS, key=count)
    held = sum(any(n.endswith(kind.endings) for n in found) for found in names.values())
    if held < 2:
        described = " or ".join(f"{k.word} ({' '.join(k.endings)})" for k in _KINDS)
        raise UserError(
            f"'{path}' holds {counted(held, 'class', 'classes')}: expected two folders or more, "
            f"one per class, with {described}"
        )
    return kind


def _check_enough(files: FileList, classes: tuple[str, ...], kind: Kind) -> None:
    """Refuse a class that can't be both learned and tested."""
    for name, count in zip(classes, np.bincount(files.labels), strict=True):
        if count < 2:
            raise UserError(
                f"'{files.folder / name}' holds a single file: expected 2 {kind.word} or more of "
                "each class, to train on some and test on others"
            )


def _sizes_and_modes(files: Iterable[Path]) -> tuple[list[tuple[int, int]], set[str]]:
    from PIL import Image

    sizes, modes = [], set()
    for file in files:
        try:
            with opened(file) as image:
                sizes.append(image.size)
                modes.add(image.mode)
        except (UserError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # training names the files that can't be read
    return sizes, modes


def _lengths(files: Iterable[Path]) -> tuple[tuple[float, ...], int]:
    import soundfile

    lengths, rates = [], Counter[int]()
    for file in files:
        try:
            found = soundfile.info(file)
        except (soundfile.SoundFileError, OSError, ValueError):
            continue  # for training to name
        lengths.append(found.duration)
        rates[found.samplerate] += 1
    rate = rates.most_common(1)[0][0] if rates else 16000
    return tuple(lengths), min(rate, 16000)
