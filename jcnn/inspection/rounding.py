"""How far training's own arithmetic carries each gradient from the exact one.

``jcnn check`` proves the rules in double precision. Training computes in float32 or less, by
lowerings that cancel digits (minimal filtering) and round the factors of products, where
``matmul_precision`` allows it. What that costs a network, at its shapes, is measured here, beside
what the same arithmetic costs the gradients that JAX derives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import isfinite, sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import ops as explicit_ops
from jcnn import reference
from jcnn.config import Experiment
from jcnn.console import styled, wide
from jcnn.inspection.batches import without_ties
from jcnn.lowering import compiler_options
from jcnn.runs.environment import described, hardware, versions
from jcnn.training import Step, keys
from jcnn.training.step import all_finite

LOSS = "loss"
# Of the norm of all gradients, what a tensor whose gradient is zero keeps in double precision.
ZERO = 1e-9


@dataclass(frozen=True)
class RoundingRow:
    """The gradient of one tensor, or the loss itself.

    Attributes:
        tensor: Its name, for example ``conv_1.w``.
        shape: Its shape.
        norm: Square root of the sum of the exact gradient's squares.
        explicit: The norm of what jcnn's gradient is off by, over ``norm``; None where the exact
            gradient is zero, as that of a bias before a batch normalisation is.
        derived: The same of ``jax.grad`` of :mod:`jcnn.reference`, in the same precision.
    """

    tensor: str
    shape: tuple[int, ...]
    norm: float
    explicit: float | None
    derived: float | None


@dataclass(frozen=True)
class Rounding:
    """What :func:`measure_rounding` found.

    Attributes:
        batch_size: Examples of the batch.
        precision: What activations are kept in.
        matmul_precision: What factors may be rounded to, or None for JAX's own setting.
        rows: The loss, then each tensor that training changes.
        versions: Of jcnn, Python, JAX and what else shapes a result.
        hardware: The processor and what JAX computes on.
    """

    batch_size: int
    precision: str
    matmul_precision: str | None
    rows: tuple[RoundingRow, ...]
    versions: dict[str, str]
    hardware: dict[str, Any]

    @property
    def finite(self) -> bool:
        """Whether every number of jcnn's gradients is finite."""
        return all(isfinite(row.explicit) for row in self.rows if row.explicit is not None)

    @property
    def worst(self) -> RoundingRow:
        """The row of jcnn's largest error; of those that are not finite the first."""

        def error(row: RoundingRow) -> float:
            off = 0.0 if row.explicit is None else row.explicit
            return off if isfinite(off) else float("inf")

        return max(self.rows, key=error)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {"finite": self.finite, "worst": self.worst.tensor} | asdict(self)


def measure_rounding(
    experiment: Experiment,
    x: np.ndarray,
    y: np.ndarray,
    *,
    params: Any = None,
    state: Any = None,
    ops: Any = explicit_ops,
    seed: int = 0,
    report: Callable[[str], None] = lambda line: None,
) -> Rounding:
    r"""Measure :math:`\lVert \hat g - g \rVert / \lVert g \rVert` of each tensor's gradient.

    :math:`\hat g` is the gradient of the mean loss as the training step computes it: its precision,
    its lowerings, its compiler options; :math:`g` is that of the reference in float64, at the same
    float32 numbers. Augmentation is left out; what dropout keeps is the same in both.

    Args:
        experiment: The model, the loss, the precision and the seed of the parameters.
        x: A batch, (N, *input_shape); a little noise is added, so that no windows tie.
        y: Its labels, (N,).
        params: Parameters to measure at; the seed's initial ones if None, with a little noise too.
        state: The state that belongs to ``params``.
        ops: The operations under test, if not :mod:`jcnn.ops`.
        seed: For the noise.
        report: Told what is being computed.
    """
    generator = np.random.default_rng(seed)
    # Within, random numbers are float64 in either precision: dropout keeps the same.
    with jax.enable_x64(True):
        at = without_ties(experiment, x, params, state, generator)
        params, state, x = jax.tree.map(lambda a: np.asarray(a, np.float32), at)
        batch = x, np.asarray(y, np.int32)
        report("jax.grad of the reference, in float64")
        exact = _exact(experiment, params, state, *batch)
        found = []
        for name, namespace in (("jcnn", ops), ("jax.grad of the reference", reference)):
            report(f"{name}, in training's precision")
            found.append(_as_trained(experiment, params, state, *batch, namespace))
    return Rounding(
        len(x),
        experiment.training.precision,
        experiment.training.matmul_precision,
        _rows(exact, *found),
        versions(),
        hardware(),
    )


