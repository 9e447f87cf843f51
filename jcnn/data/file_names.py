"""Files of a folder by the names that a table gives them: without endings, in other letters."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

from jcnn.data.folder_scan import Kind


class FileNames:
    """The files of a folder, by what a table may write for them."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        """Take the folder that names are seen from, and what its files are; nothing is read."""
        self._folder, self._endings = folder, kind.endings
        self._entries: dict[Path, dict[str, list[str]]] = {}

    def find(self, written: str) -> list[str]:
        """Return the name as the disk has it; several where it may be any of them, or none.

        A name that is there is itself, with its ending or without it. Else it is the one that
        differs in capitals alone, or in how letters with accents are made of characters.
        """
        if not written:
            return []
        complete = [written] if written.lower().endswith(self._endings) else []
        names = [*complete, *(written + ending for ending in self._endings)]
        for name in names:
            if _is_file(self._folder / name):
                return [name]
        return sorted({alike for name in names for alike in self._alike(name)})

    def _alike(self, name: str) -> Iterator[str]:
        found = [Path()]
        for part in Path(name).parts:
            if part == os.pardir or Path(part).is_absolute():
                found = [each / part for each in found]
            else:
                found = [each / own for each in found for own in self._within(each, part)]
        return (each.as_posix() for each in found if _is_file(self._folder / each))

    def _within(self, folder: Path, part: str) -> list[str]:
        """Entries of a folder that a part of a name may be: those that are most like it."""
        if folder not in self._entries:
            self._entries[folder] = _by_letters(self._folder / folder)
        alike = self._entries[folder].get(_letters(part), [])
        same = [own for own in alike if normalize("NFC", own) == normalize("NFC", part)]
        return [part] if part in alike else same or alike


def _by_letters(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        for entry in folder.iterdir():
            found.setdefault(_letters(entry.name), []).append(entry.name)
    except (OSError, ValueError):  # no folder, or no name of one
        return {}
    return found


def _letters(name: str) -> str:
    r"""A name without its capitals, each letter with its accents in one character.

    >>> _letters("CAFE\u0301.PNG") == _letters("café.png")
    True
    """
    return normalize("NFC", normalize("NFC", name).casefold())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # no file has such a name
            return False
        raise
