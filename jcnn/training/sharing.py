"""What trainings of one process share that differ in their seeds alone: data, and programs."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from types import ModuleType
from typing import Any

import jax
import numpy as np

from jcnn.config import Experiment
from jcnn.data import Dataset, StreamingDataset
from jcnn.lowering import compiler_options
from jcnn.training import keys
from jcnn.training.state import Weights

# A training has about five; those of trainings that have ended make room for others.
_MOST_PROGRAMS = 32


class Program:
    """A function, compiled once for all who ask, be it at the same time."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        """Compile nothing yet; ``options`` are those of ``jax.jit``."""
        asked = {**compiler_options(), **options.pop("compiler_options", {})}
        self.call = jax.jit(function, compiler_options=asked, **options)
        self._lock = Lock()

    def compile(self, *arguments: Any) -> Callable[..., Any]:
        """Return the program for arguments like these (arrays or their shapes)."""
        with self._lock:  # JAX keeps what it has compiled, but not what it is compiling
            return self.call.lower(*arguments).compile()


class Shared:
    """Keeps data that were read and programs that were made, for the next who needs the same.

    The seed is an argument of every program: trainings that differ in seed and name alone have the
    same ones, and each gives the bits that it would give by itself.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._lock = Lock()
        self._programs: dict[tuple[str, str, str], Program] = {}
        self._data: tuple[str, Dataset] | None = None

    def program(
        self,
        what: str,
        experiment: Experiment,
        make: Callable[[], Callable[..., Any]],
        ops: ModuleType | None = None,
        **options: Any,
    ) -> Program:
        """Return the program of that name of such experiments; ``make`` makes its function.

        Args:
            what: The program's name.
            experiment: Whose program it is.
            make: Makes the function.
            ops: The operations that it computes with, where it does.
            options: Of ``jax.jit``.
        """
        alike = experiment.model_copy(update={"seed": 0, "name": "-"}).model_dump_json()
        key = what, ops.__name__ if ops else "", alike
        with self._lock:
            if key not in self._programs:
                while len(self._programs) >= _MOST_PROGRAMS:
                    del self._programs[next(iter(self._programs))]
                self._programs[key] = Program(make(), **options)
            return self._programs[key]

    def opened(
        self, experiment: Experiment, opening: Callable[[Experiment], Dataset | StreamingDataset]
    ) -> Dataset | StreamingDataset:
        """Open the data; those that are in memory are not read twice."""
        key = experiment.data.model_dump_json()
        with self._lock:
            if self._data is not None and self._data[0] == key:
                return self._data[1]
            opened = opening(experiment)
            if isinstance(opened, Dataset):
                self._data = key, opened
            return opened


def drawn_weights(experiment: Experiment, shared: Shared) -> Weights:
    """Draw the parameters of a model whose layers need nothing but a key."""

    def draw(seed: jax.Array) -> Weights:
        return experiment.model.init(keys.init_key(seed), experiment.input_shape)

    # Drawn once: XLA would spend two to six seconds on making that fast, for the same bits.
    quick = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else {}
    program = shared.program("weights", experiment, lambda: draw, compiler_options=quick)
    seed = np.uint32(experiment.seed)
    return program.compile(seed)(seed)
