"""Layers one after the other: what a model is, and each branch of a residual block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import jax
from jax import Array

from jcnn.errors import UserError
from jcnn.fields import Shape
from jcnn.layers.base import Context, Cost, Layer, Params, State
from jcnn.ops import spatial


def _in_space(
    layer: Layer, own: tuple[Params, State], x: Array, context: Context, here: Context
) -> tuple[Array, State]:
    """Apply a layer to images that are split in space, or to whole ones behind those."""
    with spatial.split_over(context.shards.space):
        x = x if here.shards.space else spatial.whole(x)
    with spatial.split_over(here.shards.space):
        return layer.apply(*own, x, here)


@dataclass(frozen=True)
class Sequence:
    """Layers applied in their order; each one's parameters and state lie under its name."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        """Take any sequence, and refuse what is no layer, and two layers of one name.

        Raises:
            UserError: Likewise.
        """
        if not isinstance(self.layers, Iterable) or isinstance(self.layers, Layer):
            raise UserError(f"expected a sequence of layers, found {self.layers!r}")
        object.__setattr__(self, "layers", tuple(self.layers))  # hashable, as jit's statics are
        for position, layer in enumerate(self.layers, 1):
            if not isinstance(layer, Layer):
                raise UserError(f"layer {position}: expected a layer, found {layer!r}")
        for name, count in Counter(self.names).items():
            if count > 1:
                raise UserError(f"{count} layers have the name '{name}', and names must differ")

    @property
    def names(self) -> tuple[str, ...]:
        """Each layer's own name, or its type and its number among the layers of that type."""
        seen: Counter[str] = Counter()
        names = []
        for layer in self.layers:
            seen[layer.type] += 1
            names.append(layer.name or f"{layer.type}_{seen[layer.type]}")
        return tuple(names)

    def shapes(self, input_shape: Shape) -> list[Shape]:
        """Shape of each layer's output, for one example.

        Raises:
            UserError: A layer does not fit; the message names it, numbered from 1.
        """
        return [output for _, _, _, output in self.walk(input_shape)]

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the last layer's output."""
        shapes = self.shapes(input_shape)
        return shapes[-1] if shapes else input_shape

    def walk(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape, Shape]]:
        """Yield each layer's name, the layer, and the shapes of its input and output."""
        shape = input_shape
        for position, (name, layer) in enumerate(zip(self.names, self.layers, strict=True), 1):
            try:
                output = layer.output_shape(shape)
            except UserError as error:
                place = f"layer {position} '{name}' ({layer.type})"
                raise UserError(f"{place}: {error}") from None
            yield name, layer, shape, output
            shape = output

    def init(self, key: Array, input_shape: Shape) -> tuple[Params, State]:
        """Draw parameters and state, two dicts keyed by layer; those that have none are absent."""
        params: Params = {}
        state: State = {}
        for position, (name, layer, shape, _) in enumerate(self.walk(input_shape)):
            own_params, own_state = layer.init(jax.random.fold_in(key, position), shape)
            if own_params:
                params[name] = own_params
            if own_state:
                state[name] = own_state
        return params, state

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """Apply every layer in turn; returns the last output and the next state."""
        next_state: State = {}
        for name, output, own_state in self.steps(params, state, x, context):
            x = output
            if own_state:
                next_state[name] = own_state
        return x, next_state

    def steps(
        self,
        params: Params,
        state: State,
        x: Array,
        context: Context,
        start: int = 0,
    ) -> Iterator[tuple[str, Array, State]]:
        """Yield each layer's name, output and next state, from layer ``start`` on.

        Args:
            params: See :meth:`Layer.apply`.
            state: Likewise.
            x: Input of layer ``start``.
            context: See :meth:`Layer.apply`.
            start: Position of the first layer to apply, from 0.
        """
        for position, (name, layer) in enumerate(zip(self.names, self.layers, strict=True)):
            if position < start:
                continue
            own = params.get(name, {}), state.get(name, {})
            here = context.at(position, name)
            with jax.named_scope(name):  # which traces and compiled programs then tell
                if not context.shards.split:
                    x, own_state = layer.apply(*own, x, here)
                else:
                    x, own_state = _in_space(layer, own, x, context, here)
            yield name, x, own_state

    @property
    def needs_sample(self) -> bool:
        """Whether a layer's state is set from a sample of inputs before training."""
        return any(layer.needs_sample for layer in self.layers)

    def calibrate(
        self, params: Params, state: State, x: Array, context: Context, known: State | None = None
    ) -> State:
        """Set the state from a sample of the first layer's inputs, from layer to layer.

        Args:
            params: See :meth:`Layer.calibrate`.
            state: Likewise.
            x: Likewise.
            context: Likewise.
            known: Likewise, by the layers' names.
        """
        state, known = dict(state), known or {}
        asking = [position for position, layer in enumerate(self.layers) if layer.needs_sample]
        last = asking[-1] if asking else -1
        for position, (name, layer) in enumerate(zip(self.names, self.layers, strict=True)):
            own = params.get(name, {}), state.get(name, {})
            if layer.needs_sample:
                state[name] = layer.calibrate(*own, x, context, known.get(name))
            if position >= last:  # what follows asks for nothing
                break
            x, _ = layer.apply(own[0], state.get(name, {}), x, context)
        return state

    def cost(self, input_shape: Shape) -> Cost:
        """Sum of the layers' costs."""
        costs = (layer.cost(shape) for _, layer, shape, _ in self.walk(input_shape))
        return sum(costs, Cost())
