"""Batches of images that Grain prepares in worker processes, resumable to the exact image."""

from __future__ import annotations

import signal
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jcnn.data.base import Batch
from jcnn.data.folder_scan import FileList
from jcnn.data.labelled_folder import Lists, digest
from jcnn.data.preparation import Evaluation, ImagePreparation
from jcnn.errors import UserError
from jcnn.signals import SIGNALS

THREADS = 2  # in each process, a batch each: decoding happens outside the interpreter's lock
BUFFERED_BATCHES = 2  # in each process
LINGER_SECONDS = 10  # after a signal: longer than the parent takes to save and leave


@dataclass(frozen=True, eq=False)
class GrainStream:
    """A :class:`jcnn.data.base.StreamingDataset` of images.

    Attributes:
        lists: the images of each split.
        classes: the name of each class.
        preparation: how an image becomes an example.
        worker_count: processes that prepare them; 0 stands for threads of this one.
    """

    lists: Lists
    classes: tuple[str, ...]
    preparation: ImagePreparation
    worker_count: int
    _kept: dict[tuple[str, int], _Batches] = field(default_factory=dict)
    _opened: weakref.WeakSet[_Batches] = field(default_factory=weakref.WeakSet)

    @property
    def train_count(self) -> int:
        """How many training images one epoch has."""
        return len(self.lists.train)

    def labels(self, split: str) -> np.ndarray | None:
        """See :class:`jcnn.data.base.StreamingDataset`."""
        files = getattr(self.lists, split)
        return None if files is None else files.labels

    def digest(self) -> str:
        """Fingerprint of the files: names, sizes, classes and splits."""
        return " ".join(digest(files) for files in self.lists if files is not None)

    def train_batches(
        self, batch_size: int, *, seed: int, start_step: int = 0, rows: slice | None = None
    ) -> Iterator[Batch]:
        """Yield training batches without end; see :class:`jcnn.data.base.StreamingDataset`."""
        images = self.lists.train
        if batch_size > len(images):
            raise UserError(
                f"training.batch_size is {batch_size}, but there are only {len(images)} "
                "training images"
            )
        dataset = _indices(images).seed(seed % 2**32).shuffle()
        dataset = dataset.random_map(_PrepareForTraining(images, self.preparation))
        if rows is not None:
            dataset, batch_size = _of_rows(dataset, batch_size, rows), rows.stop - rows.start
        # batches before epochs: an epoch has whole batches, and each epoch shuffles anew
        dataset = dataset.batch(batch_size, drop_remainder=True, batch_fn=_stack).repeat()
        return self._read(dataset[start_step:])

    def batches(self, split: str, batch_size: int, *, mixed: bool = False) -> Iterator[Batch]:
        """Yield every image of a split once; see :class:`jcnn.data.base.StreamingDataset`.

        Worker processes are started once, and read the same split again and again.
        """
        images: FileList = getattr(self.lists, split)
        indices = _indices(images).seed(0).shuffle() if mixed else _indices(images)
        dataset = indices.map(_PrepareForTest(images, self.preparation.evaluation))
        dataset = dataset.batch(batch_size, batch_fn=_stack)
        if not self.worker_count:
            yield from self._read(dataset)
            return
        # out of the dict while it is read: who stops halfway leaves none that stands there
        key = f"{split} mixed" if mixed else split, batch_size
        reader = self._kept.pop(key, None)
        reader = reader or self._read(dataset.repeat(reseed_each_epoch=False))
        for _ in range(len(dataset)):
            yield next(reader)
        self._kept[key] = reader

    def close(self) -> None:
        """End all worker processes, and free what they have read ahead."""
        for batches in list(self._opened):
            batches.close()
        self._kept.clear()

    def _read(self, dataset: Any) -> _Batches:
        batches = _Batches(self._open(dataset))
        self._opened.add(batches)
        return batches

    def _open(self, dataset: Any) -> Any:
        import grain
        from absl import flags

        # Grain asks absl for a flag of its own; absl wants to be told that nobody parses any
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        # more workers than batches would have nothing to do, and Grain refuses some of them
        workers = min(self.worker_count, len(dataset))
        batches = dataset.to_iter_dataset(
            grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=BUFFERED_BATCHES)
        )
        if workers:
            batches = batches.mp_prefetch(
                grain.MultiprocessingOptions(
                    num_workers=workers, per_worker_buffer_size=BUFFERED_BATCHES
                ),
                worker_init_fn=_leave_signals_to_the_parent,
            )
        return iter(batches)


def _leave_signals_to_the_parent(worker: int, count: int) -> None:
    """Let the parent end the workers when it is ready to: a signal to all of a job reaches both.

    Where it isn't there any more to do so, what is no Ctrl-C ends them a while later.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in SIGNALS if hasattr(signal, "alarm") else ():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: signal.alarm(LINGER_SECONDS))


class _Batches(Iterator[Batch]):
    """Plain arrays out of Grain's iterator, which ends with this one, with close(), or with Python.

    Grain's own clean-up fails when Python has begun to end: hence before, through the finalizer.
    """

    def __init__(self, iterator: Any) -> None:
        self._open = [iterator]
        self.close = weakref.finalize(self, _close, self._open)

    def __next__(self) -> Batch:
        if not self._open:
            raise StopIteration
        x, y = next(self._open[0])
        # copies: Grain's arrays lie in memory shared with a worker, which it reuses
        return np.array(x), np.array(y)


def _close(open_iterators: list[Any]) -> None:
    while open_iterators:
        open_iterators.pop().close()


@dataclass(frozen=True, eq=False)
class _PrepareForTraining:
    images: FileList
    preparation: ImagePreparation

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.int32]:
        return self.preparation.read(self.images.path(index), rng), self.images.labels[index]


@dataclass(frozen=True, eq=False)
class _PrepareForTest:
    images: FileList
    evaluation: Evaluation

    def __call__(self, index: int) -> tuple[np.ndarray, np.int32]:
        return self.evaluation.read(self.images.path(index)), self.images.labels[index]


def _indices(images: FileList) -> Any:
    import grain

    return grain.MapDataset.range(len(images))


def _of_rows(dataset: Any, batch_size: int, rows: slice) -> Any:
    """Keep of each batch these rows alone: the others are never read."""
    import grain

    share, steps = rows.stop - rows.start, len(dataset) // batch_size

    class Rows(grain.MapDataset):
        def __len__(self) -> int:
            return steps * share

        def __getitem__(self, index: Any) -> Any:
            if isinstance(index, slice):
                return self.slice(index)
            epoch, place = divmod(index, steps * share)
            step, row = divmod(place, share)
            return dataset[epoch * len(dataset) + step * batch_size + rows.start + row]

    return Rows(dataset)


def _stack(examples: Any) -> Batch:
    return np.stack([x for x, _ in examples]), np.array([y for _, y in examples], np.int32)
