"""What data sets have in common: two splits, a typed configuration; a protocol for large ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from jcnn.data.selection import most_taken, stratified_first, stratified_last
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


class Recording(NamedTuple):
    """A file of sound, and the sample rate in Hz at which it is read."""

    path: Path
    sample_rate: int

    def samples(self) -> np.ndarray:
        """Read it, float32 (T,), from -1 to 1.

        Raises:
            UserError: it is not there, or is no recording.
        """
        from jcnn.data.sound import read_sound

        return read_sound(self.path, self.sample_rate)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set that fits in memory; ``classes[k]`` is the name of class ``k``.

    ``validation`` is None unless ``data.validation`` asks for it.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    validation: Split | None = None


@runtime_checkable
class StreamingDataset(Protocol):
    """A data set that is read while it is used, because it does not fit in memory.

    A batch is a pair (x, y) with the dtypes of :class:`Split`. A split is "train", "test" or
    "validation".
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class."""
        ...

    @property
    def train_count(self) -> int:
        """How many training examples one epoch has."""
        ...

    def labels(self, split: str) -> np.ndarray | None:
        """The class of every example of a split, int32; None where there is no such split."""
        ...

    def train_batches(
        self, batch_size: int, *, seed: int, start_step: int = 0, rows: slice | None = None
    ) -> Iterator[Batch]:
        """Yield full training batches without end, the first one that of ``start_step``.

        An epoch is ``train_count // batch_size`` steps long. The batch of a step depends on the
        seed, the batch size and the step alone, so that a resumed run sees the very images, cut and
        coloured in the very same way, that the uninterrupted one would have seen.

        Of several processes each asks for some ``rows`` of each batch, and reads those alone;
        without them, a batch is whole.
        """
        ...

    def batches(self, split: str, batch_size: int, *, mixed: bool = False) -> Iterator[Batch]:
        """Yield every example of a split once, as for testing, in a fixed order.

        The last batch may be smaller. ``mixed`` is for who may stop before the end: the order is
        one that was drawn, so that what comes first is like the whole.
        """
        ...


def _part(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise PydanticCustomError("part", "expected a number of examples, or a share between 0 and 1")


class DataConfig(Table):
    """The keys of ``[data]`` that all data sets share.

    Attributes:
        name: which data set.
        train_count: train on this many examples only: the first ones of each class, in the classes'
            proportions; all of them where not given.
        validation_count: where given, the test set is left alone and stays out of sight: this many
            examples, the last ones of each class of the training set in the classes' proportions,
            are taken out of it and used as the test set, for choices to be made on. Each class
            keeps at least one.
        validation: where given, so many examples, or such a share, are taken out of the training
            set in the same way and measured beside the test set, as a third split: training stops
            early, and the best state is chosen, by it.
    """

    name: str
    train_count: Count | None = None
    validation_count: Count | None = None
    validation: Annotated[Any, BeforeValidator(_part)] | None = None

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.validation is not None and self.validation_count is not None:
            raise ValueError(
                "expected data.validation or data.validation_count, found both: the first is a "
                "split of its own, the second takes the test set's place"
            )
        return self

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

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """What is subtracted from each channel and what it is divided by; None where nothing is."""
        return None

    def remark(self) -> str | None:
        """Say in a sentence what is allowed and may not be meant; None where there is nothing."""
        return None

    def test_recordings(self) -> list[Recording] | None:
        """Return the recordings of the test examples, in their order; None of other examples."""
        return None

    def stream(self) -> StreamingDataset | None:
        """Open a data set too large for memory; None where :meth:`load` is the way to read it."""
        return None

    def select(self, train: Split, test: Split) -> Dataset:
        """Apply ``train_count``, ``validation_count`` and ``validation`` to published splits."""
        kept, taken = self.select_indices(train.y)
        validation = None if taken is None else train.take(taken)
        train = train if kept is None else train.take(kept)
        if self.validation_count is not None and validation is not None:
            test, validation = validation, None
        return Dataset(train, test, self.class_names, validation)

    def select_indices(self, labels: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Choose training examples (None: all of them) and validation examples (None: none)."""
        kept: np.ndarray | None = None
        validation: np.ndarray | None = None
        key = "validation" if self.validation_count is None else "validation_count"
        count = self.validation if self.validation_count is None else self.validation_count
        if count is not None:
            count = max(1, round(count * len(labels))) if isinstance(count, float) else count
            self._check_count(key, count, len(labels))
            if count > (most := most_taken(labels)):
                raise UserError(
                    f"data.{key} is {count} of the {len(labels)} training examples of data set "
                    f"'{self.name}': expected {most} at most, so that each class keeps one"
                )
            validation = stratified_last(labels, count, kept=1)
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
