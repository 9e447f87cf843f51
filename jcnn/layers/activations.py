"""Activations: they keep their input's shape and have no parameters, except ``prelu``."""

from __future__ import annotations

from typing import Annotated, Literal

import jax.numpy as jnp
from jax import Array
from pydantic import Field

from jcnn.errors import UserError
from jcnn.fields import Real, Shape
from jcnn.layers.base import Context, Cost, Layer, Params, State


class Activation(Layer):
    """An activation of no arguments; ``type`` is the name of its operation."""

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        return getattr(context.ops, self.type)(x), state


class Relu(Activation):
    """``relu``: max(x, 0).

    >>> Relu().output_shape((28, 28, 32))
    (28, 28, 32)
    """

    type: Literal["relu"] = "relu"


class Sigmoid(Activation):
    """``sigmoid``: 1 / (1 + exp(-x))."""

    type: Literal["sigmoid"] = "sigmoid"


class Tanh(Activation):
    """``tanh``: the hyperbolic tangent."""

    type: Literal["tanh"] = "tanh"


class ScaledTanh(Activation):
    """``scaled_tanh``: 1.7159 tanh(2 x / 3), which is ± 1 at ± 1 (LeCun et al., 1989)."""

    type: Literal["scaled_tanh"] = "scaled_tanh"


class Gelu(Activation):
    """``gelu``: x Φ(x), with the normal distribution Φ (Hendrycks and Gimpel, 2016)."""

    type: Literal["gelu"] = "gelu"


class Softmax(Activation):
    """``softmax`` over the channels; the cross-entropy loss wants logits, so not before it."""

    type: Literal["softmax"] = "softmax"


class UnitStep(Activation):
    """``unit_step``: 1 where x > 0, else 0; for deployment, its gradient is zero."""

    type: Literal["unit_step"] = "unit_step"


class Signum(Activation):
    """``signum``: the sign; for deployment, its gradient is zero."""

    type: Literal["signum"] = "signum"


class LeakyRelu(Layer):
    """``leaky_relu``: x where x > 0, else ``slope`` x.

    Attributes:
        slope: Factor of what is not above zero.
    """

    type: Literal["leaky_relu"] = "leaky_relu"
    slope: Annotated[Real, Field(ge=0)] = 0.01

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        return context.ops.leaky_relu(x, self.slope), state


class Prelu(Layer):
    """``prelu``: a leaky ReLU that learns one slope per channel, beginning with ``slope``.

    Attributes:
        slope: What each slope begins with.

    >>> Prelu().cost((28, 28, 32)).parameters
    32
    """

    type: Literal["prelu"] = "prelu"
    slope: Real = 0.25

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        if not input_shape:
            raise UserError("it needs a channel axis, and its input is a single number")
        return input_shape

    def init(self, key: Array, input_shape: Shape) -> tuple[Params, State]:
        """See :meth:`Layer.init`."""
        return {"slope": jnp.full(input_shape[-1:], self.slope, jnp.float32)}, {}

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        return context.ops.prelu(x, params["slope"].astype(x.dtype)), state

    def cost(self, input_shape: Shape) -> Cost:
        """See :meth:`Layer.cost`."""
        return Cost(parameters=input_shape[-1])
