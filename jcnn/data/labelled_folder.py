"""What folders of own files have in common: where they lie, their splits, their classes."""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from os.path import normpath
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from jcnn.data import label_table
from jcnn.data.base import DataConfig, Dataset, Split
from jcnn.data.folder import data_folder, expanded
from jcnn.data.folder_scan import FileList, Kind, class_folders, list_files, share
from jcnn.errors import UserError, counted
from jcnn.fields import Count, FilePath

Share = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, lt=1)]
# What people call the folder of the files that training is judged by.
VALIDATION_FOLDERS = ("valid", "val", "validation")


class Lists(NamedTuple):
    """The files of each split; ``validation`` is None unless it is asked for."""

    train: FileList
    test: FileList
    validation: FileList | None


# Training, test and validation files as they lie there.
Published = tuple[FileList, FileList | None, FileList | None]


class LabelledFolder(DataConfig):
    """Own files: in one folder per class, with or without splits, or named by a table of labels.

    Attributes:
        folder: the folder with the files: a full path, or seen from the experiment's file or else
            from the data folder.
        classes: the classes' names in the order of their numbers; or how many there are, and their
            names are those of the class folders, or of the table's labels, sorted.
        train_folder: the training files, seen from ``folder``.
        test_folder: the test files, seen from ``folder``; ImageNet calls them ``val``.
        validation_folder: where given, the validation files, seen from ``folder``: a third split,
            measured beside the test set as that of ``validation`` is.
        test_share: where given, the class folders lie in ``folder`` itself (or the table has no
            column ``split``), and this share of each class is for testing; each class keeps at
            least one file for training.
        split_seed: which files that share takes.
        labels: a CSV file, seen from ``folder``, whose columns ``file`` and ``label`` say which
            file is of which class, and ``split`` ("train", "test" or "validation"), if there, in
            which split.
        on_unreadable: "stop" at a file that cannot be read, or "skip" it: then every file is read
            once before training.
    """

    kind: ClassVar[Kind]

    folder: FilePath
    classes: Annotated[Count, Field(le=1_000_000)] | Annotated[tuple[str, ...], Field(min_length=1)]
    train_folder: FilePath = "train"
    test_folder: FilePath = "test"
    validation_folder: FilePath | None = None
    test_share: Share | None = None
    split_seed: Annotated[int, Field(strict=True, ge=0)] = 0
    labels: FilePath | None = None
    on_unreadable: Literal["stop", "skip"] = "stop"

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if isinstance(self.classes, tuple) and len(set(self.classes)) < len(self.classes):
            raise ValueError("expected classes to name each class once")
        return self

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        """Refuse to judge training by the files that it learns from."""
        if self.test_share is not None or self.labels is not None:
            return self
        keys = ("train_folder", "test_folder", "validation_folder")
        given = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        for (one, first), (other, second) in combinations(given.items(), 2):
            if normpath(first) == normpath(second):
                raise ValueError(
                    f"expected data.{one} and data.{other} to be two folders, found '{first}' twice"
                )
        return self

    @model_validator(mode="after")
    def _check_validation_folder(self) -> Self:
        for key in ("validation", "validation_count", "test_share", "labels"):
            if self.validation_folder is not None and getattr(self, key) is not None:
                raise ValueError(
                    f"expected data.validation_folder or data.{key}, found both: the first is for "
                    "files that lie in a folder for each split, and is their validation split"
                )
        return self

    @abstractmethod
    def check_file(self, path: Path) -> None:
        """Raise UserError where a file cannot be read."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """``classes``, or what the disk says; ``class_0``, ... while nothing is there."""
        if isinstance(self.classes, tuple):
            return self.classes
        place = self.path / self.labels if self.labels else self._class_parent
        if not place.exists():
            return tuple(f"class_{k}" for k in range(self.classes))
        if self.labels:
            names = label_table.class_names(self._table())
        else:
            names = class_folders(place, self.kind)
        if len(names) != self.classes:
            found = counted(len(names), "label" if self.labels else "class folder")
            raise UserError(f"{place} has {found}: expected {self.classes}, as data.classes says")
        return names

    def resolved(self) -> Self:
        """Name the classes, so that a run knows them when the folder is gone or has changed."""
        if isinstance(self.classes, tuple) or not self._class_parent.is_dir():
            return self
        return self.model_copy(update={"classes": self.class_names})

    @property
    def path(self) -> Path:
        """Where the folder lies."""
        return data_folder() / expanded(self.folder)

    @property
    def _class_parent(self) -> Path:
        return self.path if self.test_share or self.labels else self.path / self.train_folder

    def lists(self) -> Lists:
        """List the files of every split; nothing is read of them unless bad ones are skipped.

        Raises:
            UserError: the folder is not as the keys say.
        """
        train, test, validation = self._published()
        if self.on_unreadable == "skip":
            train = self._readable(train)
            test = None if test is None else self._readable(test)
            validation = None if validation is None else self._readable(validation)
        kept, taken = self.select_indices(train.labels)
        if taken is not None:
            validation = train.take(taken)
        if self.validation_count is not None:
            test, validation = validation, None
        assert test is not None
        return Lists(train if kept is None else train.take(kept), test, validation)

    def remark(self) -> str | None:
        """See :meth:`DataConfig.remark`: a folder of validation files that nobody uses."""
        chosen = (self.validation, self.validation_count, self.validation_folder)
        if self.test_share or self.labels or any(each is not None for each in chosen):
            return None
        used = (self.train_folder, self.test_folder)
        for name in VALIDATION_FOLDERS:
            if name not in used and (self.path / name).is_dir():
                return (
                    f"{self.path / name} is not used: data.validation_folder = '{name}' measures "
                    "it beside the test set"
                )
        return None

    def _published(self) -> Published:
        """The splits as they lie there; no test split where another takes its place."""
        if not self.path.is_dir():
            found = "is a file" if self.path.exists() else "does not exist"
            raise UserError(
                f"data.folder: {self.path} {found}: expected a folder of {self.kind.word}, "
                "seen from the experiment's file or from the folder that JCNN_DATA names, or a "
                "full path; of a run, --set data.folder=… says where it is now"
            )
        needs_test = self.validation_count is None
        if self.labels:
            return self._of_table(needs_test)
        names = self._class_names_of_folders()
        if self.test_share is not None:
            whole = list_files(self.path, names, self.kind, complete=True)
            return *share(whole, self.test_share, self.split_seed), None
        train = list_files(self.path / self.train_folder, names, self.kind, complete=True)

        def others(folder: str | None) -> FileList | None:
            if folder is None:
                return None
            return list_files(self.path / folder, names, self.kind, complete=False)

        return (
            train,
            others(self.test_folder if needs_test else None),
            others(self.validation_folder),
        )

    def _class_names_of_folders(self) -> tuple[str, ...]:
        train, test = self.path / self.train_folder, self.path / self.test_folder
        if self.test_share is None and not train.is_dir() and not test.is_dir():
            raise UserError(
                f"{train} does not exist: expected {self.train_folder}/CLASS/ and "
                f"{self.test_folder}/CLASS/ in {self.path}; where the class folders lie there "
                "themselves, data.test_share = 0.2 takes a fifth of each class for testing"
            )
        return self.class_names

    def _table(self) -> list[label_table.Row]:
        return label_table.read_table(self.path / (self.labels or ""), self.path, self.kind)

    def _of_table(self, needs_test: bool) -> Published:
        rows, names = self._table(), self.class_names
        for row in rows:
            if row.label not in names:
                raise UserError(
                    f"{self.path / (self.labels or '')} gives '{row.name}' the label "
                    f"'{row.label}': expected one of {', '.join(names)}"
                )
        labels = np.array([names.index(row.label) for row in rows], np.int32)
        whole = FileList(self.path, tuple(row.name for row in rows), labels)
        if self.test_share is not None:
            if any(row.split for row in rows):
                raise UserError(
                    f"{self.path / (self.labels or '')} says of each file in which split it is: "
                    f"expected an experiment without data.test_share, found {self.test_share:g}"
                )
            return *share(whole, self.test_share, self.split_seed), None
        splits = np.array([row.split or "train" for row in rows])
        self._check_splits(set(splits.tolist()), needs_test)
        train, test, validation = (
            whole.take(np.flatnonzero(splits == name)) for name in ("train", "test", "validation")
        )
        return train, test if len(test) else None, validation if len(validation) else None

    def _check_splits(self, found: set[str], needs_test: bool) -> None:
        """Refuse a table whose splits are not those that the keys want."""
        table = self.path / (self.labels or "")
        for split, wanted in (("train", True), ("test", needs_test)):
            if wanted and split not in found:
                raise UserError(
                    f"{table} names no file for {split}ing: expected a column 'split' with 'train' "
                    "and 'test', or data.test_share = 0.2"
                )
        for key in ("validation", "validation_count"):
            if "validation" in found and getattr(self, key) is not None:
                raise UserError(
                    f"{table} has a validation split of its own: expected an experiment without "
                    f"data.{key}"
                )

    def _readable(self, files: FileList) -> FileList:
        """Leave out what cannot be read, and say so."""
        bad = unreadable(files, self.check_file)
        for message in bad.values():
            logging.getLogger("jcnn").warning("left out: %s", message)
        if files and len(bad) == len(files):
            raise UserError(
                f"none of the {counted(len(files), 'file')} of a split in {files.folder} can be "
                f"read: expected some; {bad[0]}"
            )
        return files.take(np.array([k for k in range(len(files)) if k not in bad], np.intp))


def unreadable(files: FileList, check: Callable[[Path], None]) -> dict[int, str]:
    """Read every file, and return what is wrong with those that cannot be read, by position."""

    def reason(index: int) -> str | None:
        try:
            check(files.path(index))
        except UserError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        reasons = enumerate(pool.map(reason, range(len(files))))
        return {index: found for index, found in reasons if found is not None}


def read_all(files: FileList, read: Callable[[Path], np.ndarray]) -> Split:
    """Read every file into memory."""
    # readers work outside the interpreter's lock, so threads are enough
    with ThreadPoolExecutor() as pool:
        x = list(pool.map(read, map(files.path, range(len(files)))))
    return Split(np.stack(x), files.labels)


def load_lists(
    lists: Lists, classes: tuple[str, ...], read: Callable[[Path], np.ndarray]
) -> Dataset:
    """Read every split into memory."""
    splits = [None if files is None else read_all(files, read) for files in lists]
    train, test, validation = splits
    assert train is not None
    assert test is not None
    return Dataset(train, test, classes, validation)


def digest(files: FileList) -> str:
    """Fingerprint of names, sizes and classes; contents are not read."""
    whole = hashlib.sha256()
    for index, name in enumerate(files.names):
        size = files.path(index).stat().st_size
        whole.update(f"{name}\0{size}\0{files.labels[index]}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()
