r"""Cross entropy of classes [L "Error Metrics Summarized"], from logits.

With the softmax inside, the gradient is the plain difference of prediction and target, and nothing
overflows.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.errors import JAXTypeError
from jax.typing import ArrayLike

from jcnn.axes import integer
from jcnn.ops import mesh
from jcnn.ops.arguments import floating, naming, no_array, number, varying_together
from jcnn.ops.rule import arguments, rule
from jcnn.precision import in_float32


def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    where: ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> jax.Array:
    r"""Cross entropy of a softmax output, from its logits.

    .. math:: l = -\sum_k p_k \ln \mathrm{softmax}(a)_k \qquad p = (1 - \epsilon) y + \epsilon / K

    A class whose logit is :math:`-\infty` is masked: all is as if it were not there. It isn't among
    the :math:`K` that smoothing spreads over; where it is the label, the loss is infinite;
    where all classes are, it is NaN.

    Args:
        logits: :math:`a`, (..., K), floating point, at least one class.
        labels: Classes as integers of any kind from 0 to K − 1, (...), or distributions :math:`y`,
            (..., K), of the logits' dtype.
        axis: The axis of the classes, in logits and distributions.
        where: Which examples count, (...), boolean; all if None. The others' loss and gradient are
            zero, whatever their logits and labels.
        label_smoothing: :math:`\epsilon`, from 0 to 1.

    Returns:
        (...), of the logits' dtype. Finite where the differences of an example's logits are.

    Raises:
        TypeError: ``logits`` is not floating point, the labels' dtype is neither an integer type
            nor the logits', ``where`` is not boolean, or ``label_smoothing`` is traced.
        ValueError: Shapes don't fit, ``label_smoothing`` is outside [0, 1], or a label that counts
            is no class. Labels that are traced, as under ``jit``, can't be looked at: one that is
            no class is then left out as by ``where``.

    Gradient:
        :math:`\partial l/\partial a = \mathrm{softmax}(a) \sum_k p_k - p`; for distributions
        :math:`\partial l/\partial y = -(1 - \epsilon) \ln \mathrm{softmax}(a)`, 0 at a masked
        class. Kept between the passes: both arguments.

    >>> softmax_cross_entropy(jnp.array([[0.0, 0.0], [1e4, 0.0]]), jnp.array([0, 0]))
    Array([0.6931472, 0.       ], dtype=float32)
    >>> masked = jnp.array([[0.0, 0.0, -jnp.inf]])
    >>> softmax_cross_entropy(masked, jnp.array([0]), label_smoothing=0.1)
    Array([0.6931472], dtype=float32)
    """
    op = "softmax_cross_entropy"
    (logits,) = floating(op, logits=logits)
    smoothing = number(op, "label_smoothing", label_smoothing)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing must be in [0, 1], found {smoothing}")
    with naming(op):
        labels = _array("labels", labels)
        where = None if where is None else _array("where", where)
        integers = _are_integers(labels)
    if not integers:
        logits, labels = floating(op, logits=logits, labels=labels)
    with naming(op):
        axis = _class_axis(logits, axis)
        _check_shapes(logits, labels, where, axis)
        _check_classes(logits.shape[axis], labels, where)
    if where is None:
        labels = jnp.asarray(labels)
        return _softmax_cross_entropy(axis, smoothing, *varying_together(logits, labels))
    logits, labels, where = varying_together(logits, *map(jnp.asarray, (labels, where)))
    here = jnp.expand_dims(where, axis)
    logits = jnp.where(here, logits, 0)
    labels = jnp.where(here, labels, 0) if labels.ndim == logits.ndim else labels
    return jnp.where(where, _softmax_cross_entropy(axis, smoothing, logits, labels), 0)


@rule(keeps=arguments, statics=2)
@in_float32
def _softmax_cross_entropy(
    axis: int, smoothing: float, logits: jax.Array, labels: jax.Array
) -> jax.Array:
    if labels.ndim < logits.ndim:
        return _loss_of_classes(axis, smoothing, logits, labels)
    target = _target(axis, smoothing, logits, labels)
    return (target * _surprise(axis, logits, target)).sum(axis=axis)


@_softmax_cross_entropy.pullback
@in_float32
def _(
    axis: int, smoothing: float, logits: jax.Array, labels: jax.Array, dl: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    dl = jnp.expand_dims(dl, axis)
    if labels.ndim < logits.ndim:
        known, logits = _counted(axis, logits, labels)
        target, total = _target(axis, smoothing, logits, labels), known.astype(logits.dtype)
        powers, sums = _powers(axis, logits)
        return dl * (powers * (total / sums) - target), None
    target = _target(axis, smoothing, logits, labels)
    total = target.sum(axis=axis, keepdims=True)
    powers, sums = _powers(axis, logits)
    da = dl * (powers * (total / sums) - target)
    return da, dl * (1 - smoothing) * _surprise(axis, logits, target)


def _loss_of_classes(
    axis: int, smoothing: float, logits: jax.Array, labels: jax.Array
) -> jax.Array:
    """The label's surprise is looked up: of all classes XLA would sum products with zeros."""
    known, logits = _counted(axis, logits, labels)
    largest = logits.max(axis=axis, keepdims=True)
    _, sums = _powers(axis, logits)
    place = jnp.where(known, jnp.expand_dims(labels, axis), 0).astype(jnp.int32)
    own = jnp.log(sums) - (_taken(axis, logits, place) - largest)
    loss = own if not smoothing else _smoothed(axis, smoothing, logits, own)
    return jnp.where(known, loss, 0).squeeze(axis)


