"""Which files a folder of classes holds; all that does not belong there is named at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jcnn.data.selection import class_quotas, most_taken
from jcnn.errors import UserError, counted, nearest
from jcnn.folders import EXPERIMENT, RUNS

# What systems and programs leave behind in folders, in lower case.
LEFTOVERS = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "__macosx", "icon\r", "$recycle.bin"),
    *("system volume information", "lost+found"),
}
TABLES = (".csv", ".tsv")
OWN = (".toml",)
SHOWN = 5


class Kind(NamedTuple):
    """What a folder is to hold: the word for it, and how the files' names end."""

    word: str
    endings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FileList:
    """Files of one split: their folder, their names in it ("cat/1.jpg"), and their classes."""

    folder: Path
    names: tuple[str, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        """Count the files."""
        return len(self.names)

    def path(self, index: int) -> Path:
        """Where one file lies."""
        return self.folder / self.names[index]

    def take(self, indices: np.ndarray) -> FileList:
        """Keep the files at ``indices``, in that order."""
        names = tuple(self.names[i] for i in indices)
        return FileList(self.folder, names, self.labels[indices])


def class_folders(folder: Path, kind: Kind) -> tuple[str, ...]:
    """Names of the class folders, sorted.

    Hidden entries (their name begins with a dot), what systems leave behind, tables of labels, and
    what jcnn itself writes are passed over.

    Raises:
        UserError: something else than folders is there, or nothing.
    """
    found = [e for e in entries(folder, kind.endings) if not e.name.lower().endswith(TABLES)]
    refuse([e for e in found if not _leads_to_folder(e)], "only folders there, one per class")
    if not found:
        raise UserError(f"{folder} is empty: expected a folder of {kind.word} for each class")
    for name in (e.name for e in found if not is_text(e.name)):
        raise UserError(
            f"{folder} has a class folder '{name}', whose name is not in UTF-8: expected one that "
            "a run can write down; rename it"
        )
    return tuple(e.name for e in found)


def is_text(name: str) -> bool:
    r"""Whether a name on the disk is UTF-8, and so can be written down with a run.

    >>> is_text("café"), is_text("caf\udce9")
    (True, False)
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def list_files(folder: Path, classes: tuple[str, ...], kind: Kind, *, complete: bool) -> FileList:
    """List the files of a split, the classes in turn, sorted by name.

    Args:
        folder: the folder with a folder for each class.
        classes: the names of the classes, in the order of their numbers.
        kind: what the files are.
        complete: whether every class must be there.

    Raises:
        UserError: a folder that is no class, a class without files, stray files.
    """
    present = class_folders(folder, kind)
    for name in present:
        if name not in classes:
            raise UserError(
                f"{folder / name} is a class that training does not have"
                f"{nearest(name, classes)}: expected one of its "
                f"{counted(len(classes), 'class', 'classes')}"
            )
    for name in classes if complete else ():
        if name not in present:
            raise UserError(
                f"{folder / name} does not exist: expected a folder of {kind.word} for each of the "
                f"{len(classes)} classes"
            )
    names: list[str] = []
    labels: list[int] = []
    strays: list[os.DirEntry[str]] = []
    for label, name in enumerate(classes):
        if name in present:
            found, stray = _files(folder / name, kind)
            names += (f"{name}/{file}" for file in found)
            labels += [label] * len(found)
            strays += stray
    refuse(strays, f"only {kind.word} ({' '.join(kind.endings)}) there")
    return FileList(folder, tuple(names), np.array(labels, np.int32))


def describe(entry: os.DirEntry[str]) -> str:
    """Say what a stray entry is."""
    if not Path(entry.path).exists():
        return "a link that leads nowhere"
    if _leads_to_folder(entry):
        return "a stray folder"
    return "a stray file" if _leads_to_file(entry) else "a pipe, a socket or a device"


def refuse(strays: Sequence[os.DirEntry[str]], expected: str) -> None:
    """Name everything that does not belong there in one sentence."""
    if not strays:
        return
    first, *others = strays
    more = ""
    if others:
        rest = len(others) - SHOWN
        more = f", and so are {', '.join(e.path for e in others[:SHOWN])}"
        more += f" and {rest} more" if rest > 0 else ""
    raise UserError(f"{first.path} is {describe(first)}{more}: expected {expected}")


def share(files: FileList, test_share: float, seed: int) -> tuple[FileList, FileList]:
    """Split files into training and test, each class in the same share.

    Which of them are for testing depends on the seed and the files' names alone: the same on every
    machine, with every version.

    Raises:
        UserError: the share leaves the test set empty, or a class without a training file.
    """
    count, most = round(test_share * len(files)), most_taken(files.labels)
    if not 0 < count <= most:
        expected = f"1 to {most} for testing" if most else "two or more of a class"
        raise UserError(
            f"data.test_share is {test_share:g}, which is {count} of the {len(files)} files of "
            f"{files.folder}: expected {expected}, so that each class keeps one for training"
        )
    chosen: list[int] = []
    drawn = [
        hashlib.sha256(f"{seed} {name}".encode(errors="surrogateescape")).digest()
        for name in files.names
    ]
    for label, quota in class_quotas(files.labels, count, kept=1).items():
        members = np.flatnonzero(files.labels == label).tolist()
        chosen += sorted(members, key=drawn.__getitem__)[:quota]
    test = np.sort(np.array(chosen, np.intp))
    return files.take(np.setdiff1d(np.arange(len(files)), test)), files.take(test)


def _files(folder: Path, kind: Kind) -> tuple[list[str], list[os.DirEntry[str]]]:
    """Names of the files of a class, and what does not belong there."""
    found = entries(folder, kind.endings)
    if not found:
        raise UserError(f"{folder} is a class without {kind.word}: expected at least one")
    names = [e.name for e in found if _is_file(e, kind)]
    return names, [e for e in found if not _is_file(e, kind)]


def _is_file(entry: os.DirEntry[str], kind: Kind) -> bool:
    return entry.name.lower().endswith(kind.endings) and _leads_to_file(entry)


def _leads_to_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def entries(folder: Path, endings: tuple[str, ...]) -> list[os.DirEntry[str]]:
    """List what people have put into a folder, sorted by name.

    Left out are hidden entries, what systems leave behind, and what jcnn itself writes: files of
    experiments, runs, and folders of runs.

    Args:
        folder: where.
        endings: of the files looked for. A folder that holds one of them is no folder of runs.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            kept = (e for e in found if e.name[0] != "." and e.name.lower() not in LEFTOVERS)
            return sorted((e for e in kept if not _is_own(e, endings)), key=lambda e: e.name)
    except FileNotFoundError:
        raise UserError(f"{folder} does not exist: expected a folder for each class") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror or error}") from None


