"""The fully connected layer."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jax import Array, lax

from jcnn.axes import times
from jcnn.errors import UserError
from jcnn.fields import Count, Flag, Real, Shape
from jcnn.layers.base import Context, Cost, Layer, Params, State
from jcnn.layers.initializers import AnyInitializer, HeNormal


class Dense(Layer):
    """``dense``: every output reads every input, ``a = z · W + b``.

    Attributes:
        features: Number of outputs.
        bias: Whether there is one per output.
        bias_value: What the biases begin with.
        initializer: How the weights begin.

    >>> layer = Dense(features=10)
    >>> layer.output_shape((192,)), layer.cost((192,)).parameters
    ((10,), 1930)
    """

    type: Literal["dense"] = "dense"
    features: Count
    bias: Flag = True
    bias_value: Real = 0.0
    initializer: AnyInitializer = HeNormal()

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        if len(input_shape) != 1:
            raise UserError(
                f"it needs a flat input, and its input is {times(input_shape)}: "
                "put a 'flatten' layer before it"
            )
        return (self.features,)

    def init(self, key: Array, input_shape: Shape) -> tuple[Params, State]:
        """See :meth:`Layer.init`."""
        (fan_in,) = input_shape
        shape = (fan_in, self.features)
        params: Params = {"w": self.initializer.draw(key, shape, fan_in, self.features)}
        if self.bias:
            params["b"] = jnp.full((self.features,), self.bias_value, jnp.float32)
        return params, {}

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        w, b = params["w"].astype(x.dtype), params["b"].astype(x.dtype) if self.bias else None
        part, axis = context.shards.part, context.shards.model
        if part == "columns":  # of all examples that the devices of the axis hold, some features
            x = lax.all_gather(x, axis, axis=0, tiled=True)
        if part != "rows":
            return context.ops.dense(x, w, b), state
        summands = context.ops.dense(x, w)  # the devices' features add up; back to own examples
        y = lax.psum_scatter(summands, axis, scatter_dimension=0, tiled=True)
        return y if b is None else y + b, state

    def cost(self, input_shape: Shape) -> Cost:
        """See :meth:`Layer.cost`."""
        weights = input_shape[0] * self.features
        with_biases = weights + self.features * self.bias
        return Cost(with_biases, with_biases, self.features, 2 * weights)