def _counted(axis: int, logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether a label is a class, and the logits, zeros where it is not: NaN would stay.

    The same in both passes, so that XLA computes what follows once.
    """
    known = _is_class(axis, logits, labels)
    return known, jnp.where(known, logits, 0)


def _taken(axis: int, logits: jax.Array, place: jax.Array) -> jax.Array:
    """The logits at the places, with an axis of one."""
    taken, spec = partial(jnp.take_along_axis, axis=axis), mesh.but_for(axis, logits)
    return mesh.on_mesh(taken, logits, place, spec=spec)


def _smoothed(axis: int, smoothing: float, logits: jax.Array, own: jax.Array) -> jax.Array:
    """(1 − ε) of the label's surprise, ε of the mean over the classes that aren't masked."""
    surprise = jnp.where(logits > -jnp.inf, -_log_softmax(axis, logits), 0)
    even = surprise.sum(axis=axis, keepdims=True) / _count(axis, logits)
    # a masked label's surprise is infinite, and zero times it NaN
    return even if smoothing == 1 else (1 - smoothing) * own + smoothing * even


def _target(axis: int, smoothing: float, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The distribution p; of an integer that is no class, nothing."""
    if distributions := labels.ndim == logits.ndim:
        # a masked class is none, for derivatives of gradients too
        target = jnp.where(_is_absent(logits, labels), 0, labels)
    else:
        target = _one_hot(axis, labels, logits)
    if not smoothing:
        return target
    seen = logits > -jnp.inf
    if not distributions:
        seen &= _is_class(axis, logits, labels)
    even = jnp.where(seen, smoothing / _count(axis, logits), 0)
    return (1 - smoothing) * target + even


def _count(axis: int, logits: jax.Array) -> jax.Array:
    """How many classes aren't masked; one where all are."""
    count = (logits > -jnp.inf).sum(axis=axis, keepdims=True, dtype=logits.dtype)
    return jnp.maximum(count, 1)


def _is_class(axis: int, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Whether a label is one, with an axis of one."""
    labels = jnp.expand_dims(_wide(labels), axis)
    return (labels >= 0) & (labels < logits.shape[axis])


def _one_hot(axis: int, labels: jax.Array, logits: jax.Array) -> jax.Array:
    """1 at the class of each label."""
    shape = [1] * logits.ndim
    shape[axis] = logits.shape[axis]
    wide = _wide(labels)
    classes = lax.broadcasted_iota(wide.dtype, shape, axis)
    return (jnp.expand_dims(wide, axis) == classes).astype(logits.dtype)


def _wide(labels: jax.Array) -> jax.Array:
    """In 32 bits at least, since 300 classes are more than 8 hold."""
    return labels if labels.dtype.itemsize >= 4 else labels.astype(jnp.int32)


def _surprise(axis: int, logits: jax.Array, target: jax.Array) -> jax.Array:
    """−ln softmax, and 0 in place of the infinity of a masked class that isn't the target."""
    return jnp.where(_is_absent(logits, target), 0, -_log_softmax(axis, logits))


def _is_absent(logits: jax.Array, target: jax.Array) -> jax.Array:
    return (logits == -jnp.inf) & (target == 0)


def _log_softmax(axis: int, logits: jax.Array) -> jax.Array:
    _, sums = _powers(axis, logits)
    return logits - logits.max(axis=axis, keepdims=True) - jnp.log(sums)


def _powers(axis: int, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """exp(a − max a), and its sum over the classes."""
    powers = jnp.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers, powers.sum(axis=axis, keepdims=True)


def _class_axis(logits: jax.Array, axis: int) -> int:
    """Return the classes' axis, counted from the first."""
    if not logits.ndim:
        raise ValueError("logits must be (..., K) with K >= 1, found a single number")
    found = integer("axis", axis, -logits.ndim)
    if found >= logits.ndim:
        raise ValueError(f"axis must be one of logits' {logits.ndim} axes, found {axis}")
    if not logits.shape[found]:
        raise ValueError(f"logits must be (..., K) with K >= 1, found {logits.shape}")
    return found % logits.ndim


def _check_shapes(logits: jax.Array, labels: ArrayLike, where: ArrayLike | None, axis: int) -> None:
    examples = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    kind = jnp.result_type(labels)
    expected = examples if jnp.issubdtype(kind, jnp.integer) else logits.shape
    if np.shape(labels) != expected:
        raise ValueError(
            f"labels of dtype {kind} must be {expected} for logits {logits.shape}, "
            f"found {np.shape(labels)}"
        )
    if where is not None and not jnp.issubdtype(jnp.result_type(where), jnp.bool_):
        raise TypeError(f"where must be boolean, found {jnp.result_type(where)}")
    if where is not None and np.shape(where) != examples:
        raise ValueError(f"where must be {examples}, one per example, found {np.shape(where)}")


def _array(name: str, a: ArrayLike) -> ArrayLike:
    """Lists as arrays; anything else as it is, if it is one."""
    try:
        if a is None or isinstance(a, str | bytes):
            raise TypeError
        array = np.asarray(a) if isinstance(a, list | tuple) else a
        jnp.result_type(array)
    except JAXTypeError:
        raise
    except (TypeError, ValueError):
        raise no_array(name, a) from None
    return array


def _are_integers(labels: ArrayLike) -> bool:
    kind = jnp.result_type(labels)
    if not jnp.issubdtype(kind, jnp.integer) and not jnp.issubdtype(kind, jnp.floating):
        raise TypeError(f"labels must be integers, or distributions of logits' dtype, found {kind}")
    return jnp.issubdtype(kind, jnp.integer)


def _check_classes(classes: int, labels: ArrayLike, where: ArrayLike | None) -> None:
    """Refuse a label that counts and is no class, where the values are there to be looked at."""
    if any(isinstance(a, Tracer) for a in (labels, where)):
        return
    if not getattr(labels, "is_fully_addressable", True):
        return
    known = np.asarray(labels)
    if not jnp.issubdtype(known.dtype, jnp.integer):
        return
    wrong = (known < 0) | (known >= classes)
    if where is not None:
        wrong &= np.asarray(where)
    if wrong.any():
        raise ValueError(
            f"labels must be classes from 0 to {classes - 1}, found {known[wrong].flat[0]}; "
            "where= says which examples count"
        )
