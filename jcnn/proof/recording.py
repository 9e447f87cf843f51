"""Which operations a model calls, and on what shapes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import reference


@dataclass(frozen=True)
class Call:
    """One operation on arrays of fixed shapes and dtypes, with fixed options.

    Attributes:
        op: The operation's name in :mod:`jcnn.ops`.
        arrays: Name, shape and dtype of each array argument, in order.
        statics: All other arguments, as pairs.
    """

    op: str
    arrays: tuple[tuple[str, tuple[int, ...], str], ...]
    statics: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        shapes = ", ".join(f"{name} {shape}" for name, shape, _ in self.arrays)
        options = "".join(f", {name}={value!r}" for name, value in self.statics)
        return f"{self.op}({shapes}{options})"

    def function(self, namespace: Any) -> Callable[..., Any]:
        """Return the operation of ``namespace`` as a function of the arrays alone."""
        names = [name for name, _, _ in self.arrays]
        op = getattr(namespace, self.op)
        return lambda *arrays: op(**dict(zip(names, arrays, strict=True)), **dict(self.statics))

    def draw(self, generator: np.random.Generator) -> list[jax.Array]:
        """Draw random arguments: variances positive, labels from the classes, masks of both."""
        return [self._draw(generator, *array) for array in self.arrays]

    def _draw(
        self, generator: np.random.Generator, name: str, shape: tuple[int, ...], dtype: str
    ) -> jax.Array:
        if dtype.startswith("key"):
            return jax.random.key(int(generator.integers(2**31)))
        if dtype == "bool":
            return jnp.asarray(generator.integers(0, 2, shape).astype(bool))
        if jnp.issubdtype(dtype, jnp.integer):
            classes = self.arrays[0][1][dict(self.statics).get("axis", -1)]
            return jnp.asarray(generator.integers(0, classes, shape).astype(dtype))
        if name in ("variance", "target"):
            return jnp.asarray(generator.uniform(0.1, 1.0, shape))
        return jnp.asarray(generator.standard_normal(shape))


class Recorder:
    """Stands in for :mod:`jcnn.ops`: notes each call, then lets the reference compute it."""

    def __init__(self) -> None:
        self.calls: dict[Call, None] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        op = getattr(reference, name)
        signature = inspect.signature(op)

        def record(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs).arguments
            bound |= bound.pop("options", {})
            arrays = {k: a for k, a in bound.items() if isinstance(a, jax.Array)}
            statics = {k: v for k, v in bound.items() if k not in arrays and v is not None}
            self.calls.setdefault(
                Call(
                    name,
                    tuple((k, a.shape, str(a.dtype)) for k, a in arrays.items()),
                    tuple((k, _hashable(v)) for k, v in statics.items()),
                )
            )
            return op(*args, **kwargs)

        return record


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value
