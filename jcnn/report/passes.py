"""One example forward and backward through a model, with all that passes between its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.layers import Context, Layer, Params, Residual, Sequence, State
from jcnn.layers.pooling import Decimate, GlobalPool, WindowPool

# What jit returns of a layer: arrays by name, and of a block the layers of its branches.
Arrays = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Passage:
    """What one layer received, gave, and passed back for one example; no batch axis.

    Attributes:
        name: The layer's name; within a block "residual_1.layers.conv_1".
        layer: The layer.
        params: Its parameters.
        x: Its input.
        y: Its output.
        dy: δ, the gradient of the example's loss by the output.
        dx: The gradient by the input, which is the δ of the layer before.
        grads: The gradients of the parameters, under their names.
        reached: Of a pool, where a δ of one everywhere goes: 1 at the winners of a max pool.
        branches: Of a residual block, the passages of its two paths.
    """

    name: str
    layer: Layer
    params: Mapping[str, Any]
    x: np.ndarray
    y: np.ndarray
    dy: np.ndarray
    dx: np.ndarray
    grads: Mapping[str, np.ndarray]
    reached: np.ndarray | None = None
    branches: Mapping[str, tuple[Passage, ...]] = field(default_factory=dict)

    def walk(self) -> Iterator[Passage]:
        """Yield this passage, then those within it."""
        yield self
        for branch in self.branches.values():
            for passage in branch:
                yield from passage.walk()


@dataclass(frozen=True, eq=False)
class Pass:
    """An example's way through the model and back.

    Attributes:
        loss: The example's loss.
        layers: A passage per layer.
    """

    loss: float
    layers: tuple[Passage, ...]

    @property
    def input_gradient(self) -> np.ndarray:
        """∂L/∂x of the example."""
        return self.layers[0].dx

    def walk(self) -> Iterator[Passage]:
        """Yield every passage, those of blocks after their block."""
        for passage in self.layers:
            yield from passage.walk()


def passages(
    experiment: Experiment,
    params: Params,
    state: State,
    examples: np.ndarray,
    labels: np.ndarray,
    ops: ModuleType = explicit_ops,
) -> list[Pass]:
    """Send examples through the network and their losses back, through the explicit rules.

    As in evaluation: no dropout, running statistics, float32. Each layer's rule is pulled back by
    itself, so what is shown as δ is what the rule was given.

    Args:
        experiment: Model and loss.
        params: Trained parameters.
        state: The running statistics that belong to them.
        examples: float32, (N, *input_shape).
        labels: int32, (N,).
        ops: The operations; :mod:`jcnn.reference` shows what autodiff derives.
    """
    run = backward_pass(experiment, params, state, ops)
    return [run(x, int(label)) for x, label in zip(examples, labels, strict=True)]


def backward_pass(
    experiment: Experiment, params: Params, state: State, ops: ModuleType = explicit_ops
) -> Callable[[np.ndarray, int], Pass]:
    """Return :func:`passages` for one example at a time, compiled once."""
    model, context = experiment.model, Context(ops)

    @jax.jit
    def both_ways(x: jax.Array, label: jax.Array) -> tuple[jax.Array, list[Arrays]]:
        output, back = _sequence(model, params, state, x[None], context)
        loss, pull = jax.vjp(lambda y: experiment.loss.per_example(y, label[None], ops)[0], output)
        return loss, back(pull(jnp.ones_like(loss))[0])

    def run(x: np.ndarray, label: int) -> Pass:
        loss, arrays = both_ways(jnp.asarray(x, jnp.float32), jnp.int32(label))
        return Pass(float(loss), _named(model, params, jax.device_get(arrays)))

    return run


def _sequence(
    path: Sequence, params: Params, state: State, x: jax.Array, context: Context
) -> tuple[jax.Array, Callable[[jax.Array], list[Arrays]]]:
    """Apply layers in turn; the second result takes the last δ back through all of them."""
    backs = []
    for position, (name, layer) in enumerate(zip(path.names, path.layers, strict=True)):
        own = params.get(name, {}), state.get(name, {})
        x, way_back = _layer(layer, *own, x, context.at(position, name))
        backs.append(way_back)

    def back(dy: jax.Array) -> list[Arrays]:
        passed: list[Arrays] = []
        for own in reversed(backs):
            passed.append(own(dy))
            dy = passed[-1]["dx"]
        return passed[::-1]

    return x, back


def _layer(
    layer: Layer, params: Params, state: State, x: jax.Array, context: Context
) -> tuple[jax.Array, Callable[[jax.Array], Arrays]]:
    if isinstance(layer, Residual):
        return _block(layer, params, state, x, context)
    y, pull = jax.vjp(lambda p, a: layer.apply(p, state, a, context)[0], params, x)

    def back(dy: jax.Array) -> Arrays:
        grads, dx = pull(dy)
        passed = {"x": x, "y": y, "dy": dy, "dx": dx, "grads": grads}
        if isinstance(layer, WindowPool | GlobalPool | Decimate):
            passed["reached"] = pull(jnp.ones_like(dy))[1]
        return passed

    return y, back


def _block(
    layer: Residual, params: Params, state: State, x: jax.Array, context: Context
) -> tuple[jax.Array, Callable[[jax.Array], Arrays]]:
    ways = {
        name: _sequence(path, params.get(name, {}), state.get(name, {}), x, context)
        for name, path in layer.branches().items()
    }
    y = sum((output for output, _ in ways.values()), jnp.zeros((), x.dtype))

    def back(dy: jax.Array) -> Arrays:
        branches = {name: way(dy) for name, (_, way) in ways.items()}
        # A branch without layers passes δ on as it is.
        dxs = [branch[0]["dx"] if branch else dy for branch in branches.values()]
        passed = {"x": x, "y": y, "dy": dy, "dx": dxs[0] + dxs[1], "grads": {}}
        return {**passed, "branches": branches}

    return y, back


def _named(
    path: Sequence, params: Params, arrays: list[Arrays], prefix: str = ""
) -> tuple[Passage, ...]:
    """Put the arrays to their layers, without the batch axis."""
    named = []
    for name, layer, passed in zip(path.names, path.layers, arrays, strict=True):
        own, full = params.get(name, {}), f"{prefix}{name}"
        kept = {key: passed[key][0] for key in ("x", "y", "dy", "dx")}
        reached = passed.get("reached")
        branches = {}
        if isinstance(layer, Residual):
            branches = {
                branch: _named(
                    way, own.get(branch, {}), passed["branches"][branch], f"{full}.{branch}."
                )
                for branch, way in layer.branches().items()
            }
        if reached is not None:
            reached = reached[0]
        named.append(
            Passage(
                full, layer, own, **kept, grads=passed["grads"], reached=reached, branches=branches
            )
        )
    return tuple(named)
