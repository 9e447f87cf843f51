"""What a network says of its test split: outputs, confusion, intervals, the surest mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.errors import UserError
from jcnn.runs.statistics import share_interval
from jcnn.training import Trained
from jcnn.training.predicting import make_predict
from jcnn.training.splits import testing_batches

_BATCH = 256


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is told from the others.

    Attributes:
        name: The class.
        count: Its test examples.
        precision: Share of the examples called so that are; None where none was called so.
        recall: Share of its examples that were called so; None where it has none.
        f1: The harmonic mean of both; None where one of them is.
    """

    name: str
    count: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, eq=False)
class Measured:
    """A network on its test split.

    Attributes:
        trained: The network.
        probabilities: (N, K), float32.
        predicted: The class of each example, int32.
        labels: The right ones, int32.
        losses: The loss of each example.
    """

    trained: Trained
    probabilities: np.ndarray
    predicted: np.ndarray
    labels: np.ndarray
    losses: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of the examples that were classified rightly."""
        return float((self.predicted == self.labels).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return share_interval(int((self.predicted == self.labels).sum()), len(self.labels))

    @cached_property
    def confusion(self) -> np.ndarray:
        """(K, K): how many of each class (row) were called what (column)."""
        classes = self.probabilities.shape[1]
        counts = np.zeros((classes, classes), np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def by_class(self, names: Sequence[str]) -> list[ClassFigures]:
        """Precision, recall and F1 of each class."""
        figures = []
        for k, name in enumerate(names):
            hits, called = int(self.confusion[k, k]), int(self.confusion[:, k].sum())
            count = int(self.confusion[k].sum())
            precision, recall = _share(hits, called), _share(hits, count)
            f1 = _share(2 * hits, called + count) if called and count else None
            figures.append(ClassFigures(name, count, precision, recall, f1))
        return figures

    def surest_mistakes(self, count: int) -> np.ndarray:
        """Numbers of the test examples that are wrong with the highest probability."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        sure = self.probabilities[wrong, self.predicted[wrong]]
        return wrong[np.argsort(-sure, kind="stable")[:count]]

    def examples(self, indices: Sequence[int]) -> np.ndarray:
        """Read test examples by their numbers.

        Raises:
            UserError: There is no such example.
        """
        for index in indices:
            if not 0 <= index < len(self.labels):
                raise UserError(
                    f"there is no test example {index}: expected a number from 0 to "
                    f"{len(self.labels) - 1}"
                )
        found: dict[int, np.ndarray] = {}
        start = 0
        for x, _ in testing_batches(self.trained.experiment, _BATCH):
            here = (i for i in indices if start <= i < start + len(x))
            found.update({i: np.array(x[i - start]) for i in here})
            start += len(x)
            if len(found) == len(set(indices)):
                break
        return np.stack([found[i] for i in indices]) if indices else np.empty(0, np.float32)


def measure(trained: Trained) -> Measured:
    """Predict the whole test split.

    Raises:
        UserError: The data are missing.
    """
    from jcnn import ops

    experiment, loss = trained.experiment, trained.experiment.loss
    predict = make_predict(experiment)

    @jax.jit
    def run(x: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
        output = predict(trained.state, x)
        return loss.probabilities(output), loss.predict(output), loss.per_example(output, y, ops)

    parts = []
    for x, y in testing_batches(experiment, _BATCH):
        missing = _BATCH - len(y)  # one shape, one program
        padded = np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))
        results = run(jnp.asarray(padded), jnp.asarray(np.pad(y, (0, missing))))
        parts.append((*(np.asarray(part)[: len(y)] for part in results), y))
    if not parts:
        raise UserError(f"data set '{experiment.data.name}' has no test example")
    probabilities, predicted, losses, labels = (np.concatenate(p) for p in zip(*parts, strict=True))
    return Measured(trained, probabilities, predicted, labels, losses)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
