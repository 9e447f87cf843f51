"""Which images a folder of classes holds; anything that does not belong there is refused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jcnn.errors import UserError, nearest

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False)
class ImageList:
    """Images of one split: their folder, their names in it ("cat/1.jpg"), and their classes."""

    folder: Path
    names: tuple[str, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        """Count the images."""
        return len(self.names)

    def path(self, index: int) -> Path:
        """Where one image lies."""
        return self.folder / self.names[index]

    def take(self, indices: np.ndarray) -> ImageList:
        """Keep the images at ``indices``, in that order."""
        names = tuple(self.names[i] for i in indices)
        return ImageList(self.folder, names, self.labels[indices])


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the class folders, sorted.

    Hidden entries (their name begins with a dot) are passed over.

    Raises:
        UserError: something else than folders is there, or nothing.
    """
    entries = _entries(folder)
    stray = next((e for e in entries if not e.is_dir()), None)
    if stray is not None:
        raise UserError(f"{stray.path} is a stray file: expected only folders there, one per class")
    if not entries:
        raise UserError(f"{folder} is empty: expected a folder of images for each class")
    return tuple(e.name for e in entries)


def list_images(folder: Path, classes: tuple[str, ...], *, complete: bool) -> ImageList:
    """List the images of a split, the classes in turn, sorted by name.

    Args:
        folder: the folder with a folder for each class.
        classes: the names of the classes, in the order of their numbers.
        complete: whether every class must be there.

    Raises:
        UserError: a folder that is no class, a class without images, a stray file.
    """
    present = class_folders(folder)
    for name in present:
        if name not in classes:
            raise UserError(
                f"{folder / name} is a class that training does not have"
                f"{nearest(name, classes)}: expected one of its {len(classes)} classes"
            )
    for name in classes if complete else ():
        if name not in present:
            raise UserError(
                f"{folder / name} does not exist: expected a folder of images for each of the "
                f"{len(classes)} classes"
            )
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if name in present:
            found = _image_names(folder / name)
            names += (f"{name}/{image}" for image in found)
            labels += [label] * len(found)
    return ImageList(folder, tuple(names), np.array(labels, np.int32))


def _image_names(folder: Path) -> list[str]:
    entries = _entries(folder)
    for entry in entries:
        if not entry.name.lower().endswith(ENDINGS) or not entry.is_file():
            raise UserError(
                f"{entry.path} is a stray {'file' if entry.is_file() else 'folder'}: expected only "
                f"images ({' '.join(ENDINGS)}) there"
            )
    if not entries:
        raise UserError(f"{folder} is a class without images: expected at least one")
    return [e.name for e in entries]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except FileNotFoundError:
        raise UserError(f"{folder} does not exist: expected a folder for each class") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror or error}") from None
