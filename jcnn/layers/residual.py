"""Residual blocks, which nest layers of any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import jax
from jax import Array
from pydantic import Field

from jcnn.axes import times
from jcnn.errors import UserError
from jcnn.fields import Shape
from jcnn.layers.base import Context, Cost, Layer, Params, State
from jcnn.layers.sequence import Sequence

if TYPE_CHECKING:
    from jcnn.layers import AnyLayer


class Residual(Layer):
    """``residual``: the sum of its layers' output and of its input, or of a shortcut's output.

    Parameters and state are ``{"layers": …, "shortcut": …}``, each keyed by layer.

    Attributes:
        layers: The block's layers.
        shortcut: Layers that the input passes through before it is added, where shapes differ.

    >>> from jcnn.layers import Conv, Relu
    >>> body = (Conv(features=8, window=3, padding="SAME"), Relu())
    >>> Residual(layers=body).output_shape((32, 32, 8))
    (32, 32, 8)
    """

    type: Literal["residual"] = "residual"
    layers: Annotated[tuple[AnyLayer, ...], Field(min_length=1)]
    shortcut: tuple[AnyLayer, ...] = ()

    def branches(self) -> dict[str, Sequence]:
        """The two paths, by name; an empty shortcut passes its input on."""
        return {"layers": Sequence(self.layers), "shortcut": Sequence(self.shortcut)}

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        body, shortcut = (path.output_shape(input_shape) for path in self.branches().values())
        if body != shortcut:
            raise UserError(
                f"its layers give {times(body)} and its shortcut gives {times(shortcut)}; "
                "both must be equal to be added"
            )
        return body

    def init(self, key: Array, input_shape: Shape) -> tuple[Params, State]:
        """See :meth:`Layer.init`."""
        params: Params = {}
        state: State = {}
        for position, (name, path) in enumerate(self.branches().items()):
            path_params, path_state = path.init(jax.random.fold_in(key, position), input_shape)
            if path_params:
                params[name] = path_params
            if path_state:
                state[name] = path_state
        return params, state

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        outputs: list[Array] = []
        next_state: State = {}
        for position, (name, path) in enumerate(self.branches().items()):
            y, path_state = path.apply(
                params.get(name, {}),
                state.get(name, {}),
                x,
                context.at(position, name),
            )
            outputs.append(y)
            if path_state:
                next_state[name] = path_state
        return outputs[0] + outputs[1], next_state

    @property
    def needs_sample(self) -> bool:  # type: ignore[override]
        """Whether a layer of its paths is."""
        return any(path.needs_sample for path in self.branches().values())

    def calibrate(
        self, params: Params, state: State, x: Array, context: Context, known: State | None = None
    ) -> State:
        """See :meth:`Layer.calibrate`."""
        known, calibrated = known or {}, {}
        for name, path in self.branches().items():
            own = params.get(name, {}), state.get(name, {})
            calibrated[name] = path.calibrate(*own, x, context, known.get(name))
        return {name: own for name, own in calibrated.items() if own}

    def cost(self, input_shape: Shape) -> Cost:
        """See :meth:`Layer.cost`."""
        return sum((path.cost(input_shape) for path in self.branches().values()), Cost())
