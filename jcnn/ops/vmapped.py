"""Rules that know what to do under ``jax.vmap``, and on meshes.

JAX maps a function with a gradient of its own by mapping its pullback. A kernel that all examples
share then gets a gradient per example, and their sum afterwards: many small products in place of
one. A primitive meets ``vmap`` before its gradient is taken; it folds the examples into the batch,
whose gradient sums them inside its product.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jcnn.lowering import Policy
from jcnn.ops import partition

Call = Callable[..., jax.Array]
# Which of a rule's two arrays have the examples along their first axis.
Which = tuple[bool, bool]
# ``fold(call, count, mapped, statics, *arrays)``: the results of ``count`` examples, at least one,
# along a first axis, through ``call(statics, *arrays)``; None where it is better to map the rule.
# ``mapped`` is a Which.
Fold = Callable[..., jax.Array | None]
Statics = tuple[Any, ...]
# ``splits(*statics, *shapes)``: how arrays and result of these shapes may be split over a mesh.
Splits = Callable[..., partition.Split]

STATIC = ("statics", "policy")


class Vmapped:
    """A rule ``call(*statics, *arrays)`` as a primitive with a ``fold`` of its examples.

    ``like``, called in the same way, has a result of the same type and takes no time to trace.
    ``splits`` says how it is run by several devices; without it that is left to the compiler.
    What :mod:`jcnn.lowering` is told to do when the primitive is called is done when it is
    compiled.
    """

    def __init__(
        self, name: str, call: Call, fold: Fold, like: Call, splits: Splits | None = None
    ) -> None:
        self._call, self._fold, self._like, self._splits = call, fold, like, splits
        self._primitive = Primitive(name)
        # Of the primitive, so that an operation called by itself is split as within a program.
        self._compiled = jax.jit(self._primitive.bind, static_argnames=STATIC)
        self._primitive.def_impl(self._by_itself)
        self._primitive.def_abstract_eval(self._type)
        ad.primitive_jvps[self._primitive] = self._derivative
        batching.primitive_batchers[self._primitive] = self._batch
        mlir.register_lowering(self._primitive, self._lower)

    def __call__(self, statics: Statics, *arrays: jax.Array) -> jax.Array:
        """Call the rule, with what is asked of the lowerings here."""
        return self._primitive.bind(*arrays, statics=statics, policy=Policy.current())

    def _by_itself(self, *arrays: jax.Array, **options: Any) -> jax.Array:
        # There the compiled one is this one.
        if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
            return self._run(*arrays, **options)
        return self._compiled(*arrays, **options)

    def _run(self, *arrays: jax.Array, statics: Statics, policy: Policy) -> jax.Array:
        with policy.applied():
            return self._call(*statics, *arrays)

    def _lower(
        self, context: mlir.LoweringRuleContext, *values: Any, statics: Statics, policy: Policy
    ) -> Any:
        mesh = self._splits and partition.automatic_mesh(context)
        if self._splits is None or mesh is None:
            run = partial(self._run, statics=statics, policy=policy)
            return mlir.lower_fun(run, multiple_results=False)(context, *values)

        def run_part(statics: Statics, *arrays: jax.Array) -> jax.Array:
            return self._run(*arrays, statics=statics, policy=policy)

        types: list[Any] = [*context.avals_in, *context.avals_out]
        split = self._splits(*statics, *(a.shape for a in types))
        label = repr((self._primitive.name, statics, policy))
        return partition.lower(context, mesh, split, run_part, self._like, label, *values)

    def _type(self, *types: Any, statics: Statics, policy: Policy) -> Any:
        (result,) = jax.make_jaxpr(partial(self._like, *statics))(*types).out_avals
        return result

    def _derivative(self, primals: Any, tangents: Any, *, statics: Statics, policy: Policy) -> Any:
        varied = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, ad.Zero)]

        def call(*given: Any) -> Any:  # of the others the rule is told that they have no gradient
            arrays = list(primals)
            for i, a in zip(varied, given, strict=True):
                arrays[i] = a
            return self._call(*statics, *arrays)

        with policy.applied():
            at, along = (tuple(each[i] for i in varied) for each in (primals, tangents))
            return jax.jvp(call, at, along)

    def _batch(
        self, arrays: Any, axes: Any, *, statics: Statics, policy: Policy
    ) -> tuple[jax.Array, int]:
        mapped = tuple(axis is not None for axis in axes)
        count = next(a.shape[i] for a, i in zip(arrays, axes, strict=True) if i is not None)
        arrays = [
            a if i is None else jnp.moveaxis(a, i, 0) for a, i in zip(arrays, axes, strict=True)
        ]
        with policy.applied():
            y = self._fold(self, count, mapped, statics, *arrays) if count else None
            if y is None:
                places = tuple(0 if m else None for m in mapped)
                y = jax.vmap(partial(self._call, *statics), places)(*arrays)
        return y, 0
