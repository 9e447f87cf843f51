"""What each layer of a model costs: parameters, time both ways, memory kept between the passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import ops
from jcnn.axes import times
from jcnn.config import Experiment
from jcnn.fields import Shape
from jcnn.layers import Context, Layer, Params, State

_REPEATS = 5
_MOST_SECONDS = 0.5
LARGEST_BATCH = 64


@dataclass(frozen=True)
class LayerRow:
    """One layer of the diagram.

    Attributes:
        name: Its name.
        type: Its type.
        settings: Its fields that are not their defaults, in words.
        output: The shape of its output.
        parameters: How many it has.
        parameter_share: Of all parameters.
        seconds: Forward and backward of one example, within a batch; None where not measured.
        time_share: Of all layers' seconds.
        kept_bytes: What its rule keeps of one example between the passes.
        memory_share: Of all that is kept.
    """

    name: str
    type: str
    settings: str
    output: str
    parameters: int
    parameter_share: float
    seconds: float | None
    time_share: float
    kept_bytes: int
    memory_share: float


def layer_rows(
    experiment: Experiment, params: Params, state: State, *, timed: bool = True
) -> list[LayerRow]:
    """Count and measure every layer of an experiment's model, one after the other.

    Each layer is compiled and timed by itself, so the sum is more than a step takes, where XLA
    fuses neighbours; the shares say where the time goes. Memory is counted, not measured.
    """
    batch = min(experiment.training.batch_size, LARGEST_BATCH)
    walked = list(experiment.model.walk(experiment.input_shape))
    counted = [layer.cost(before).parameters for _, layer, before, _ in walked]
    ways = [_both_ways(layer, state.get(name, {})) for name, layer, _, _ in walked]
    kept = [
        _kept(layer, params.get(name, {}), state.get(name, {}), before)
        for name, layer, before, _ in walked
    ]
    seconds = [
        _seconds(way, params.get(name, {}), batch, before, after) if timed else None
        for way, (name, _, before, after) in zip(ways, walked, strict=True)
    ]
    shares = [_shares([value or 0 for value in column]) for column in (counted, seconds, kept)]
    return [
        LayerRow(name, layer.type, _settings(layer), times(after), counted[k], shares[0][k],
                 seconds[k], shares[1][k], kept[k], shares[2][k])
        for k, (name, layer, _, after) in enumerate(walked)
    ]  # fmt: skip


def _both_ways(layer: Layer, state: State) -> Callable[..., Any]:
    def run(params: Params, x: jax.Array, dy: jax.Array) -> Any:
        _, pull = jax.vjp(lambda p, a: layer.apply(p, state, a, Context(ops))[0], params, x)
        return pull(dy)

    return jax.jit(run)


def _seconds(
    way: Callable[..., Any], params: Params, batch: int, before: Shape, after: Shape
) -> float:
    generator = np.random.default_rng(0)
    x, dy = (
        jnp.asarray(generator.normal(size=(batch, *shape)).astype(np.float32))
        for shape in (before, after)
    )
    jax.block_until_ready(way(params, x, dy))
    times: list[float] = []
    while len(times) < _REPEATS and sum(times) < _MOST_SECONDS:
        started = perf_counter()
        jax.block_until_ready(way(params, x, dy))
        times.append(perf_counter() - started)
    return min(times) / batch


def _kept(layer: Layer, params: Params, state: State, shape: Shape) -> int:
    """Bytes between the passes that grow with the batch, per example."""

    def residuals(batch: int) -> int:
        def run(params: Params, x: jax.Array) -> Any:
            return jax.vjp(lambda p, a: layer.apply(p, state, a, Context(ops))[0], params, x)[1]

        pull = jax.eval_shape(run, params, jax.ShapeDtypeStruct((batch, *shape), jnp.float32))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull))

    return residuals(2) - residuals(1)


def _shares(values: list[Any]) -> list[float]:
    total = sum(values)
    return [value / total if total else 0.0 for value in values]


def _settings(layer: Layer) -> str:
    return ", ".join(f"{key} {_shown(value)}" for key, value in _changed(layer))


def _changed(layer: Layer) -> Iterator[tuple[str, Any]]:
    for key, field in type(layer).model_fields.items():
        value = getattr(layer, key)
        if key not in ("name", "type", "initializer") and value != field.default:
            yield key, value


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], Layer):
        return " → ".join(layer.type for layer in value)
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return "by a table"
    if isinstance(value, tuple):
        return times(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
