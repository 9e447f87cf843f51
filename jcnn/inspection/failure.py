"""A step that gave what is not finite, taken apart: which operation first gave what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import ops
from jcnn.config import Experiment
from jcnn.console import styled, wide
from jcnn.layers import Context, Model
from jcnn.training import Failure, Step, keys
from jcnn.training.compilation import multiplying

LOSS = "loss"


@dataclass(frozen=True)
class Passage:
    """One tensor of the step, in the order in which the step computes them.

    Attributes:
        what: "input", "parameter", "output", "loss", "gradient of the output" or "gradient".
        layer: The layer that it is of; empty for the input and the loss.
        name: The operation, or the parameter.
        shape: Its shape.
        largest: Largest magnitude of what is finite; None where nothing is.
        wrong: How many elements are infinite or not a number.
        example: The first of these, "inf", "-inf" or "nan"; empty where there is none.
    """

    what: str
    layer: str
    name: str
    shape: tuple[int, ...]
    largest: float | None
    wrong: int
    example: str

    def __str__(self) -> str:
        where = f"{self.layer}.{self.name}" if self.layer else self.name
        match self.what:
            case "parameter":
                return f"the parameter {where}, before the step,"
            case "output":
                return f"the output of {self.name} in {self.layer}"
            case "gradient of the output":
                return f"the gradient that comes back to the output of {self.name} in {self.layer}"
            case "gradient":
                return f"the gradient of {where}"
        return f"the {self.what}"


@dataclass(frozen=True)
class Dissection:
    """What :func:`dissect` found.

    Attributes:
        record: ``step``, ``epoch``, ``tensor``, ``value`` and ``steps_per_epoch``, as training
            noted them.
        passages: Every tensor of the step, forward and then backward.
    """

    record: dict[str, Any]
    passages: tuple[Passage, ...]

    @property
    def first(self) -> Passage | None:
        """The first that is not finite."""
        return next((passage for passage in self.passages if passage.wrong), None)

    @property
    def verdict(self) -> str:
        """One sentence: what is not finite first, and whether all before it is."""
        if self.first is None:
            return (
                "every tensor is finite when the operations run one by one: the step overflows "
                "only where they are compiled together"
            )
        return f"{self.first} is the first that is not finite: {self.first.example}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        first = asdict(self.first) if self.first else None
        passages = [asdict(passage) for passage in self.passages]
        return {**self.record, "verdict": self.verdict, "first": first, "passages": passages}


def dissect(failure: Failure) -> Dissection:
    """Take the step of a failure once more, operation by operation, and look at each tensor."""
    experiment, state = failure.experiment, failure.state
    step = Step(experiment, steps_per_epoch=failure.record.get("steps_per_epoch"))
    key = keys.step_key(experiment.seed, state.step)
    x, model_key = step.prepared(jnp.asarray(failure.batch[0]), key, state.step)
    taken = _Taken(failure, x, model_key)
    with multiplying(experiment):
        calls, taps = taken.calls()
        (gradients, back), (loss, outputs) = taken.pullback(taps)
    rows = [_passage("input", "", "input", x)]
    for layer in experiment.model.names:
        rows += _parameters("parameter", layer, state.params)
        rows += _of_layer("output", layer, calls, outputs)
    rows.append(_passage(LOSS, "", LOSS, loss))
    for layer in reversed(experiment.model.names):
        rows += reversed(_of_layer("gradient of the output", layer, calls, back))
        rows += _parameters("gradient", layer, gradients)
    return Dissection(failure.record, tuple(rows))


class _Taken:
    """The failed step's loss as a function of the parameters and of what is added to outputs."""

    def __init__(self, failure: Failure, x: jax.Array, key: jax.Array) -> None:
        self._experiment, self._state = failure.experiment, failure.state
        self._batch = x, jnp.asarray(failure.batch[1]), key

    def calls(self) -> tuple[list[tuple[str, str]], list[Any]]:
        """Return the layer and name of each operation, and zeros to add to its outputs."""
        tapped = _Tapped(None)
        shapes = jax.eval_shape(lambda p: self._run(p, tapped)[2], self._state.params)
        zeros = [jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shape) for shape in shapes]
        return tapped.calls, zeros

    def pullback(self, taps: list[Any]) -> Any:
        """Return the gradients of parameters and outputs; then the loss and the outputs."""

        def loss(params: Any, taps: list[Any]) -> Any:
            scaled, loss, outputs = self._run(params, _Tapped(taps))
            return scaled, (loss, outputs)

        found, rest = jax.grad(loss, argnums=(0, 1), has_aux=True)(self._state.params, taps)
        scale = self._state.loss_scale
        if scale is not None:
            found = scale.down(jax.tree.map(lambda a: a.astype(jnp.float32), found))
        return found, rest

    def _run(self, params: Any, tapped: _Tapped) -> tuple[jax.Array, jax.Array, list[Any]]:
        """Return what is differentiated, the mean loss and the outputs of the operations."""
        step, state = _TappedStep(self._experiment, tapped), self._state
        scaled, (_, totals) = step.scaled_loss(params, state.state, state.loss_scale, *self._batch)
        loss = totals.loss / totals.examples.astype(totals.loss.dtype)
        return scaled, loss, tapped.outputs


