"""Normalisation and dropout."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

import jax.numpy as jnp
from jax import Array, lax
from pydantic import Field

from jcnn.fields import Count, Fraction, PositiveReal, Real, Shape
from jcnn.layers.base import Context, Cost, Layer, Params, State
from jcnn.layers.window import spatial
from jcnn.precision import dtype_within


class BatchNorm(Layer):
    """``batch_norm``: zero mean and unit variance per channel, then a learned scale and offset.

    In training the statistics are the batch's, over all its positions. Evaluation uses their
    running means, the layer's state: momentum · running + (1 - momentum) · batch, at each step.
    The variance is the biased one that the batch was divided by.

    Attributes:
        momentum: Share of the running statistics that a step keeps.
        epsilon: Added to the variance.
        statistics: On several devices, whether those of the whole batch, "global", so that the
            result is that of one device, or each device's of its own part, "local", which takes no
            communication; the running ones are the devices' mean in any case.

    >>> BatchNorm().cost((32, 32, 64)).parameters
    128
    """

    type: Literal["batch_norm"] = "batch_norm"
    momentum: Fraction = 0.9
    epsilon: PositiveReal = 1e-5
    statistics: Literal["global", "local"] = "global"

    def init(self, key: Array, input_shape: Shape) -> tuple[Params, State]:
        """See :meth:`Layer.init`."""
        channels = input_shape[-1:]
        zeros, ones = jnp.zeros(channels, jnp.float32), jnp.ones(channels, jnp.float32)
        return {"scale": ones, "offset": zeros}, {"mean": zeros, "variance": ones}

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        # A value per channel stays float32 beside activations of half precision.
        wide = dtype_within(x)
        scale, offset = params["scale"].astype(wide), params["offset"].astype(wide)
        if not context.training:
            mean, variance = state["mean"].astype(wide), state["variance"].astype(wide)
            y = context.ops.batch_norm_inference(
                x, scale, offset, mean, variance, epsilon=self.epsilon
            )
            return y, state
        axes = context.shards.all if self.statistics == "global" else ()
        how = {"epsilon": self.epsilon, **({"axis_name": axes} if axes else {})}
        y, mean, variance = context.ops.batch_norm(x, scale, offset, **how)
        if 0 in x.shape:
            return y, state  # no example says nothing of what is usual
        return y, {
            "mean": self._running(state["mean"], mean),
            "variance": self._running(state["variance"], variance),
        }

    def _running(self, running: Array, batch: Array) -> Array:
        # Nothing is learned through the running statistics.
        batch = lax.stop_gradient(batch).astype(running.dtype)
        return self.momentum * running + (1 - self.momentum) * batch

    def cost(self, input_shape: Shape) -> Cost:
        """See :meth:`Layer.cost`."""
        return Cost(parameters=2 * input_shape[-1], flops=2 * prod(input_shape))


class LocalResponseNorm(Layer):
    """``local_response_norm``: divide by the activity of neighbouring channels.

    y = x / (offset + scale · Σ x²)^power, the sum over ``size`` channels around each (Krizhevsky et
    al., 2012, whose values are the defaults).

    Attributes:
        size: Of how many neighbouring channels the squares are added, the channel among them.
        offset: What is added to the scaled sum.
        scale: Factor of the sum of squares.
        power: Exponent of what is divided by.
    """

    type: Literal["local_response_norm"] = "local_response_norm"
    size: Count = 5
    offset: PositiveReal = 2.0
    scale: Annotated[Real, Field(ge=0)] = 1e-4
    power: PositiveReal = 0.75

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        spatial(input_shape)
        return input_shape

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        size = min(self.size, 2 * x.shape[-1])  # which reaches every channel from each of them
        y = context.ops.local_response_norm(
            x, size=size, offset=self.offset, scale=self.scale, power=self.power
        )
        return y, state


class Dropout(Layer):
    """``dropout``: in training, set each value to zero with probability ``drop_rate``.

    What remains is divided by ``1 - drop_rate``; in evaluation nothing happens.

    Attributes:
        drop_rate: The probability of a value to become zero.
    """

    type: Literal["dropout"] = "dropout"
    drop_rate: Fraction = 0.5

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        if not context.training or self.drop_rate == 0:
            return x, state
        if context.key is None:
            raise ValueError("dropout: training needs a key, found None; pass key= to model.apply")
        spec = context.shards.spec(x.ndim)
        how = {"spec": spec} if any(spec) else {}
        return context.ops.dropout(x, context.key, self.drop_rate, **how), state
