"""What :mod:`jcnn.lax`, :mod:`jcnn.flax` and :mod:`jcnn.equinox` share.

Refusals by name, the arrays of a convolution, and pools over any batch axes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
from jax import lax

from jcnn.ops.arguments import floating


def refuse(where: str, why: str, **options: tuple[Any, Any]) -> None:
    """Refuse options that are not what is taken.

    Args:
        where: The function or layer.
        why: What to do instead.
        **options: The option's value, and the value that is taken, by name.

    Raises:
        ValueError: An option has another value.
    """
    for name, (value, taken) in options.items():
        if value is not taken and value != taken:
            raise ValueError(f"{where}: {name} must be {taken!r}, found {value!r}; {why}")


def no_counterpart(module: str, name: str, framework: Any, called: str) -> NoReturn:
    """Answer for a name that a module of layers lacks: from its ``__getattr__``.

    Raises:
        ImportError: The framework has such a layer.
        AttributeError: Nobody has.
    """
    if name.startswith("_") or not hasattr(framework, name):
        raise AttributeError(f"module '{module}' has no attribute '{name}'")
    raise ImportError(
        f"{module} has no {name}: expected one of {', '.join(sys.modules[module].__all__)}; "
        f"take {called}.{name}, which swap leaves in its place",
        name=module,
    )


def no_model(expected: str, found: Any) -> TypeError:
    """Say that what was to be swapped holds no layer of the library, as a class does not."""
    kind = type(found).__name__
    if isinstance(found, type):
        kind = f"the class {found.__name__}; make one of it first"
    return TypeError(f"expected {expected}, found {kind}")


def check_precision(where: str, precision: Any) -> None:
    """Refuse a precision of one call: its gradients are traced later, without it."""
    both = precision if isinstance(precision, list | tuple) else (precision,)
    if any(one not in (None, lax.Precision.DEFAULT, "default") for one in both):
        raise ValueError(
            f"{where}: precision must be None, found {precision!r}; set it for the program, "
            "with jax.default_matmul_precision"
        )


def image_and_kernel(
    where: str, lhs: jax.Array, rhs: jax.Array, precision: Any, preferred_element_type: Any
) -> list[jax.Array]:
    """Return what is to be convolved: of one dtype, that of the result, and of one rank.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Ranks differ or leave no spatial axis, or an option is not taken.
    """
    check_precision(where, precision)
    lhs, rhs = floating(where, lhs=lhs, rhs=rhs)
    if preferred_element_type not in (None, lhs.dtype):
        refuse(where, "cast before", preferred_element_type=(preferred_element_type, lhs.dtype))
    if lhs.ndim != rhs.ndim:
        raise ValueError(
            f"{where}: lhs and rhs must have as many axes, found shapes {lhs.shape} and {rhs.shape}"
        )
    if lhs.ndim < 3:
        raise ValueError(f"{where}: expected images with a spatial axis, found shape {lhs.shape}")
    return [lhs, rhs]


def pool(
    operation: Callable[..., jax.Array],
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int] | None,
    padding: str | Sequence[tuple[int, int]],
    **options: Any,
) -> jax.Array:
    """Pool ``x`` (*batch, *size, C) with any number of batch axes, none among them.

    Args:
        operation: A pool of :mod:`jcnn.ops`.
        x: Input, floating point.
        window: One entry per spatial axis, which tells how many there are.
        strides: Step between windows; 1 if None, as Flax has it.
        padding: A name or pairs.
        **options: The operation's others.

    >>> import jax.numpy as jnp
    >>> from jcnn import ops
    >>> pool(ops.max_pool, jnp.ones((5, 5, 3)), (2, 2), None, "VALID").shape
    (4, 4, 3)
    """
    rank = len(window)
    batch = x.shape[: x.ndim - rank - 1]
    strides = (1,) * rank if strides is None else tuple(strides)
    flat = x.reshape(-1, *x.shape[len(batch) :]) if len(batch) != 1 else x
    y = operation(flat, tuple(window), strides=strides, padding=padding, **options)
    return y.reshape(*batch, *y.shape[1:])