class _TappedStep(Step):
    """The step through tapped operations, which hear where each layer ends."""

    def __init__(self, experiment: Experiment, tapped: Any) -> None:
        super().__init__(experiment, tapped)
        self._model = _TappedModel(experiment.layers)


class _TappedModel(Model):
    def steps(
        self, params: Any, state: Any, x: jax.Array, context: Context, start: int = 0
    ) -> Iterator[tuple[str, jax.Array, Any]]:
        for step in super().steps(params, state, x, context, start):
            context.ops.end_layer(step[0])
            yield step


class _Tapped:
    """Stands in for :mod:`jcnn.ops`: adds to each output what its gradient is read at."""

    def __init__(self, taps: list[Any] | None) -> None:
        self._taps = taps
        self.outputs: list[Any] = []
        self.calls: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        op = getattr(ops, name)

        def tapped(*args: Any, **kwargs: Any) -> Any:
            output = op(*args, **kwargs)
            if self._taps is not None:
                output = jax.tree.map(jnp.add, output, self._taps[len(self.outputs)])
            self.outputs.append(output)
            self.calls.append(("", name))
            return output

        return tapped

    def end_layer(self, layer: str) -> None:
        """Give the layer's name to the calls since the last."""
        self.calls = [(own or layer, name) for own, name in self.calls]


def _of_layer(
    what: str, layer: str, calls: list[tuple[str, str]], tensors: list[Any]
) -> list[Passage]:
    return [
        _passage(what, layer, name, leaf)
        for (own, name), tree in zip(calls, tensors, strict=True)
        if own == layer
        for leaf in jax.tree.leaves(tree)
    ]


def _parameters(what: str, layer: str, params: Any) -> Iterator[Passage]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params.get(layer, {})):
        yield _passage(what, layer, jax.tree_util.keystr(path, simple=True, separator="."), leaf)


def _passage(what: str, layer: str, name: str, a: Any) -> Passage:
    values = np.asarray(a, np.float64)
    finite = np.isfinite(values)
    wrong = values[~finite]
    largest = float(np.abs(values[finite]).max()) if finite.any() else None
    example = str(wrong[0]) if wrong.size else ""
    return Passage(what, layer, name, values.shape, largest, int(wrong.size), example)


def print_dissection(dissection: Dissection) -> None:
    """Print a row for each tensor, and the verdict."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for column in ("", "tensor", "layer", "name", "shape"):
        table.add_column(column)
    for column in ("largest", "not finite"):
        table.add_column(column, justify="right")
    for row in dissection.passages:
        table.add_row(
            styled(row.example, "red") if row.wrong else "ok",
            row.what,
            row.layer,
            row.name,
            "x".join(map(str, row.shape)) or "scalar",
            "–" if row.largest is None else f"{row.largest:.2e}",
            f"{row.wrong:,}" if row.wrong else "",
        )
    record = dissection.record
    console = wide(110, highlight=False)
    console.print(table)
    console.print(
        f"step {record['step']} (epoch {record['epoch']}): {record['tensor']} was "
        f"{record['value']}; {dissection.verdict}"
    )
