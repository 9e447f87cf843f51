"""Every gradient of an experiment's model, held against three oracles in float64.

First each operation that the model calls, alone, on random arguments of the model's shapes; then
the gradient of the loss with respect to each parameter and the input, through the whole model. A
layer's own ``custom_vjp`` stands in the model's reference too, and is noted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import ops as explicit_ops
from jcnn import reference
from jcnn.config import Experiment
from jcnn.inspection.batches import without_ties
from jcnn.inspection.own_rules import own_rules
from jcnn.layers import Context
from jcnn.proof.comparison import (
    DERIVED,
    OF_DIFFERENCES,
    OF_GRADIENTS,
    Report,
    Row,
    compare,
    noise_of,
)
from jcnn.proof.differences import STEP, central_differences, sample
from jcnn.proof.recording import Call, Recorder
from jcnn.proof.rules import DIFFERENCES, GRADIENT, check_rule, span

SAMPLES_AN_OPERATION = 100
INPUT = "input"


@dataclass(frozen=True)
class ModelCheck:
    """What :func:`check_model` found.

    Attributes:
        operations: A report for each call that the model makes, in forward propagation's order; in
            training, then what evaluation alone makes.
        model: The report on the whole model's gradients, a tensor at a time.
    """

    operations: tuple[tuple[Call, Report], ...]
    model: Report

    @property
    def passed(self) -> bool:
        """Whether everything agrees."""
        return self.model.passed and self.wrong is None

    @property
    def wrong(self) -> Call | None:
        """The first call whose rule disagrees with its oracles."""
        return next((call for call, report in self.operations if report.wrong), None)

    def to_dict(self) -> dict[str, Any]:
        """Return ``passed``, ``wrong`` (an operation's name or None), ``notes`` and ``rows``."""
        rows = [
            {"operation": str(call), **asdict(row)}
            for call, report in self.operations
            for row in report.rows
        ]
        rows += [{"operation": None, **asdict(row)} for row in self.model.rows]
        wrong = self.wrong
        return {
            "passed": self.passed,
            "wrong": wrong.op if wrong else None,
            "notes": list(self.model.notes),
            "rows": rows,
        }


def check_model(
    experiment: Experiment,
    x: np.ndarray,
    y: np.ndarray,
    *,
    params: Any = None,
    state: Any = None,
    ops: Any = explicit_ops,
    samples: int = 1000,
    seed: int = 0,
    report: Callable[[str], None] = lambda line: None,
) -> ModelCheck:
    """Check every gradient of an experiment's model.

    Args:
        experiment: The model, the loss and the seed of the parameters.
        x: A batch, (N, *input_shape); a little noise is added, so that no windows tie.
        y: Its labels, (N,).
        params: Parameters to check at; the seed's initial ones if None, with a little noise too:
            kernels that begin as copies pass on zeros, which tie.
        state: The state that belongs to ``params``.
        ops: The operations under test, if not :mod:`jcnn.ops`.
        samples: How many elements of each tensor to difference, where it has more.
        seed: For the noise, the directions and the samples.
        report: Told what is being checked.

    Returns:
        A :class:`ModelCheck`.
    """
    with jax.enable_x64(True):
        generator = np.random.default_rng(seed)
        at = without_ties(experiment, x, params, state, generator)
        params, state, batch = jax.tree.map(jnp.asarray, at)
        problem = _Problem(experiment, params, state, batch, jnp.asarray(y, jnp.int32), ops)
        operations = []
        for call in problem.calls():
            report(str(call))
            operations.append((call, _check_call(call, ops, samples, generator)))
        rows = _compare_gradients(problem, generator, report)
        rows += _compare_differences(problem, samples, generator, report)
        return ModelCheck(tuple(operations), Report(tuple(rows), problem.own_rules()))


def _check_call(call: Call, ops: Any, samples: int, generator: np.random.Generator) -> Report:
    return check_rule(
        call.function(ops),
        call.function(reference),
        *call.draw(generator),
        names=[name for name, _, _ in call.arrays],
        samples=min(samples, SAMPLES_AN_OPERATION),
        seed=int(generator.integers(2**31)),
    )


@dataclass(frozen=True)
class _Problem:
    """The mean loss of a batch, as a function of the parameters and the input."""

    experiment: Experiment
    params: Any
    state: Any
    x: jax.Array
    y: jax.Array
    ops: Any

    @property
    def key(self) -> jax.Array:
        return jax.random.key(self.experiment.seed)

    @property
    def at(self) -> tuple[Any, jax.Array]:
        return self.params, self.x

    def loss(
        self, params: Any, x: jax.Array, namespace: Any, start: int = 0, training: bool = True
    ) -> jax.Array:
        """Return the loss; ``x`` is the input of the layer at position ``start``."""
        steps = self.experiment.model.steps(
            params, self.state, x, Context(namespace, training, self.key), start
        )
        for _, output, _ in steps:
            x = output
        return self.experiment.loss.per_example(x, self.y, namespace).mean()

    def calls(self) -> list[Call]:
        """Return the operations that the loss calls, each set of shapes once."""
        recorder = Recorder()
        for training in (True, False):
            jax.eval_shape(partial(self.loss, namespace=recorder, training=training), *self.at)
        return list(recorder.calls)

    @cached_property
    def size(self) -> float:
        """Of the loss's terms: a loss near zero is what is left of the outputs."""
        return float(jax.jit(self._largest_term)(*self.at))

    def _largest_term(self, params: Any, x: jax.Array) -> jax.Array:
        context = Context(reference, training=True, key=self.key)
        for _, output, _ in self.experiment.model.steps(params, self.state, x, context):
            x = output
        loss = self.experiment.loss.per_example(x, self.y, reference).mean()
        return jnp.maximum(jnp.abs(loss), jnp.abs(x).max(initial=0.0))

    def own_rules(self) -> tuple[str, ...]:
        """Return what is to be noted of the rules that are in the reference too."""
        return own_rules(partial(self.loss, namespace=reference), *self.at)

    def inputs(self) -> list[jax.Array]:
        """Return the input of each layer."""
        model = self.experiment.model
        steps = model.steps(
            self.params, self.state, self.x, Context(self.ops, training=True, key=self.key)
        )
        return [self.x, *(output for _, output, _ in steps)][:-1]


def _names(params: Any) -> list[str]:
    paths = jax.tree_util.tree_flatten_with_path(params)[0]
    return [".".join(str(getattr(k, "key", k)) for k in path) for path, _ in paths]


def _compare_gradients(
    problem: _Problem, generator: np.random.Generator, report: Callable[[str], None]
) -> list[Row]:
    """Compare gradients and Hessian-vector products with the reference's."""
    primals = problem.at
    v = jax.tree.map(lambda a: jnp.asarray(generator.standard_normal(a.shape)), primals)

    def derivatives(namespace: Any) -> tuple[list[Any], list[Any]]:
        def gradient(primals: Any) -> Any:
            return jax.grad(lambda p: problem.loss(p[0], p[1], namespace))(primals)

        def along_v(primals: Any) -> jax.Array:
            products = jax.tree.map(jnp.vdot, gradient(primals), v)
            return sum(jax.tree.leaves(products), start=jnp.zeros(()))

        both = jax.jit(lambda primals: (gradient(primals), jax.grad(along_v)(primals)))(primals)
        return jax.tree.leaves(both[0]), jax.tree.leaves(both[1])

    report("the whole model, against jax.grad of the reference")
    found, expected = derivatives(problem.ops), derivatives(reference)
    names = [*_names(problem.params), INPUT]
    noise = [noise_of(problem.size, span(a), OF_GRADIENTS) for a in jax.tree.leaves(primals)]
    return [
        compare(name, against, a, b, GRADIENT, noise=left)
        for against, mine, theirs in zip((DERIVED, "second order"), found, expected, strict=True)
        for name, a, b, left in zip(names, mine, theirs, noise, strict=True)
    ]


def _compare_differences(
    problem: _Problem,
    samples: int,
    generator: np.random.Generator,
    report: Callable[[str], None],
) -> list[Row]:
    """Compare gradients with differences; what lies before a parameter's layer is computed once."""
    gradients = jax.jit(jax.grad(lambda p: problem.loss(p[0], p[1], problem.ops)))(problem.at)
    noise = noise_of(problem.size, STEP, OF_DIFFERENCES)
    rows = []
    for position, (name, x) in enumerate(
        zip(problem.experiment.model.names, problem.inputs(), strict=True)
    ):
        own = problem.params.get(name, {})
        for k, leaf in enumerate(jax.tree.leaves(own)):
            along = _along(problem, name, position, k, x)

            label = f"{name}.{_names(own)[k]}"
            report(f"{label}, against differences")
            gradient = jax.tree.leaves(gradients[0][name])[k]
            rows.append(_difference_row(label, along, leaf, gradient, noise, samples, generator))
    report(f"{INPUT}, against differences")
    whole = _difference_row(
        INPUT,
        lambda a: problem.loss(problem.params, a, problem.ops),
        problem.x,
        gradients[1],
        noise,
        samples,
        generator,
    )
    return [*rows, whole]


def _along(
    problem: _Problem, name: str, position: int, k: int, x: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """Return the loss as a function of the ``k``-th parameter of a layer, whose input is ``x``."""
    leaves, structure = jax.tree.flatten(problem.params[name])

    def along(a: jax.Array) -> jax.Array:
        own = jax.tree.unflatten(structure, [*leaves[:k], a, *leaves[k + 1 :]])
        return problem.loss({**problem.params, name: own}, x, problem.ops, position)

    return along


def _difference_row(
    label: str,
    function: Callable[[jax.Array], jax.Array],
    a: jax.Array,
    gradient: jax.Array,
    noise: float,
    samples: int,
    generator: np.random.Generator,
) -> Row:
    at = sample(a.size, samples, generator)
    return compare(
        label,
        "differences",
        np.asarray(gradient).ravel()[at],
        central_differences(function, a, at, noise=noise),
        DIFFERENCES,
        noise=noise,
        places=[tuple(map(int, np.unravel_index(i, a.shape))) for i in at],
        shape=a.shape,
    )
