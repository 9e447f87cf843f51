"""Large numbers, NaN, masked classes, what doesn't count: are they right by these ``ops``?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from tests.mutation.checks import all_near, results

LARGE = np.array([[1e4, -1e4, 0.0], [800.0, 790.0, -5.0]])
EXTREMES: dict[str, Callable[[Any], bool]] = {
    "softmax": lambda ops: (
        _finite(ops.softmax)
        and ops.softmax(LARGE[0]).shape == (3,)
        and ops.softmax(LARGE[:, :0]).shape == (2, 0)
    ),
    "global_max_pool": lambda ops: _first_nan_wins(ops.global_max_pool),
    "gelu": lambda ops: _right_in_float32(ops.gelu),
    "softmax_cross_entropy": lambda ops: _finite(
        lambda a: ops.softmax_cross_entropy(a, jnp.array([0, 1]))
    ),
    "binary_cross_entropy": lambda ops: _finite(
        lambda a: ops.binary_cross_entropy(a, jnp.ones((2, 3)))
    ),
}


def _right_in_float32(gelu: Callable[[jax.Array], jax.Array]) -> bool:
    """Whether it is what SciPy says in float32 too, in its tail and at infinities."""
    a = np.array([-np.inf, -20, -13, -12, -9, -5, -2, -0.5, 0, 0.5, 2, 5, 20, np.inf])
    inside = np.clip(a, -40, 40)
    below, density = special.ndtr(a), np.exp(-0.5 * inside**2) / np.sqrt(2 * np.pi)
    value = np.where(a < -40, 0, a) * below
    y, pull = jax.vjp(gelu, jnp.asarray(a, jnp.float32))
    found = [np.asarray(b, float) for b in (y, *pull(jnp.ones_like(y)))]
    return all_near(found, [value, below + inside * density], rtol=1e-5, atol=1e-37)


def _first_nan_wins(largest: Callable[[jax.Array], jax.Array]) -> bool:
    """Whether a channel that holds NaN gives NaN, and its gradient to the first of it."""
    x = np.array([[[1.0, 5.0], [np.nan, 2.0], [9.0, 3.0], [np.nan, 7.0]]])
    y, pull = jax.vjp(largest, jnp.asarray(x))
    (dx,) = pull(jnp.array([[2.0, 3.0]]))
    expected = np.zeros_like(x)
    expected[0, 1, 0], expected[0, 3, 1] = 2.0, 3.0
    first = np.array_equal(y, [[np.nan, 7.0]], equal_nan=True) and (dx == expected).all()
    # Of so many elements XLA's own maximum on a CPU loses NaN.
    large = np.zeros((2, 64, 64, 32), np.float32)
    large[1, 7, 0, 2] = np.nan
    found = np.argwhere(np.isnan(jax.jit(largest)(large))).tolist()
    return bool(first and found == [[1, 2]])


def _finite(f: Callable[[jax.Array], jax.Array]) -> bool:
    """Whether value and gradient are finite, and no slope larger than one."""
    y, pull = jax.vjp(f, jnp.asarray(LARGE))
    (da,) = pull(jnp.ones_like(y))
    return bool(jnp.isfinite(y).all() and (jnp.abs(da) <= 1).all())


def masked_classes(ops: Any) -> bool:
    """Classes of -inf are as if they were not there; a label that is none counts nothing."""
    logits = np.where(np.arange(12).reshape(2, 6) % 3 == 1, -np.inf, LARGE.repeat(2, 1) / 100)
    there = np.flatnonzero(np.isfinite(logits[0])), np.flatnonzero(np.isfinite(logits[1]))
    dl, y = np.array([1.0, -2.0]), np.array([0, 5])

    def run(a: jax.Array, y: jax.Array) -> list[jax.Array]:
        value, pull = jax.vjp(lambda a: ops.softmax_cross_entropy(a, y, label_smoothing=0.3), a)
        return [value, *pull(jnp.asarray(dl))]

    few = np.stack([row[k] for row, k in zip(logits, there, strict=True)])
    few_y = np.array([np.flatnonzero(k == i)[0] for k, i in zip(there, y, strict=True)])
    value, da = results(run, logits, y)
    expected, of_few = results(run, few, few_y)
    whole = np.zeros_like(logits)
    for row, k, part in zip(whole, there, of_few, strict=True):
        row[k] = part
    none = results(run, logits, np.array([-1, 6]))
    right = [expected, whole, np.zeros(2), np.zeros_like(logits)]
    ignored = _ignored(ops, np.full((2, 3), np.nan)), _ignored(ops, np.array([0, 2]))
    found = [value, da, *none, *ignored[0], *ignored[1]]
    nothing = [np.zeros(2), np.zeros((2, 3))] * 2
    return all_near(found, [*right, *nothing], rtol=1e-9, atol=1e-12)


def one_class_or_many(ops: Any) -> bool:
    """One class that isn't masked, and more than eight bits hold."""
    masked, many = np.full((2, 3), -np.inf), np.arange(600.0).reshape(2, 300) / 300
    masked[:, 1] = LARGE[:, 0]
    one, two = np.array([1, 1], np.uint8), np.array([5, 255], np.uint8)
    found, expected = [], []
    for logits, y, smoothing in ((masked, one, 0.3), (many, two, 0.3), (many, two, 0.0)):
        loss = partial(ops.softmax_cross_entropy, label_smoothing=smoothing)
        hot, seen = np.eye(logits.shape[-1])[y], np.isfinite(logits)
        share = special.softmax(logits, axis=-1)
        surprise = np.where(seen, -special.log_softmax(logits, axis=-1), 0)
        target = (1 - smoothing) * hot + smoothing * seen / seen.sum(-1, keepdims=True)
        v = np.arange(logits.size, dtype=float).reshape(logits.shape)
        mixed = np.where(seen, (share * v).sum(-1, keepdims=True) - v, 0)
        value, da = (target * surprise).sum(-1), share - target
        expected += [value, da, value, da, (1 - smoothing) * surprise, (1 - smoothing) * mixed]
        found += _differentiated(lambda a, y=y, loss=loss: loss(a, y), logits)
        found += _differentiated(loss, logits, hot)

        def along(y: jax.Array, a: np.ndarray = logits, loss: Any = loss, v: Any = v) -> jax.Array:
            return jnp.vdot(v, jax.vjp(partial(loss, labels=y), a)[1](jnp.ones(2))[0])

        found.append(np.asarray(jax.grad(along)(hot)))
    return all_near(found, expected, rtol=1e-9, atol=1e-12)


def _differentiated(loss: Callable[..., jax.Array], *arrays: np.ndarray) -> list[np.ndarray]:
    """Values and gradients of each example's loss."""
    value, pull = jax.vjp(loss, *map(jnp.asarray, arrays))
    return [np.asarray(a) for a in (value, *pull(jnp.ones_like(value)))]


def _ignored(ops: Any, labels: np.ndarray) -> list[np.ndarray]:
    """Loss and gradient of examples that don't count."""
    where = np.array([False, False])
    loss = partial(ops.softmax_cross_entropy, labels=labels, where=where)
    return _differentiated(loss, LARGE)
