"""Five rules, each broken in one way. For broken_rules.ipynb: guess first, read afterwards."""

import jax
import jax.numpy as jnp

from jcnn import ops, reference

REFERENCE = reference.convolve
WAYS = ("scaled", "flipped", "tap missing", "held constant", "one bit")


def _broken(change):
    """Convolution whose rule is changed: ``change(x, w, dy, dx, dw)`` returns what it answers."""

    @jax.custom_vjp
    def convolve(x, w):
        return ops.convolve(x, w)

    def forward(x, w):
        return convolve(x, w), (x, w)

    def backward(kept, dy):
        return change(*kept, dy, *jax.vjp(ops.convolve, *kept)[1](dy))

    convolve.defvjp(forward, backward)
    return convolve


def _flipped(x, w, dy, dx, dw):
    return jax.vjp(ops.convolve, x, w[::-1])[1](dy)[0], dw


def _tap_missing(x, w, dy, dx, dw):
    return dx, dw.at[-1].set(0)


def _held_constant(x, w, dy, dx, dw):
    return jax.vjp(ops.convolve, x, jax.lax.stop_gradient(w))[1](dy)[0], dw


def _one_bit(x, w, dy, dx, dw):
    return dx, dw * jnp.asarray(1 + jnp.finfo(dw.dtype).eps, dw.dtype)


_ORDER = (3, 0, 4, 2, 1)
_CHANGES = (
    lambda x, w, dy, dx, dw: (1.002 * dx, dw),
    _flipped,
    _tap_missing,
    _held_constant,
    _one_bit,
)
rules = {"ABCDE"[i]: _broken(_CHANGES[way]) for i, way in enumerate(_ORDER)}


def judge(guesses):
    """How many of the guesses, by letter, are right."""
    return sum(guesses.get("ABCDE"[i]) == WAYS[way] for i, way in enumerate(_ORDER))
