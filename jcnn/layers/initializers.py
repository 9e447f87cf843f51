"""How the weights of a layer begin.

An initializer is named by a string, or by a table where it has arguments::

    initializer = "glorot_uniform"
    initializer = {name = "uniform_fan_in", gain = 2.4}

``fan_in`` is the number of inputs a unit reads, its bias not counted; ``fan_out`` the number of
units that read an input, at strides of 1. With a connection table, ``fan_in`` is the unit's own; of
a transposed convolution at strides it is the mean over units.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from pydantic import BeforeValidator, Field

from jcnn.fields import PositiveReal, Shape, Table

Fan = float | np.ndarray


class Initializer(Table):
    """The base of every initializer."""

    name: str

    def draw(self, key: Array, shape: Shape, fan_in: Fan, fan_out: int) -> Array:
        """Draw float32 weights of ``shape``; ``fan_in`` may be an array, one entry per unit."""
        raise NotImplementedError


def _normal(key: Array, shape: Shape, std: Any) -> Array:
    return jax.random.normal(key, shape, jnp.float32) * _per_unit(std, shape)


def _uniform(key: Array, shape: Shape, bound: Any) -> Array:
    unit = jax.random.uniform(key, shape, jnp.float32, minval=-1.0, maxval=1.0)
    return unit * _per_unit(bound, shape)


def _per_unit(number: Any, shape: Shape) -> Array:
    number = jnp.asarray(number, jnp.float32)
    return lax.broadcast_to_rank(number, len(shape)) if number.ndim else number


class HeNormal(Initializer):
    """Gaussian with variance 2 / fan_in (He et al., 2015): the default, made for ReLU."""

    name: Literal["he_normal"] = "he_normal"

    def draw(self, key: Array, shape: Shape, fan_in: Fan, fan_out: int) -> Array:
        """See :meth:`Initializer.draw`."""
        return _normal(key, shape, np.sqrt(2.0 / fan_in))


class LecunNormal(Initializer):
    """Gaussian with variance 1 / fan_in: keeps the variance through a linear layer."""

    name: Literal["lecun_normal"] = "lecun_normal"

    def draw(self, key: Array, shape: Shape, fan_in: Fan, fan_out: int) -> Array:
        """See :meth:`Initializer.draw`."""
        return _normal(key, shape, np.sqrt(1.0 / fan_in))


class GlorotUniform(Initializer):
    """Uniform with variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""

    name: Literal["glorot_uniform"] = "glorot_uniform"

    def draw(self, key: Array, shape: Shape, fan_in: Fan, fan_out: int) -> Array:
        """See :meth:`Initializer.draw`."""
        return _uniform(key, shape, np.sqrt(6.0 / (fan_in + fan_out)))


class UniformFanIn(Initializer):
    """Uniform between ± gain / fan_in (LeCun et al., 1989, with gain 2.4)."""

    name: Literal["uniform_fan_in"] = "uniform_fan_in"
    gain: PositiveReal = 2.4

    def draw(self, key: Array, shape: Shape, fan_in: Fan, fan_out: int) -> Array:
        """See :meth:`Initializer.draw`."""
        return _uniform(key, shape, self.gain / fan_in)


class UniformRootFanIn(Initializer):
    """Uniform between ± gain / √fan_in: the other reading of LeCun et al., 1989."""

    name: Literal["uniform_root_fan_in"] = "uniform_root_fan_in"
    gain: PositiveReal = 2.4

    def draw(self, key: Array, shape: Shape, fan_in: Fan, fan_out: int) -> Array:
        """See :meth:`Initializer.draw`."""
        return _uniform(key, shape, self.gain / np.sqrt(fan_in))


class Gaussian(Initializer):
    """Gaussian with the standard deviation ``std`` (Krizhevsky et al., 2012, with 0.01)."""

    name: Literal["gaussian"] = "gaussian"
    std: PositiveReal = 0.01

    def draw(self, key: Array, shape: Shape, fan_in: Fan, fan_out: int) -> Array:
        """See :meth:`Initializer.draw`."""
        return _normal(key, shape, self.std)


class Dirac(Initializer):
    """The n-th feature copies the n-th channel, as far as both go; the others are uniform.

    Their bounds are ± 1 / √fan_in. What a network reads passes through it from the first step
    (Zagoruyko and Komodakis, 2017). Of groups, each copies its own channels. Windows must be odd,
    and where there are connections, the n-th feature must read the n-th channel.
    """

    name: Literal["dirac"] = "dirac"

    def draw(self, key: Array, shape: Shape, fan_in: Fan, fan_out: int) -> Array:
        """See :meth:`Initializer.draw`."""
        *window, channels, features = shape
        groups = max(1, prod(window) * features // fan_out)  # an input is read by a group's units
        each = features // groups
        channel = np.tile(np.arange(min(channels, each)), groups)
        feature = channel + np.repeat(np.arange(groups), min(channels, each)) * each
        weights = _uniform(key, shape, np.sqrt(1.0 / fan_in)).at[..., feature].set(0)
        return weights.at[(*(k // 2 for k in window), channel, feature)].set(1)


def _table(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


AnyInitializer = Annotated[
    Annotated[
        HeNormal | LecunNormal | GlorotUniform | UniformFanIn | UniformRootFanIn | Gaussian | Dirac,
        Field(discriminator="name"),
    ],
    BeforeValidator(_table),
]
