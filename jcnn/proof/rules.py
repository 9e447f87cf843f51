"""Is a ``custom_vjp`` rule right? In float64, against ``jax.grad``, differences, second order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

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

    Everything runs in float64, whatever the dtype of ``args``. For a random cotangent
    :math:`\delta` and direction :math:`v` four things are compared, element by element:

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
        TypeError: An argument is not an array.
        ValueError: No argument can be differentiated, or the two give other numbers of values.
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
    with jax.enable_x64(True):
        generator = np.random.default_rng(seed)
        whole = [_double(i, a) for i, a in enumerate(args)]
        places = [i for i, a in enumerate(whole) if jnp.issubdtype(a.dtype, jnp.floating)]
        labels = [names[i] if names else f"argument {i}" for i in places]
        free = tuple(whole[i] for i in places)
        if not free:
            raise ValueError("check_rule: expected an argument of floating dtype, found none")
        outputs = [_flat(f, whole, places) for f in (function, reference)]
        own, shape = (jax.eval_shape(output, *free).shape for output in outputs)
        if own != shape:
            raise ValueError(
                f"check_rule: expected the reference's {shape[0]} output values, found {own[0]}"
            )
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