def _exact(experiment: Experiment, params: Any, state: Any, x: Any, y: Any) -> dict[str, Any]:
    """Return the loss and the gradients in float64, by name."""
    step = Step(experiment, reference)
    params, state, x = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (params, state, x))

    @jax.jit
    def both(params: Any, state: Any, x: Any) -> Any:
        return jax.value_and_grad(
            lambda p: step.mean_loss(p, state, x, y, keys.step_key(experiment.seed, 0))[0]
        )(params)

    return _named(experiment, *both(params, state, x))


def _as_trained(
    experiment: Experiment, params: Any, state: Any, x: Any, y: Any, ops: Any
) -> dict[str, Any]:
    """Return the loss and the gradients of a training step, by name."""
    step = Step(experiment, ops)
    params, state = jax.tree.map(jnp.asarray, (params, state))
    first = step.init((params, state))
    x = jnp.asarray(x).astype(jnp.dtype(experiment.training.precision))

    def both(first: Any, x: Any) -> Any:
        key = keys.step_key(experiment.seed, 0)
        gradients, (_, totals) = step.gradients(first, x, jnp.asarray(y), key)
        return totals.loss / len(y), gradients

    program = jax.jit(both, compiler_options=compiler_options())
    loss, gradients = program(first, x)
    # In float16 training halves the loss's scale until gradients fit.
    while (scale := first.loss_scale) and scale.can_be_smaller() and not all_finite(gradients):
        first = first._replace(loss_scale=scale.after(jnp.bool_(False)))
        loss, gradients = program(first, x)
    return _named(experiment, loss, gradients)


def _named(experiment: Experiment, loss: jax.Array, gradients: Any) -> dict[str, np.ndarray]:
    learned = {name: own for name, own in gradients.items() if name not in experiment.frozen}
    found = {LOSS: loss}
    for path, leaf in jax.tree_util.tree_flatten_with_path(learned)[0]:
        found[".".join(str(getattr(k, "key", k)) for k in path)] = leaf
    return {name: np.asarray(a, np.float64) for name, a in found.items()}


def _rows(
    exact: dict[str, np.ndarray], explicit: dict[str, np.ndarray], derived: dict[str, np.ndarray]
) -> tuple[RoundingRow, ...]:
    norms = {name: float(np.linalg.norm(g)) for name, g in exact.items()}
    whole = sqrt(sum(norm**2 for name, norm in norms.items() if name != LOSS))

    def off(name: str, found: dict[str, np.ndarray]) -> float | None:
        error, norm = float(np.linalg.norm(found[name] - exact[name])), norms[name]
        if not isfinite(error):
            return error
        return None if norm <= ZERO * whole else error / norm

    return tuple(
        RoundingRow(name, g.shape, norms[name], off(name, explicit), off(name, derived))
        for name, g in exact.items()
    )


def print_rounding(rounding: Rounding) -> None:
    """Print a row for each tensor, and the largest error."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for column in ("tensor", "shape"):
        table.add_column(column)
    for column in ("norm", "jcnn", "jax.grad"):
        table.add_column(column, justify="right")
    for row in rounding.rows:
        shape = "x".join(map(str, row.shape)) or "scalar"
        errors = ("-" if e is None else f"{e:.1e}" for e in (row.explicit, row.derived))
        table.add_row(row.tensor, shape, f"{row.norm:.2e}", *errors)
    console = wide(110)
    console.print(table)
    for line in _lines(rounding):
        console.print(line, highlight=False)


def _lines(r: Rounding) -> list[Any]:
    products = f", factors of products in {r.matmul_precision}" if r.matmul_precision else ""
    where = described(r.hardware, r.versions)
    lines = [f"batch {r.batch_size}; {r.precision}{products}; {where}"]
    worst = r.worst
    if not r.finite:
        return [*lines, styled(f"{worst.tensor}: jcnn's gradient is not finite", "red")]
    off, derived = (0.0 if e is None else e for e in (worst.explicit, worst.derived))
    return [
        *lines,
        f"largest error: {off:.1e} of {worst.tensor}'s norm (jax.grad {derived:.1e})",
    ]
