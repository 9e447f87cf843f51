"""From what a caller may write to checked arrays, and messages that begin with the operation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.errors import JAXTypeError
from jax.typing import ArrayLike

from jcnn.axes import wrong_kind
from jcnn.precision import dtype_within


@contextmanager
def naming(op: str) -> Iterator[None]:
    """Put the operation's name in front of what is said within."""
    try:
        yield
    except JAXTypeError:  # which is made of more than a sentence
        raise
    except (TypeError, ValueError) as error:
        raise type(error)(f"{op}: {error}") from None


def floating(op: str, **arrays: ArrayLike) -> list[jax.Array]:
    """Convert to JAX arrays of one floating dtype that vary together.

    As everywhere in JAX, Python's numbers take the dtype of what they meet.
    """
    converted = _floating(op, **arrays)
    strong = {a.dtype for a in converted.values() if not jax.typeof(a).weak_type}
    if len(strong) == 1:
        (dtype,) = strong
        converted = {name: a.astype(dtype) for name, a in converted.items()}
    if len({a.dtype for a in converted.values()}) > 1:
        found = ", ".join(f"{name}: {a.dtype}" for name, a in converted.items())
        raise TypeError(f"{op}: all arrays must share one dtype, found {found}")
    return varying_together(*converted.values())


def weighted(op: str, x: ArrayLike, w: ArrayLike, b: ArrayLike | None) -> list[jax.Array]:
    """As :func:`floating`, with the bias where there is one."""
    bias = {} if b is None else {"b": b}
    return floating(op, x=x, w=w, **bias)


def with_channels(op: str, x: ArrayLike, **channels: ArrayLike) -> list[jax.Array]:
    """As :func:`floating`; beside an ``x`` of half precision all channels may be float32.

    In half precision they are handed on in float32, in which is computed.
    """
    named = _floating(op, x=x, **channels)
    wide = dtype_within(named["x"])
    if not all(named[name].dtype == wide for name in channels):
        named = dict(zip(named, floating(op, **named), strict=True))
    first, *rest = named.values()
    return varying_together(first, *(a.astype(wide) for a in rest))


def _floating(op: str, **arrays: ArrayLike) -> dict[str, jax.Array]:
    converted = {name: _array(op, name, a) for name, a in arrays.items()}
    for name, a in converted.items():
        if not jnp.issubdtype(a.dtype, jnp.floating):
            raise TypeError(f"{op}: {name} must be floating point, found {a.dtype}")
    return converted


def _array(op: str, name: str, a: Any) -> jax.Array:
    try:
        if a is None or isinstance(a, str | bytes):
            raise TypeError
        return jnp.asarray(a)
    except JAXTypeError:
        raise
    except (TypeError, ValueError, OverflowError):
        raise no_array(f"{op}: {name}", a) from None


def no_array(name: str, a: Any) -> TypeError:
    """What to raise for what JAX makes no array of."""
    found = None if a is None else f"a {type(a).__name__}"
    if (dtype := getattr(a, "dtype", None)) is not None:
        found = f"one of dtype {dtype}"
    return TypeError(f"{name} must be an array, found {found}")


def random_key(op: str, key: Any) -> jax.Array:
    """Return one random key, of the new kind or the old, numbers of which JAX makes one."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if shape is None or not (new or (dtype == jnp.uint32 and shape)):
        found = f"{dtype}{list(shape)}" if shape is not None else repr(key)
        raise TypeError(f"{op}: key must be a random key, as jax.random.key makes, found {found}")
    if many := tuple(shape if new else shape[:-1]):
        raise ValueError(
            f"{op}: key must be one random key, found an array of shape {many} of them; "
            "jax.vmap maps over many"
        )
    return jnp.asarray(key)


def number(op: str, name: str, value: object) -> float:
    """Return an option as a Python float; one that JAX traces has none."""
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        return float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise wrong_kind(f"{op}: {name}", "a number", value) from None


def mesh_axes(option: str, *names: object) -> None:
    """Refuse what is no axis that devices are told apart by here."""
    for name in names:
        try:
            lax.axis_size(name)  # pyright: ignore[reportArgumentType]
        except (NameError, KeyError, TypeError):
            raise ValueError(
                f"{option} must be one of the mesh that jax.shard_map is over, found {name!r}"
            ) from None


def varying_together(*arrays: jax.Array) -> list[jax.Array]:
    """Let every array vary over the mesh axes that one of them varies over.

    Inside ``jax.shard_map`` a sharded image meets a replicated kernel, whose gradient is then the
    sum over the devices. JAX's own operations cast their arguments so, and sum in the cast's
    transpose; a ``custom_vjp`` has to be given arguments that are cast. Elsewhere nothing changes.
    """
    varying = [jax.typeof(a).manual_axis_type.varying for a in arrays]
    union = frozenset().union(*varying)
    return [
        lax.pcast(a, tuple(union - axes), to="varying")
        for a, axes in zip(arrays, varying, strict=True)
    ]


def spatial_size(x: jax.Array) -> tuple[int, ...]:
    """Return the spatial axes' lengths of ``x`` (N, *size, C)."""
    if x.ndim < 3:
        raise ValueError(
            "x must have a batch axis, at least one spatial axis and a channel axis "
            f"(N, *size, C), found shape {x.shape}"
        )
    return x.shape[1:-1]


def positions(x: jax.Array) -> tuple[int, ...]:
    """Return the spatial axes' lengths, none of them zero: what is taken over all of them."""
    size = spatial_size(x)
    if 0 in size:
        raise ValueError(f"x must have an element along each spatial axis, found shape {x.shape}")
    return size
