r"""The fully connected layer: :math:`a = z \cdot W + b` [T]."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jcnn import lowering
from jcnn.axes import known
from jcnn.ops.arguments import naming, weighted
from jcnn.ops.bias import add_bias, check_bias
from jcnn.ops.mesh import axis, on_mesh
from jcnn.ops.rule import Wanted, arguments, rule
from jcnn.ops.vmapped import Call, Which

# jaxlib 0.10's CPU backend reduces a product of 3, 6 or 7 terms wrong where it fuses the two and
# the product has more columns than this: the gradient of a bias per position below three classes.
MISCOUNTED_ABOVE = 2**14


def dense(x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None) -> jax.Array:
    r"""Multiply each row of ``x`` by ``w`` and add a bias.

    .. math:: a_j = \sum_i z_i W_{ij} + b_j

    Args:
        x: Input :math:`z`, (..., C), floating point; at least two axes.
        w: Weights, (C, D), of the same dtype.
        b: Bias, (D,), or None.

    Returns:
        (..., D), of the same dtype.

    Raises:
        TypeError: An array is not floating point, or dtypes differ.
        ValueError: Shapes don't fit.

    Gradient:
        :math:`\partial L/\partial z = \delta W^T`, :math:`\partial L/\partial W = z^T \delta`,
        :math:`\partial L/\partial b = \sum \delta` [L "Similarities between convolutional and
        fully-connected back-prop"]. Kept between the passes: ``x`` and ``w``.

    >>> import jax.numpy as jnp
    >>> dense(jnp.ones((1, 2)), jnp.array([[1.0], [2.0]]), jnp.array([0.5]))
    Array([[3.5]], dtype=float32)
    """
    x, w, *rest = weighted("dense", x, w, b)
    b = rest[0] if rest else None
    if x.ndim < 2 or w.ndim != 2 or x.shape[-1] != w.shape[0]:
        raise ValueError(
            f"dense: x (..., C) and w (C, D) must share C, found {x.shape} and {w.shape}"
        )
    with naming("dense"):
        check_bias(b, w.shape[-1:])
    spec = (*(axis(x, i) for i in range(x.ndim - 1)), axis(w, 1))
    return add_bias(on_mesh(_multiply, x, w, spec=spec), b)


@rule(keeps=arguments, asks=True)
def _multiply(x: jax.Array, w: jax.Array) -> jax.Array:
    y = x @ w
    if _miscounted(*w.shape):
        # To its own precision, which changes nothing: the product is then fused with no reduction.
        kind = jnp.finfo(y.dtype)
        y = lax.reduce_precision(y, kind.nexp, kind.nmant)
    return y


def _miscounted(terms: int, columns: int) -> bool:
    """Whether a product may be one of those; an export may leave its sizes open."""
    few = not known(terms) or terms < 8
    return few and (not known(columns) or columns > MISCOUNTED_ABOVE)


def _in_front(
    call: Call,
    count: int,
    mapped: Which,
    statics: tuple[()],
    x: jax.Array,
    w: jax.Array,
) -> jax.Array | None:
    """Examples of ``vmap`` are one more leading axis of x, where they share w."""
    return call(statics, x, w) if mapped == (True, False) else None


_multiply.folding(_in_front)


@_multiply.pullback
def _(x: jax.Array, w: jax.Array, dy: jax.Array, wanted: Wanted) -> tuple[jax.Array, jax.Array]:
    rows = math.prod(x.shape[:-1])
    dx = _multiply(dy, w.T)
    if wanted.gradients[0]:
        x = lowering.on_cpu_after(dx, x, w)  # so that w may be updated in place
    dw = _multiply(x.reshape(rows, x.shape[-1]).T, dy.reshape(rows, dy.shape[-1]))
    return dx, dw
