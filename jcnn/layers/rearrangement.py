"""Layers that move values without changing them."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

import jax.numpy as jnp
from jax import Array, lax
from pydantic import Field

from jcnn.axes import known, times
from jcnn.errors import UserError
from jcnn.fields import Count, Real, Shape
from jcnn.layers.base import Context, Layer, Params, State
from jcnn.layers.window import Edges, explicit_padding, spatial
from jcnn.ops.spatial import axes_of, whole


class Pad(Layer):
    """``pad``: surround the spatial axes with a value, or with the input's own elements.

    Attributes:
        padding: An integer, or a list of integers or [before, after] pairs, one per spatial axis;
            negative ones crop.
        value: What to surround with; -1 is the background of the 1989 zip codes.
        mode: "constant" surrounds with the value; "circular" goes on at the other end, "reflect"
            goes back from the edge, "replicate" repeats it.

    >>> Pad(padding=2, value=-1.0).output_shape((16, 16, 1))
    (20, 20, 1)
    """

    type: Literal["pad"] = "pad"
    padding: Edges
    value: Real = 0.0
    mode: Literal["constant", "circular", "reflect", "replicate"] = "constant"

    def _pairs(self, size: Shape) -> tuple[tuple[int, int], ...]:
        pairs = explicit_padding(self.padding, size)
        if self.mode != "constant" and min(map(min, pairs)) < 0:
            raise UserError(f'padding must be at least 0 with mode = "{self.mode}", found {pairs}')
        return pairs

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        size = spatial(input_shape)
        pairs = self._pairs(size)
        padded = [n + lo + hi for n, (lo, hi) in zip(size, pairs, strict=True)]
        if any(known(n) and n < 1 for n in padded):
            raise UserError(f"padding {pairs} leaves nothing of the input {times(size)}")
        return (*padded, input_shape[-1])

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        pairs = self._pairs(x.shape[1:-1])
        if self.mode != "constant":
            return context.ops.pad(x, pairs, mode=self.mode), state
        if axes_of(x):
            padded = context.ops.pad(x, pairs)
            own = context.ops.pad(jnp.ones_like(x), pairs) > 0
            return jnp.where(own, padded, jnp.asarray(self.value, x.dtype)), state
        edges = [(lo, hi, 0) for lo, hi in ((0, 0), *pairs, (0, 0))]
        return lax.pad(x, jnp.asarray(self.value, x.dtype), edges), state


class Flatten(Layer):
    """``flatten``: all axes into one, the channels running fastest.

    >>> Flatten().output_shape((4, 4, 12))
    (192,)
    """

    type: Literal["flatten"] = "flatten"

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        return (prod(input_shape),)

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        x = whole(x)
        # The size is spelled out, since -1 has no meaning in an empty batch.
        return x.reshape(x.shape[0], prod(x.shape[1:])), state


class Reshape(Layer):
    """``reshape``: the same values, in order, under another shape.

    Attributes:
        shape: The shape of one example, channels last.

    >>> Reshape(shape=(4, 4, 12)).output_shape((192,))
    (4, 4, 12)
    """

    type: Literal["reshape"] = "reshape"
    shape: Annotated[tuple[Count, ...], Field(min_length=1)]

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        if prod(self.shape) != prod(input_shape):
            raise UserError(
                f"shape {times(self.shape)} holds {prod(self.shape)} values, "
                f"and its input {times(input_shape)} holds {prod(input_shape)}"
            )
        return self.shape

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        return whole(x).reshape(x.shape[0], *self.shape), state
