"""Convolution, correlation and transposed convolution as layers."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from pydantic import Field

from jcnn.errors import UserError
from jcnn.fields import Count, Flag, Real, Shape
from jcnn.geometry import Geometry, place_transposed
from jcnn.layers.base import Context, Cost, Layer, Params, State
from jcnn.layers.initializers import AnyInitializer, Dirac, Fan, HeNormal
from jcnn.layers.window import Naturals, Padding, PerAxis, per_axis, place, placing, spatial

Connections = tuple[
    Annotated[
        tuple[Annotated[int, Field(strict=True, ge=0)], ...],
        Field(min_length=1),
    ],
    ...,
]


class Convolution(Layer):
    """What ``conv`` and ``conv_transpose`` share: their kernel and their biases."""

    features: Count
    window: PerAxis
    strides: PerAxis = 1
    padding: Padding = "VALID"
    dilation: PerAxis = 1
    groups: Count = 1
    bias: Literal["channel", "position", "none"] = "channel"
    bias_value: Real = 0.0
    initializer: AnyInitializer = HeNormal()

    def _check_groups(self, channels: int) -> None:
        for what, count in (("input channels", channels), ("features", self.features)):
            if count % self.groups:
                raise UserError(f"groups = {self.groups} does not divide its {count} {what}")

    def _check_middle(self, input_shape: Shape) -> None:
        """Refuse a window without a middle, which is what ``dirac`` copies."""
        window = per_axis("window", self.window, spatial(input_shape))
        if isinstance(self.initializer, Dirac) and not all(k % 2 for k in window):
            raise UserError(
                f'initializer = "dirac" copies the middle of a window: expected odd sizes, found '
                f"window = {list(window)}"
            )

    def _kernel_shape(self, input_shape: Shape) -> Shape:
        window = per_axis("window", self.window, spatial(input_shape))
        return (*window, input_shape[-1] // self.groups, self.features)

    def _fan_in(self, kernel: Shape) -> Fan:
        return prod(kernel[:-1])

    def init(self, key: Array, input_shape: Shape) -> tuple[Params, State]:
        """See :meth:`Layer.init`."""
        kernel = self._kernel_shape(input_shape)
        fan_out = prod(kernel[:-2]) * self.features // self.groups
        params: Params = {"w": self.initializer.draw(key, kernel, self._fan_in(kernel), fan_out)}
        shape = self._bias_shape(input_shape)
        if shape is not None:
            params["b"] = jnp.full(shape, self.bias_value, jnp.float32)
        return params, {}

    def _bias_shape(self, input_shape: Shape) -> Shape | None:
        match self.bias:
            case "channel":
                return (self.features,)
            case "position":
                return self.output_shape(input_shape)
        return None

    def _biases(self, input_shape: Shape) -> int:
        shape = self._bias_shape(input_shape)
        return 0 if shape is None else prod(shape)


class Conv(Convolution):
    """``conv``: a convolution, or with ``correlate = true`` a correlation (no flip).

    Attributes:
        features: Output channels.
        window: Size of the kernel, an integer, or a list with one per spatial axis.
        strides: Step between neighbouring outputs.
        padding: "VALID" (none), "SAME" (output of ceil(size / stride), the odd element after;
            "SAME_LOWER" before), "FULL", an integer, or a list of integers or [before, after]
            pairs, one per spatial axis; negative ones crop. It pads zeros, or with "CIRCULAR",
            "REFLECT" and "REPLICATE" elements of the input; a ``pad`` layer pads more of them, or
            another value.
        dilation: Step between neighbouring kernel elements.
        groups: Groups of channels that do not see each other.
        correlate: Whether to leave the kernel unflipped.
        bias: One per "channel", one per "position" and channel (per unit), or "none".
        bias_value: What the biases begin with.
        initializer: How the kernel begins.
        connections: For each output plane, the input planes that it reads (numbered from 0); all of
            them where this is not given. Absent weights are zero, and so is their gradient.

    >>> layer = Conv(features=12, window=5, strides=2, bias="position")
    >>> layer.output_shape((20, 20, 1))
    (8, 8, 12)
    >>> layer.cost((20, 20, 1))
    Cost(parameters=1068, connections=19968, units=768, flops=38400)
    """

    type: Literal["conv"] = "conv"
    correlate: Flag = False
    connections: Connections | None = None

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        output = self.geometry(input_shape).output
        self._check_groups(input_shape[-1])
        self._check_middle(input_shape)
        self._check_connections(input_shape[-1])
        return (*output, self.features)

    def geometry(self, input_shape: Shape) -> Geometry:
        """Where its windows stand."""
        return place(
            input_shape,
            window=self.window,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def _check_connections(self, channels: int) -> None:
        if self.connections is None:
            return
        if self.groups != 1:
            raise UserError("connections and groups exclude each other; leave groups at 1")
        if len(self.connections) != self.features:
            raise UserError(
                f"connections has {len(self.connections)} lists, and needs one for each of its "
                f"{self.features} features"
            )
        for plane, inputs in enumerate(self.connections):
            if max(inputs) >= channels or len(set(inputs)) != len(inputs):
                raise UserError(
                    f"connections gives plane {plane} the inputs {list(inputs)}; expected distinct "
                    f"numbers from 0 to {channels - 1}, since its input has {channels} channels"
                )
            if isinstance(self.initializer, Dirac) and plane < channels and plane not in inputs:
                raise UserError(
                    f'initializer = "dirac" copies input {plane} into plane {plane}: expected '
                    f"connections that give it this input, found {list(inputs)}"
                )

    def connected(self, w: Array) -> Array:
        """Return a kernel without the weights that ``connections`` leave out."""
        if self.connections is None:
            return w
        mask = np.zeros(w.shape[-2:], np.float32)
        for plane, inputs in enumerate(self.connections):
            mask[list(inputs), plane] = 1
        return w * lax.broadcast_to_rank(jnp.asarray(mask, w.dtype), w.ndim)

    def _fan_in(self, kernel: Shape) -> Fan:
        if self.connections is None:
            return super()._fan_in(kernel)
        return prod(kernel[:-2]) * np.array([len(inputs) for inputs in self.connections])

    def init(self, key: Array, input_shape: Shape) -> tuple[Params, State]:
        """See :meth:`Layer.init`."""
        params, state = super().init(key, input_shape)
        params["w"] = self.connected(params["w"])
        return params, state

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        operation = context.ops.correlate if self.correlate else context.ops.convolve
        y = operation(
            x,
            self.connected(params["w"].astype(x.dtype)),
            None if self.bias == "none" else params["b"].astype(x.dtype),
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y, state

    def cost(self, input_shape: Shape) -> Cost:
        """See :meth:`Layer.cost`."""
        output = self.output_shape(input_shape)
        kernel = self._kernel_shape(input_shape)
        planes = self.features * kernel[-2]
        if self.connections is not None:
            planes = sum(len(inputs) for inputs in self.connections)
        weights = prod(kernel[:-2]) * planes
        sums = weights * prod(output[:-1])
        biased = prod(output) if self.bias != "none" else 0
        return Cost(weights + self._biases(input_shape), sums + biased, prod(output), 2 * sums)


class ConvTranspose(Convolution):
    """``conv_transpose``: each input adds a scaled copy of the kernel, every ``strides`` elements.

    Attributes:
        features: Output channels.
        window: Size of the kernel.
        strides: Step between the kernel's copies, in output elements.
        padding: What is cut off: "VALID" nothing (strides (n - 1) + window elements remain), "SAME"
            and "SAME_LOWER" all but strides · n, "FULL" window - 1 at both ends, or integers as in
            ``conv``, of which negative ones add; "CIRCULAR" adds what hangs over at the other end.
        dilation: Step between neighbouring kernel elements.
        groups: Groups of channels that do not see each other.
        output_padding: Elements more behind the output, fewer than the strides or the dilation.
        bias: One per "channel", one per "position" and channel, or "none".
        bias_value: What the biases begin with.
        initializer: How the kernel begins.

    >>> ConvTranspose(features=64, window=4, strides=2, padding=1).output_shape((16, 16, 128))
    (32, 32, 64)
    """

    type: Literal["conv_transpose"] = "conv_transpose"
    output_padding: Naturals = 0

    def _fan_in(self, kernel: Shape) -> Fan:
        """On average: at strides a unit is reached by every so many taps of the kernel alone."""
        return prod(kernel[:-1]) / prod(per_axis("strides", self.strides, kernel[:-2]))

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        self._check_groups(input_shape[-1])
        self._check_middle(input_shape)
        return (*self.geometry(input_shape).size, self.features)

    def geometry(self, input_shape: Shape) -> Geometry:
        """Where the windows of the correlation stand whose adjoint it is."""
        with placing():
            return place_transposed(
                spatial(input_shape),
                self.window,
                self.strides,
                self.padding,
                self.dilation,
                self.groups,
                self.output_padding,
            )

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        y = context.ops.convolve_transpose(
            x,
            params["w"].astype(x.dtype),
            None if self.bias == "none" else params["b"].astype(x.dtype),
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            output_padding=self.output_padding,
        )
        return y, state

    def cost(self, input_shape: Shape) -> Cost:
        """See :meth:`Layer.cost`."""
        output = self.output_shape(input_shape)
        weights = prod(self._kernel_shape(input_shape))
        # Each input position sends one copy of the kernel; what padding cuts off is counted too.
        sums = weights * prod(input_shape[:-1])
        biased = prod(output) if self.bias != "none" else 0
        return Cost(weights + self._biases(input_shape), sums + biased, prod(output), 2 * sums)
