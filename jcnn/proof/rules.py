"""Is a ``custom_vjp`` rule right? In float64, against ``jax.grad``, differences, second order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jcnn.axes import integer
from jcnn.proof.comparison import Report, Row, Tolerance, compare
from jcnn.proof.differences import central_differences, sample
from jcnn.proof.multilinear import exact_rows

GRADIENT = Tolerance(rtol=1e-10, atol=1e-12)
DIFFERENCES = Tolerance(rtol=1e-3, atol=1e-5)


def check_rule(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    *args: Any,
    names: Sequence[str] | None = None,
    seed: int = 0,
    samples: int = 1000,
    second_order: bool = True,
    differences: bool = True,
    exact: bool = False,
) -> Report:
    r"""Hold a function with a gradient rule of its own against a reference without one.

    Everything runs in float64, whatever the dtype of ``args``; that gradients are of that dtype too
    is looked at before. For a random cotangent :math:`\delta` and direction :math:`v` four things
    are compared, element by element:

    - the value, by itself and as the rule's forward half gives it ("output under jax.grad"), and
      each gradient :math:`\nabla \langle \delta, f \rangle`, with the reference's through
      ``jax.grad``: rtol 1e-10, atol 1e-12;
    - each gradient with central differences of ``function`` itself, step 1e-6: rtol 1e-3,
      atol 1e-5;
    - :math:`\nabla \langle \nabla \langle \delta, f \rangle, v \rangle`, reverse over reverse, with
      respect to the arguments and to :math:`\delta` ("cotangent" in the report), with the
      reference's: rtol 1e-10, atol 1e-12.

    No tolerance grows with the size of an array. A kink or a tie within a step of ``args`` makes
    differences meaningless; random arguments avoid them.

    Args:
        function: Takes ``args``, returns an array or a tree of arrays; under test.
        reference: The same function in plain JAX.
        *args: Arrays. Those of floating dtype are differentiated; others (labels, keys) pass.
        names: A name for each argument, for the report.
        seed: For the cotangent, the direction and the sample.
        samples: How many elements of a tensor to difference, spread evenly, where it has more.
        second_order: Whether to compare reverse over reverse.
        differences: Whether to compare with finite differences.
        exact: For a rule that is linear in each argument: whether to compare value and gradients on
            whole numbers too, with ``==``, ``function`` compiled in the dtype of ``args``.

    Returns:
        A :class:`Report`, true if all agree. In a test: ``assert check_rule(f, g, x), ...`` or,
        to see the table on failure, ``report = check_rule(...); assert report, str(report)``.

    Raises:
        TypeError: An argument or an output is not an array, a gradient is not of its argument's
            dtype, or ``exact`` has no use for that.
        ValueError: No argument can be differentiated, the two give arrays of other shapes, there
            isn't a name for each argument, or ``samples`` or ``seed`` is too small.
        NotLinearError: ``exact``, and the reference is not linear in each argument.
        TooLargeError: ``exact``, and sums over arrays of these shapes leave the exact range.

    >>> @jax.custom_vjp
    ... def cube(x):
    ...     return x**3
    >>> cube.defvjp(lambda x: (cube(x), x), lambda x, dy: (2.0 * x * x * dy,))  # wrong: 3 x^2
    >>> report = check_rule(cube, lambda x: x**3, np.array([1.0, 2.0]), second_order=False)
    >>> [(row.tensor, row.against, row.passed) for row in report.rows]
    [('output', 'value', True), ('output under jax.grad', 'value', True),
     ('argument 0', 'jax.grad', False), ('argument 0', 'differences', False)]
    """
    samples = integer("check_rule: samples", samples, 1)
    seed = integer("check_rule: seed", seed, 0)
    x64 = jax.config.read("jax_enable_x64")
    with jax.enable_x64(True):
        generator = np.random.default_rng(seed)
        whole = [_double(i, a) for i, a in enumerate(args)]
        places = [i for i, a in enumerate(whole) if jnp.issubdtype(a.dtype, jnp.floating)]
        labels = _labels(names, places, len(args))
        free = tuple(whole[i] for i in places)
        if not free:
            raise ValueError("check_rule: expected an argument of floating dtype, found none")
        shape = _count_of_outputs(function, reference, whole)
        with jax.enable_x64(x64):
            _check_dtypes(function, [jnp.asarray(a) for a in args], places, labels)
        outputs = [_flat(f, whole, places) for f in (function, reference)]
        cotangent = jnp.asarray(generator.standard_normal(shape))
        v = [jnp.asarray(generator.standard_normal(a.shape)) for a in free]
        found, expected = (
            jax.jit(_derivatives(output, v, second_order))(cotangent, *free) for output in outputs
        )
        rows = [compare("output", "value", found[0], expected[0], GRADIENT)]
        rows += [compare("output under jax.grad", "value", found[1], expected[0], GRADIENT)]
        tensors = {"jax.grad": labels, "second order": [*labels, "cotangent"]}
        for (against, of), a, b in zip(tensors.items(), found[2:], expected[2:], strict=False):
            pairs = zip(of, a, b, strict=True)
            rows += [compare(label, against, x, y, GRADIENT) for label, x, y in pairs]
        if differences:
            scalar = _scalar(outputs[0], cotangent)
            rows += difference_rows(labels, scalar, free, found[2], samples, generator)
        if exact:
            given = [jnp.asarray(args[i]) for i in places]
            own, right = (_flat(f, whole, places) for f in (function, reference))
            rows += exact_rows(own, right, given, labels, seed=seed)
        return Report(tuple(rows))


Scalar = Callable[..., jax.Array]


def _double(number: int, a: Any) -> jax.Array:
    try:
        a = jnp.asarray(a)
    except (TypeError, ValueError):
        raise TypeError(
            f"check_rule: argument {number} must be an array, found a {type(a).__name__}; let the "
            "function take a tree's arrays one by one"
        ) from None
    return a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a


def _labels(names: Sequence[str] | None, places: list[int], count: int) -> list[str]:
    if names is None:
        return [f"argument {i}" for i in places]
    if isinstance(names, str) or len(names) != count:
        raise ValueError(
            f"check_rule: names must be a list of {count}, one per argument, found {names!r}"
        )
    return [names[i] for i in places]


def _count_of_outputs(
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
    arrays = jax.tree.leaves(jax.eval_shape(function, *whole))
    if not arrays:
        raise TypeError("check_rule: expected functions that return arrays, found no array")
    for a in arrays:
        if not any(jnp.issubdtype(a.dtype, kind) for kind in (jnp.floating, jnp.integer, bool)):
            raise TypeError(f"check_rule: expected outputs of real numbers, found {a.dtype}")
    return [a.shape for a in arrays]


def _check_dtypes(
    function: Callable[..., Any], args: list[jax.Array], places: list[int], labels: list[str]
) -> None:
    """Refuse a gradient of another dtype than its argument's, which JAX hands on as it is."""
    free = [args[i] for i in places]
    if len({a.dtype for a in free}) > 1:
        return  # of which a function that is checked in float64 need not take several

    def total(*free: jax.Array) -> jax.Array:
        whole = dict(enumerate(args)) | dict(zip(places, free, strict=True))
        leaves = jax.tree.leaves(function(*whole.values()))
        return sum((a.astype(jnp.float32).sum() for a in leaves), start=jnp.zeros((), jnp.float32))

    gradients = jax.eval_shape(jax.grad(total, argnums=tuple(range(len(free)))), *free)
    for label, a, gradient in zip(labels, free, gradients, strict=True):
        if gradient.dtype != a.dtype:
            raise TypeError(
                f"check_rule: the gradient of {label} must be {a.dtype} as it is, "
                f"found {gradient.dtype}"
            )


