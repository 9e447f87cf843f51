"""Whitening of patches: a first convolution that the training images themselves determine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import product
from math import prod
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from jcnn.fields import Flag, PositiveReal, Shape
from jcnn.layers.base import Context, Cost, Layer, Params, State
from jcnn.layers.convolution import Conv
from jcnn.layers.window import PerAxis, per_axis, spatial

_PATCHES = 2**20  # that lie in memory at a time


class PatchWhitening(Layer):
    """``patch_whitening``: each patch along its principal axes, each to the same variance.

    Neighbouring pixels are so alike that gradient descent sees little else. With u the eigenvectors
    and v the eigenvalues of the second moments of the training images' patches (images of mean
    zero are expected), the outputs are ± uᵀ patch / √(v + epsilon), both signs for a ReLU to keep,
    and a bias. The kernel is the layer's state, not a parameter: it is set from a sample of
    training images before the first step, and not learned. Until then patches pass unchanged.

    Attributes:
        window: Size of the patches.
        epsilon: Added to each variance, so that axes without variance are not blown up.
        bias: Whether each output has a learned bias.

    >>> layer = PatchWhitening(window=2)
    >>> layer.output_shape((32, 32, 3)), layer.cost((32, 32, 3)).parameters
    ((31, 31, 24), 24)
    """

    type: Literal["patch_whitening"] = "patch_whitening"
    window: PerAxis = 2
    epsilon: PositiveReal = 5e-4
    bias: Flag = True
    needs_sample = True

    def convolution(self, input_shape: Shape) -> Conv:
        """Return the layer that this one is, but for where its kernel comes from."""
        window = per_axis("window", self.window, spatial(input_shape))
        bias = "channel" if self.bias else "none"
        features = 2 * prod(window) * input_shape[-1]
        return Conv(features=features, window=window, correlate=True, bias=bias)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See :meth:`Layer.output_shape`."""
        return self.convolution(input_shape).output_shape(input_shape)

    def init(self, key: Array, input_shape: Shape) -> tuple[Params, State]:
        """See :meth:`Layer.init`."""
        window = per_axis("window", self.window, spatial(input_shape))
        values = prod(window) * input_shape[-1]
        params = {"b": jnp.zeros(2 * values, jnp.float32)} if self.bias else {}
        return params, {"w": _both_signs(np.eye(values), (*window, input_shape[-1]))}

    def calibrate(
        self, params: Params, state: State, x: Array, context: Context, known: State | None = None
    ) -> State:
        """See :meth:`Layer.calibrate`."""
        if known:
            return known
        *window, channels, _ = state["w"].shape
        size = [n - k + 1 for n, k in zip(x.shape[1:-1], window, strict=True)]
        images = max(1, _PATCHES // prod(size))
        parts = (_patches(x[at : at + images], window, size) for at in range(0, len(x), images))
        moments = reduce(np.add, (part.T @ part for part in parts))
        variances, axes = np.linalg.eigh(moments / (len(x) * prod(size)))
        # An eigenvector's sign is free: the same on every machine.
        axes = axes * np.sign(axes[np.abs(axes).argmax(0), range(len(axes))])
        scaled = axes / np.sqrt(np.maximum(variances, 0) + self.epsilon)
        return {"w": _both_signs(scaled, (*window, channels))}

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """See :meth:`Layer.apply`."""
        y, _ = self.convolution(x.shape[1:]).apply({**params, **state}, {}, x, context)
        return y, state

    def cost(self, input_shape: Shape) -> Cost:
        """See :meth:`Layer.cost`."""
        layer = self.convolution(input_shape)
        return replace(layer.cost(input_shape), parameters=layer.features * self.bias)


def _patches(x: Array, window: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """(N, *size, C) to (N patches, values of one), float64."""
    views = [
        x[(slice(None), *(slice(i, i + n) for i, n in zip(start, size, strict=True)))]
        for start in product(*map(range, window))
    ]
    columns = [np.asarray(view, np.float64).reshape(-1, x.shape[-1]) for view in views]
    return np.concatenate(columns, axis=1)


def _both_signs(axes: np.ndarray, patch: Shape) -> Array:
    """(values, axes) to a kernel (*patch, 2 axes)."""
    kernel = np.concatenate([axes, -axes], 1).astype(np.float32)
    return jnp.asarray(kernel.reshape(*patch, -1))
