"""What ``check_rule`` is given: refused where comparing it would show nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp


def double(number: int, a: Any) -> jax.Array:
    """Return an argument as an array, in float64 if it is of floating dtype."""
    try:
        a = jnp.asarray(a)
    except (TypeError, ValueError):
        raise TypeError(
            f"check_rule: argument {number} must be an array, found a {type(a).__name__}; let the "
            "function take a tree's arrays one by one"
        ) from None
    return a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a


def labelled(names: Sequence[str] | None, places: list[int], count: int) -> list[str]:
    """Return what the arguments at ``places`` are called."""
    if names is None:
        return [f"argument {i}" for i in places]
    if isinstance(names, str) or len(names) != count:
        raise ValueError(
            f"check_rule: names must be a list of {count}, one per argument, found {names!r}"
        )
    return [names[i] for i in places]


def count_of_outputs(
    function: Callable[..., Any], reference: Callable[..., Any], whole: list[jax.Array]
) -> tuple[int]:
    """How many numbers both give, in arrays of the same shapes, whatever tree these are in."""
    found, expected = (_shapes(f, whole) for f in (function, reference))
    if found != expected:
        raise ValueError(
            f"check_rule: expected outputs of the reference's shapes {expected}, found {found}"
        )
    return (sum(map(prod, expected)),)


def _shapes(function: Callable[..., Any], whole: list[jax.Array]) -> list[tuple[int, ...]]:
    def leaves(*args: jax.Array) -> list[Any]:
        found = jax.tree.leaves(function(*args))
        for a in found:
            if not hasattr(a, "dtype"):
                raise TypeError(
                    f"check_rule: expected functions that return arrays, found a {type(a).__name__}"
                )
        return found

    arrays = jax.eval_shape(leaves, *whole)
    if not arrays:
        raise TypeError("check_rule: expected functions that return arrays, found no array")
    for a in arrays:
        if not any(jnp.issubdtype(a.dtype, kind) for kind in (jnp.floating, jnp.integer, bool)):
            raise TypeError(f"check_rule: expected outputs of real numbers, found {a.dtype}")
    return [a.shape for a in arrays]


def note_dtypes(
    function: Callable[..., Any], args: list[jax.Array], places: list[int], labels: list[str]
) -> tuple[str, ...]:
    """Refuse a gradient of another dtype than its argument's, which JAX hands on as it is.

    Returns what is to be noted: that arguments of several dtypes are refused by the function.
    """
    free = [args[i] for i in places]
    if len({a.dtype for a in free}) > 1 and not _takes(function, args):
        mix = ", ".join(f"{label}: {a.dtype}" for label, a in zip(labels, free, strict=True))
        return (f"the dtypes of gradients were not looked at: the function refuses {mix}",)

    def total(*free: jax.Array) -> jax.Array:
        whole = dict(enumerate(args)) | dict(zip(places, free, strict=True))
        leaves = jax.tree.leaves(function(*whole.values()))
        return sum((a.astype(jnp.float32).sum() for a in leaves), start=jnp.zeros((), jnp.float32))

    gradients = jax.eval_shape(jax.grad(total, argnums=tuple(range(len(free)))), *free)
    for label, a, gradient in zip(labels, free, gradients, strict=True):
        if gradient.dtype != a.dtype and not jax.typeof(a).weak_type:
            raise TypeError(
                f"check_rule: the gradient of {label} must be {a.dtype} as it is, "
                f"found {gradient.dtype}"
            )
    return ()


def _takes(function: Callable[..., Any], args: list[jax.Array]) -> bool:
    try:
        jax.eval_shape(function, *args)
    except (TypeError, ValueError):
        return False
    return True
