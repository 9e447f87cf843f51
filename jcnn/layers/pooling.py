"""Pools: one value for each window and channel, without parameters."""

from __future__ import annotations

from typing import Any, Literal

from jax import Array

from jcnn.fields import Flag, Shape
from jcnn.geometry import place_pool
from jcnn.layers.base import Context, Layer, Params, State
from jcnn.layers.window import Padding, PerAxis, per_axis, placing, spatial


class WindowPool(Layer):
    """A pool over windows; ``type`` is the name of its operation.

    Attributes:
        window: Size of the windows, an integer, or a list with one per spatial axis.
        strides: Step between neighbouring windows; the window itself where not given.
        padding: As in ``conv``; padding never wins a max pool.
        ceil_mode: Whether a last window may reach beyond the input and its padding.
    """

    window: PerAxis
    strides: PerAxis | None = None
    padding: Padding = "VALID"
    ceil_mode: Flag = False

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        with placing():
            g = place_pool(
                spatial(input_shape),
                self.window,
                self.strides,
                self.padding,
                ceil_mode=self.ceil_mode,
            )
        return (*g.output, input_shape[-1])

    def _options(self) -> dict[str, Any]:
        given = {"ceil_mode": self.ceil_mode} if self.ceil_mode else {}
        return {"strides": self.strides, "padding": self.padding, **given}

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        pool = getattr(context.ops, self.type)
        return pool(x, self.window, **self._options()), state


class MaxPool(WindowPool):
    """``max_pool``: the largest value of each window.

    >>> MaxPool(window=3, strides=2).output_shape((55, 55, 96))
    (27, 27, 96)
    """

    type: Literal["max_pool"] = "max_pool"


class ReluMaxPool(WindowPool):
    """``relu_max_pool``: ReLU and max pool in one, which keeps one byte per pooled value."""

    type: Literal["relu_max_pool"] = "relu_max_pool"


class AveragePool(WindowPool):
    """``average_pool``: the mean of each window.

    Attributes:
        window: Size of the windows.
        strides: Step between neighbouring windows; the window itself where not given.
        padding: As in ``conv``.
        ceil_mode: Whether a last window may reach beyond; what is there is not counted.
        count_include_pad: Whether padding is counted, as zeros.
    """

    type: Literal["average_pool"] = "average_pool"
    count_include_pad: Flag = True

    def _options(self) -> dict[str, Any]:
        given = {} if self.count_include_pad else {"count_include_pad": False}
        return {**super()._options(), **given}


class SquarePool(WindowPool):
    """``square_pool``: the sum of the squares in each window (Waibel et al., 1988)."""

    type: Literal["square_pool"] = "square_pool"


class Decimate(Layer):
    """``decimate``: keep the first of every ``factor`` elements along each spatial axis.

    Attributes:
        factor: Of how many elements one is kept, an integer, or a list with one per spatial axis.

    >>> Decimate(factor=2).output_shape((5, 6, 3))
    (3, 3, 3)
    """

    type: Literal["decimate"] = "decimate"
    factor: PerAxis

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        size = spatial(input_shape)
        factor = per_axis("factor", self.factor, size)
        return (*(-(-n // f) for n, f in zip(size, factor, strict=True)), input_shape[-1])

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        return context.ops.decimate(x, per_axis("factor", self.factor, x.shape[1:-1])), state


class GlobalPool(Layer):
    """A pool over all positions; ``type`` is the name of its operation."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        spatial(input_shape)
        return input_shape[-1:]

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        return getattr(context.ops, self.type)(x), state


class GlobalMaxPool(GlobalPool):
    """``global_max_pool``: the largest value of each channel.

    >>> GlobalMaxPool().output_shape((7, 7, 64))
    (64,)
    """

    type: Literal["global_max_pool"] = "global_max_pool"


class GlobalAveragePool(GlobalPool):
    """``global_average_pool``: the mean of each channel."""

    type: Literal["global_average_pool"] = "global_average_pool"
