"""A run's network, asked about one example at a time, and what the page shows of its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import numpy as np

from jcnn.config import Experiment
from jcnn.report import pictures
from jcnn.report.passes import backward_pass
from jcnn.training import Trained
from jcnn.training.predicting import make_probabilities

_MOST_LAYERS = 12


class Question(NamedTuple):
    """What a page may send to one address.

    Attributes:
        what: What it sends, in a word.
        most_bytes: Bodies that are longer are not read.
        answer: Returns what the page shows of a body; raises UserError where it is no example.
    """

    what: str
    most_bytes: int
    answer: Callable[[bytes], dict[str, Any]]


class Subject(Protocol):
    """What a page is about: a kind of example, and the network that takes it.

    Attributes:
        kind: The page's part that makes an example, ``templates/KIND.html`` and ``.js``.
        experiment: The run's experiment.
        questions: What the page may ask, by address.
        settings: What the page needs to know.
    """

    kind: ClassVar[str]
    experiment: Experiment
    questions: Mapping[str, Question]

    @property
    def settings(self) -> dict[str, Any]:
        """See above."""
        ...


class Network:
    """A network forward and backward, compiled once; one example at a time."""

    def __init__(self, trained: Trained) -> None:
        """Compile, so that the first example need not wait."""
        self.experiment = trained.experiment
        self._pass = backward_pass(self.experiment, *trained.state.evaluated)
        self._state = trained.state
        self._predict = jax.jit(make_probabilities(self.experiment))
        self._lock = threading.Lock()
        black = np.zeros(self.experiment.input_shape, np.float32)
        self._probabilities(black)
        self._pass(black, 0)

    def __call__(self, x: np.ndarray, seen: pictures.Picture) -> dict[str, Any]:
        """Name an example, and show its way forward and back.

        Args:
            x: float32 of ``experiment.input_shape``, as the network takes it.
            seen: The same for a person.

        Returns:
            ``class`` and ``probabilities`` by class, those of ``jcnn predict``, ``input`` and
            ``gradient`` as pictures, and ``layers``: name, picture of the output, picture of δ. δ
            is that of the loss which the class of the highest probability would have, of the
            example as it is, where evaluation takes several views.
        """
        with self._lock:
            probabilities = self._probabilities(x)
            best = int(probabilities.argmax())
            passed = self._pass(x, best)
        names = self.experiment.data.class_names
        return {
            "class": names[best],
            "probabilities": {name: float(p) for name, p in zip(names, probabilities, strict=True)},
            "input": seen.uri,
            "gradient": pictures.over(x, passed.input_gradient, "∂L/∂a over a").uri,
            "layers": [
                {
                    "name": passage.name,
                    "z": pictures.signed(passage.y, "z").uri,
                    "delta": pictures.signed(passage.dy, "δ").uri,
                }
                for passage in passed.layers
                if passage.layer.type not in ("flatten", "reshape", "dropout")
            ][:_MOST_LAYERS],
        }

    def _probabilities(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._predict(self._state, x[None]))[0]
