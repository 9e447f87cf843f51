"""The three correlations: chosen lowerings behind one signature each.

The platform is the one the program runs on: off the CPU, XLA's own convolution. The policy is that
which holds when their caller is traced; JAX traces it again under another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jcnn.geometry import Geometry
from jcnn.lowering import depthwise, direct, fold, overlap_add, patches, transposed, winograd, xla
from jcnn.lowering.algorithms import GROUPED, is_native
from jcnn.lowering.choice import decide
from jcnn.lowering.native import depthwise as native_depthwise
from jcnn.lowering.native import patches as native_patches
from jcnn.lowering.native import winograd as native_winograd
from jcnn.lowering.once import on_cpu_once
from jcnn.lowering.policy import Policy, allow_native, note
from jcnn.lowering.problem import Problem
from jcnn.lowering.windows import resized
from jcnn.precision import dtype_within, in_float32

# More groups than these run in a loop, so that the program does not grow with them.
GROUPS_UNROLLED = 4


def correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """The correlation y[m] = sum_k w[k] x[s m + d k - lo], (N, *output, D).

    x is (N, *size, C), w is (*window, C / groups, D).
    """
    return _run("correlate", g, x.shape[-1], w.shape[-1], x, w)


def input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """Its adjoint in x, (N, *size, C): also the transposed convolution of dy."""
    return _run("input_gradient", g, w.shape[-2] * g.groups, w.shape[-1], dy, w)


def kernel_gradient(g: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """Its adjoint in w, (*window, C / groups, D)."""
    return _run("kernel_gradient", g, x.shape[-1], dy.shape[-1], x, dy)


def _run(
    operation: str, g: Geometry, channels: int, features: int, a: jax.Array, b: jax.Array
) -> jax.Array:
    if any(map(any, g.excess)):
        return _beyond_reach(operation, g, channels, features, a, b)
    problem = Problem(operation, g, a.shape[0], channels, features, dtype_within(a).name)
    asked = partial(decide, problem, Policy.current())
    names = [asked(platform).name for platform in ("cpu", "gpu")]
    note(operation, g, names[jax.default_backend() != "cpu"])
    on_cpu, elsewhere = (_lowering(operation, name) for name in names)
    if not (names[0] == "native_winograd" and native_winograd.takes_half(a, b)):
        on_cpu = in_float32(on_cpu)
    if names[0] in _SUMS and operation != "kernel_gradient":
        on_cpu = _stored(on_cpu)
    if names[1] != "xla":  # whose libraries sum in float32 by themselves
        elsewhere = in_float32(elsewhere)
    if names[0] == names[1] and a.dtype.itemsize >= 4:
        return on_cpu(g, a, b)
    return lax.platform_dependent(a, b, cpu=partial(on_cpu, g), default=partial(elsewhere, g))


def _stored(lowering: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The lowering, whose result XLA's CPU backend computes once and keeps."""
    return lambda g, a, b: on_cpu_once(lambda y: y, lowering(g, a, b))


def _beyond_reach(
    operation: str, g: Geometry, channels: int, features: int, a: jax.Array, b: jax.Array
) -> jax.Array:
    """Padding beyond the windows' reach, as zeros of the input itself.

    No lowering meets such padding, and XLA no convolution with negative padding, for which its CPU
    backend reads memory that nobody wrote.
    """
    if operation != "input_gradient":
        a = resized(a, g.excess)
    result = _run(operation, g.within_reach(), channels, features, a, b)
    if operation != "input_gradient":
        return result
    return resized(result, [(-before, -after) for before, after in g.excess])


def _grouped(operation: str, compiled: bool, g: Geometry, a: jax.Array, b: jax.Array) -> jax.Array:
    """Each group by itself, by compiled loops where they cost least, or without them."""
    with allow_native(compiled):
        return _each_group(operation, g, a, b)


def _each_group(operation: str, g: Geometry, a: jax.Array, b: jax.Array) -> jax.Array:
    public = {
        "correlate": correlate,
        "input_gradient": input_gradient,
        "kernel_gradient": kernel_gradient,
    }[operation]
    one = partial(public, replace(g, groups=1))
    # A kernel's input channels are those of one group already.
    if g.groups <= GROUPS_UNROLLED:
        pairs = zip(*(jnp.split(m, g.groups, axis=-1) for m in (a, b)), strict=True)
        return jnp.concatenate([one(a, b) for a, b in pairs], axis=-1)
    a, b = (jnp.moveaxis(m.reshape(*m.shape[:-1], g.groups, -1), -2, 0) for m in (a, b))
    y = jnp.moveaxis(lax.map(lambda pair: one(*pair), (a, b)), 0, -2)
    return lax.collapse(y, y.ndim - 2)


_MODULES = {
    "xla": xla,
    "patches": patches,
    "transposed": transposed,
    "overlap_add": overlap_add,
    "depthwise": depthwise,
    "direct": direct,
    "winograd": winograd,
    "native_winograd": native_winograd,
    "native_patches": native_patches,
    "native_depthwise": native_depthwise,
}
_BASES = {
    "fold": patches,
    "fold_xla": xla,
    "fold_overlap_add": overlap_add,
    "fold_winograd": winograd,
    "fold_native_winograd": native_winograd,
}


# They end in sums over the window, which XLA's CPU backend would take again within the loops of
# who reads them, such as a max pool's: a step of mnist_99's network took 19 ms so, in place of 12.
_SUMS = ("direct", "overlap_add", "fold_overlap_add")


def _lowering(operation: str, name: str) -> Callable[..., jax.Array]:
    if name in GROUPED:
        return partial(_grouped, operation, is_native(name))
    if name in _BASES:
        base = _BASES[name]
        return partial(
            getattr(fold, operation), base=getattr(base, operation), odd=name.endswith("winograd")
        )
    return getattr(_MODULES[name], operation)