def walk(folder: Path, endings: tuple[str, ...]) -> Iterator[tuple[Path, os.DirEntry[str] | None]]:
    """Yield every file under a folder, but for what :func:`entries` leaves out.

    A folder without any is yielded too, as None.
    """
    kept = entries(folder, endings)
    if not kept:
        yield folder, None
    for entry in kept:
        if entry.is_dir(follow_symlinks=False) or (_leads_to_folder(entry) and _is_outside(entry)):
            yield from walk(Path(entry.path), endings)
        else:
            yield Path(entry.path), entry


def _is_outside(entry: os.DirEntry[str]) -> bool:
    """Whether a link to a folder leads out of where it stands, and so not round and round.

    What it stands in may have been come to by links itself.
    """
    target = Path(entry.path).resolve()
    return all(target != above.resolve() for above in Path(entry.path).absolute().parents)


def _is_own(entry: os.DirEntry[str], endings: tuple[str, ...]) -> bool:
    """Whether jcnn has written it: an experiment's file, a run, or a folder of runs."""
    name = entry.name.lower()
    if name.endswith(endings) or not _leads_to_folder(entry):
        return name.endswith(OWN)
    return _holds_runs(Path(entry.path), endings)


def _holds_runs(folder: Path, endings: tuple[str, ...]) -> bool:
    if (folder / EXPERIMENT).is_file():
        return True
    try:
        with os.scandir(folder) as found:
            if any(e.name.lower().endswith(endings) for e in found):
                return False  # a class, even one that is called so
    except OSError:
        return False  # named when it is read
    # a sweep's members lie one or two folders deep
    deep = (f"*/{EXPERIMENT}", f"*/*/{EXPERIMENT}")
    return folder.name == RUNS or any(any(folder.glob(pattern)) for pattern in deep)