def _flat(function: Callable[..., Any], whole: list[jax.Array], places: list[int]) -> Scalar:
    """Close over the arguments that are not differentiated, and ravel the output."""

    def output(*free: jax.Array) -> jax.Array:
        filled = list(whole)
        for place, a in zip(places, free, strict=True):
            filled[place] = a
        leaves = jax.tree.leaves(function(*filled))
        return jnp.concatenate([leaf.astype(jnp.float64).ravel() for leaf in leaves])

    return output


def _scalar(output: Scalar, cotangent: jax.Array) -> Scalar:
    return lambda *free: jnp.vdot(cotangent, output(*free))


def _derivatives(
    output: Scalar, v: list[jax.Array], second_order: bool
) -> Callable[..., tuple[Any, ...]]:
    """Return value, gradients and Hessian-vector products (reverse over reverse) in one program.

    The value twice: by itself, and as the forward half of a rule gives it under differentiation.
    The products are taken with respect to the cotangent too: of a bilinear rule, a part shows
    only there.
    """
    arguments = tuple(range(1, len(v) + 1))

    def scalar(cotangent: jax.Array, *free: jax.Array) -> jax.Array:
        return jnp.vdot(cotangent, output(*free))

    gradients = jax.grad(scalar, argnums=arguments)

    def along_v(cotangent: jax.Array, *free: jax.Array) -> jax.Array:
        products = (jnp.vdot(g, d) for g, d in zip(gradients(cotangent, *free), v, strict=True))
        return sum(products, start=jnp.zeros(()))

    def derivatives(cotangent: jax.Array, *free: jax.Array) -> tuple[Any, ...]:
        under, pull = jax.vjp(output, *free)
        first = output(*free), under, pull(cotangent)
        if not second_order:
            return first
        return *first, jax.grad(along_v, argnums=(*arguments, 0))(cotangent, *free)

    return derivatives


def difference_rows(
    labels: Sequence[str],
    scalar: Scalar,
    free: Sequence[jax.Array],
    gradients: Sequence[jax.Array],
    samples: int,
    generator: np.random.Generator,
) -> list[Row]:
    """Compare each gradient of ``scalar`` with central differences at sampled places."""
    chosen = [sample(a.size, samples, generator) for a in free]
    starts = np.cumsum([0, *(a.size for a in free)])
    flat, unflatten = ravel_pytree(tuple(free))
    places = np.concatenate([c + s for c, s in zip(chosen, starts[:-1], strict=True)])
    expected = central_differences(lambda a: scalar(*unflatten(a)), flat, places)
    parts = np.split(expected, np.cumsum([len(c) for c in chosen])[:-1])
    return [
        compare(
            label,
            "differences",
            np.asarray(gradient).ravel()[at],
            part,
            DIFFERENCES,
            places=[tuple(map(int, np.unravel_index(i, gradient.shape))) for i in at],
            shape=gradient.shape,
        )
        for label, gradient, at, part in zip(labels, gradients, chosen, parts, strict=True)
    ]
