"""What data sets have in common: two splits, a typed configuration; a protocol for large ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np

from jcnn.data.selection import stratified_first, stratified_last
from jcnn.errors import UserError
from jcnn.fields import Count, Shape, Table

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Split:
    """Examples ``x``, (N, *input_shape), float32, and their classes ``y``, (N,), int32."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        """Count the examples."""
        return len(self.y)

    def take(self, indices: np.ndarray) -> Split:
        """Keep the examples at ``indices``, in that order."""
        return Split(self.x[indices], self.y[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set that fits in memory; ``classes[k]`` is the name of class ``k``."""

    train: Split
    test: Split
    classes: tuple[str, ...]


@runtime_checkable
class StreamingDataset(Protocol):
    """A data set that is read while it is used, because it does not fit in memory.

    A batch is a pair (x, y) with the dtypes of :class:`Split`.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class."""
        ...

    @property
    def train_count(self) -> int:
        """How many training examples one epoch has."""
        ...

    @property
    def test_count(self) -> int:
        """How many test examples there are."""
        ...

    def train_batches(self, batch_size: int, *, seed: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield full training batches without end, the first one that of ``start_step``.

        An epoch is ``train_count // batch_size`` steps long. The batch of a step depends on the
        seed, the batch size and the step alone, so that a resumed run sees the very images, cut and
        coloured in the very same way, that the uninterrupted one would have seen.
        """
        ...

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield every test example once, in a fixed order; the last batch may be smaller."""
        ...


class DataConfig(Table):
    """The keys of ``[data]`` that all data sets share.

    Attributes:
        name: which data set.
        train_count: train on this many examples only: the first ones of each class, in the classes'
            proportions; all of them where not given.
        validation_count: where given, the test set is left alone and stays out of sight: this many
            examples, the last ones of each class of the training set in the classes' proportions,
            are taken out of it and used as the test set, for choices to be made on.
    """

    name: str
    train_count: Count | None = None
    validation_count: Count | None = None

    @property
    @abstractmethod
    def input_shape(self) -> Shape:
        """The shape of one example, known without any data on disk."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers."""

    def resolved(self) -> Self:
        """Return it with all that it knows only from the disk written down."""
        return self

    @abstractmethod
    def load(self) -> Dataset:
        """Read the data set.

        Raises:
            UserError: it is not there (the message says how to get it), or it is damaged.
        """

    @abstractmethod
    def read_example(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read one file into an array of ``input_shape``, normalised as the training data are.

        Args:
            path: an image, or for speech a recording.
            invert: exchange black and white first (images only).

        Raises:
            UserError: the file is missing, of another kind, or of another size.
        """

    def stream(self) -> StreamingDataset | None:
        """Open a data set too large for memory; None where :meth:`load` is the way to read it."""
        return None

    def select(self, train: Split, test: Split) -> Dataset:
        """Apply ``train_count`` and ``validation_count`` to the published splits."""
        kept, validation = self.select_indices(train.y)
        if validation is not None:
            test = train.take(validation)
        return Dataset(train if kept is None else train.take(kept), test, self.class_names)

    def select_indices(self, labels: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Choose training examples (None: all of them) and validation examples (None: none)."""
        kept: np.ndarray | None = None
        validation: np.ndarray | None = None
        if self.validation_count is not None:
            self._check_count("validation_count", self.validation_count, len(labels) - 1)
            validation = stratified_last(labels, self.validation_count)
            kept = np.setdiff1d(np.arange(len(labels)), validation)
        if self.train_count is not None:
            candidates = np.arange(len(labels)) if kept is None else kept
            self._check_count("train_count", self.train_count, len(candidates))
            kept = candidates[stratified_first(labels[candidates], self.train_count)]
        return kept, validation

    def _check_count(self, key: str, count: int, available: int) -> None:
        if count > available:
            raise UserError(
                f"data.{key} is {count}, but data set '{self.name}' has only {available} training "
                "examples to take them from"
            )


def check_labels(path: Path, labels: np.ndarray, class_count: int) -> None:
    """Refuse a label that is not a class number, naming its place."""
    wrong = np.flatnonzero((labels < 0) | (labels >= class_count))
    if len(wrong):
        raise UserError(
            f"{path} gives example {wrong[0]} the label {labels[wrong[0]]}: expected 0 to "
            f"{class_count - 1}"
        )
