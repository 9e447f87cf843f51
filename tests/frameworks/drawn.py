"""Options drawn for a framework's layer and jcnn's, and the comparison of the two."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import metadata
from inspect import signature
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# every example compiles a program of its own, so that many are slow
HOW_MANY = pytest.mark.parametrize(
    "examples", [2, pytest.param(6, marks=(pytest.mark.slow, pytest.mark.thorough))]
)

# The newest versions whose arguments were looked at; later ones may have more.
LOOKED_AT = {"jax": (0, 12, 0), "flax": (0, 12, 12), "equinox": (0, 13, 8)}


def one_of(generator: np.random.Generator, *values: Any) -> Any:
    """Return one of the values, which may be of any type."""
    return values[int(generator.integers(len(values)))]


def per_axis(generator: np.random.Generator, rank: int, low: int, high: int) -> Any:
    """One integer, or one for each axis."""
    drawn = [int(n) for n in generator.integers(low, high + 1, rank)]
    return one_of(generator, drawn[0], tuple(drawn))


def pairs(generator: np.random.Generator, rank: int, low: int, high: int) -> tuple:
    return tuple((int(a), int(b)) for a, b in generator.integers(low, high + 1, (rank, 2)))


def floats(generator: np.random.Generator, *shape: int) -> np.ndarray:
    return generator.standard_normal(shape).astype(np.float32)


def agree(
    theirs: Callable[..., jax.Array],
    ours: Callable[..., jax.Array],
    *arrays: Any,
    tolerance: float = 2e-5,
) -> None:
    """Compare value and gradients of two functions of the same trees of arrays."""

    def values(function: Callable[..., jax.Array], *arrays: Any) -> tuple[jax.Array, Any]:
        def loss(*arrays: Any) -> tuple[jax.Array, jax.Array]:
            y = function(*arrays)
            weights = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
            return jnp.sum(y.astype(jnp.float32) * weights), y

        every = tuple(range(len(arrays)))
        (_, y), gradients = jax.value_and_grad(loss, argnums=every, has_aux=True)(*arrays)
        return y, gradients

    both = jax.jit(lambda *arrays: (values(theirs, *arrays), values(ours, *arrays)))(*arrays)
    expected, found = map(jax.tree.leaves, both)
    assert len(expected) == len(found)
    for a, b in zip(found, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def refuses(names: Sequence[str], make: Callable[..., Any]) -> None:
    """Assert that each option is refused by its name."""
    for name in names:
        with pytest.raises(ValueError, match=name):
            make(name)


def same_arguments(library: str, theirs: Callable[..., Any], ours: Callable[..., Any]) -> None:
    """Assert that two functions take the same arguments, of the same defaults."""
    expected, found = (
        [(a.name, a.kind, a.default) for a in signature(function).parameters.values()]
        for function in (theirs, ours)
    )
    version = tuple(map(int, re.findall(r"\d+", metadata.version(library))[:3]))
    if version > LOOKED_AT[library]:
        expected = [argument for argument in expected if argument in found]
    assert found == expected
