"""Is a ``custom_vjp`` rule right? In float64, against ``jax.grad``, differences, second order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jcnn.axes import integer
from jcnn.proof.arguments import count_of_outputs, double, labelled, note_dtypes
from jcnn.proof.comparison import (
    DERIVED,
    OF_DIFFERENCES,
    OF_GRADIENTS,
    Report,
    Row,
    Tolerance,
    compare,
    noise_of,
)
from jcnn.proof.differences import STEP, central_differences, sample
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

    Everything runs in float64, whatever the dtypes of ``args``; that each gradient is of its
    argument's dtype is looked at before, in ``args`` as they are, unless ``function`` itself
    refuses such a mix, which the report then notes; a Python number has none of its own. For a
    random cotangent :math:`\delta` and direction :math:`v` four things are compared, element by
    element:

    - the value, by itself and as the rule's forward half gives it ("output under jax.grad"), and
      each gradient :math:`\nabla \langle \delta, f \rangle`, with the reference's through
      ``jax.grad``: rtol 1e-10, atol 1e-12;
    - each gradient with central differences of ``function`` itself, step 1e-6: rtol 1e-3,
      atol 1e-5;
    - :math:`\nabla \langle \nabla \langle \delta, f \rangle, v \rangle`, reverse over reverse, with
      respect to the arguments and to :math:`\delta` ("cotangent" in the report), with the
      reference's: rtol 1e-10, atol 1e-12.

    Absolute tolerances are relative to the largest element that is expected of a tensor, so that
    nothing depends on units, and none grows with the size of an array. A derivative that is zero
    where terms cancel may besides be what rounding leaves of them, units of the last place of
    :math:`\langle \delta, f \rangle` (of 1 where f is zero): 64 over the step of a difference,
    4096 over the size of what is differentiated by, if that is above 1. A kink or a tie within a
    step of ``args`` makes differences meaningless; random arguments avoid them.

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
        A :class:`Report`, true if all agree and an element of a gradient was compared. In a test:
        ``assert check_rule(f, g, x), ...`` or, to see the table on failure,
        ``report = check_rule(...); assert report, str(report)``.

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
        whole = [double(i, a) for i, a in enumerate(args)]
        places = [i for i, a in enumerate(whole) if jnp.issubdtype(a.dtype, jnp.floating)]
        labels = labelled(names, places, len(args))
        free = tuple(whole[i] for i in places)
        if not free:
            raise ValueError("check_rule: expected an argument of floating dtype, found none")
        shape = count_of_outputs(function, reference, whole)
        with jax.enable_x64(x64):
            notes = note_dtypes(function, [jnp.asarray(a) for a in args], places, labels)
        outputs = [_flat(f, whole, places) for f in (function, reference)]
        cotangent = jnp.asarray(generator.standard_normal(shape))
        v = [jnp.asarray(generator.standard_normal(a.shape)) for a in free]
        found, expected = (
            jax.jit(_derivatives(output, v, second_order))(cotangent, *free) for output in outputs
        )
        rows = [compare("output", "value", found[0], expected[0], GRADIENT)]
        rows += [compare("output under jax.grad", "value", found[1], expected[0], GRADIENT)]
        size = float(jnp.linalg.norm(cotangent * expected[0]))
        rows += _derivative_rows(labels, found[2:], expected[2:], [*free, jnp.ones(())], size)
        if differences:
            scalar = _scalar(outputs[0], cotangent)
            rows += difference_rows(labels, scalar, free, found[2], samples, generator, size)
        if exact:
            given = [jnp.asarray(args[i]) for i in places]
            own, right = (_flat(f, whole, places) for f in (function, reference))
            rows += exact_rows(own, right, given, labels, seed=seed)
        return Report(tuple(rows), notes)


Scalar = Callable[..., jax.Array]


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


def _derivative_rows(
    labels: Sequence[str],
    found: Sequence[Any],
    expected: Sequence[Any],
    by: Sequence[jax.Array],
    size: float,
) -> list[Row]:
    """Compare gradients, and their own where taken, of a number of this size, by each of ``by``."""
    tensors = {DERIVED: labels, "second order": [*labels, "cotangent"]}
    return [
        compare(label, against, a, b, GRADIENT, noise=noise_of(size, span(x), OF_GRADIENTS))
        for (against, of), mine, theirs in zip(tensors.items(), found, expected, strict=False)
        for label, a, b, x in zip(of, mine, theirs, by, strict=False)
    ]


def span(a: jax.Array) -> float:
    """How far rounding is spread that a derivative by this array has: its largest element, or 1."""
    return max(1.0, float(jnp.max(jnp.abs(a), initial=0.0)))


def difference_rows(
    labels: Sequence[str],
    scalar: Scalar,
    free: Sequence[jax.Array],
    gradients: Sequence[jax.Array],
    samples: int,
    generator: np.random.Generator,
    size: float,
) -> list[Row]:
    """Compare each gradient of ``scalar``, of this size, with differences at sampled places."""
    chosen = [sample(a.size, samples, generator) for a in free]
    starts = np.cumsum([0, *(a.size for a in free)])
    flat, unflatten = ravel_pytree(tuple(free))
    places = np.concatenate([c + s for c, s in zip(chosen, starts[:-1], strict=True)])
    noise = noise_of(size, STEP, OF_DIFFERENCES)
    expected = central_differences(lambda a: scalar(*unflatten(a)), flat, places, noise=noise)
    parts = np.split(expected, np.cumsum([len(c) for c in chosen])[:-1])
    return [
        compare(
            label,
            "differences",
            np.asarray(gradient).ravel()[at],
            part,
            DIFFERENCES,
            noise=noise,
            places=[tuple(map(int, np.unravel_index(i, gradient.shape))) for i in at],
            shape=gradient.shape,
        )
        for label, gradient, at, part in zip(labels, gradients, chosen, parts, strict=True)
    ]
