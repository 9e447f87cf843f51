"""Rules altered on purpose: what the proof must notice.

A mutant replaces one piece of one file's text. Its place is the ``occurrence``-th (from 0) place
where the text stands; a text that no longer stands there fails loudly, so that this table follows
the code.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent / "jcnn"


@dataclass(frozen=True)
class Mutant:
    """One alteration, and the operations that it makes wrong.

    Attributes:
        name: What is altered, and how.
        file: Where, relative to the package.
        old: The text.
        new: What stands there instead.
        ops: Operations whose gradient (or value) it changes.
        occurrence: Which of the text's places, from 0.
        kink: Whether only a tie or a kink shows it, which random arguments never meet.
    """

    name: str
    file: str
    old: str
    new: str
    ops: tuple[str, ...]
    occurrence: int = 0
    kink: bool = False

    def source(self) -> str:
        """Return the file's text with the alteration."""
        text = (PACKAGE / self.file).read_text()
        parts = text.split(self.old)
        if len(parts) < self.occurrence + 2:
            raise LookupError(f"mutant '{self.name}': {self.file} has no such text: {self.old!r}")
        before = self.old.join(parts[: self.occurrence + 1])
        return before + self.new + self.old.join(parts[self.occurrence + 1 :])


WAYS = {
    "scaled by 1.01": "1.01 * ({})",
    "wrong sign": "-({})",
    "shifted forward": "jnp.roll({}, 1, axis=0)",
    "shifted back": "jnp.roll({}, -1, axis=0)",
    "shifted right": "jnp.roll({}, 1, axis=1)",
    "shifted left": "jnp.roll({}, -1, axis=1)",
}
AMOUNT = ("scaled by 1.01", "wrong sign")
IMAGE = (*AMOUNT, "shifted right", "shifted left")
KERNEL = (*AMOUNT, "shifted forward", "shifted back")


def _ways(
    what: str,
    file: str,
    old: str,
    ops: tuple[str, ...],
    ways: tuple[str, ...],
    expression: str,
    occurrence: int = 0,
) -> Iterator[Mutant]:
    """Alter ``expression``, a part of ``old``, in each of the ways."""
    for way in ways:
        new = old.replace(expression, WAYS[way].format(expression), 1)
        yield Mutant(f"{what}: {way}", file, old, new, ops, occurrence)


def _replaced_geometry(field: str, value: str) -> str:
    return f"__import__('dataclasses').replace(geometry, {field}={value})"


GEOMETRIES = {
    "padding before and after exchanged": _replaced_geometry(
        "padding", "tuple((hi, lo) for lo, hi in geometry.padding)"
    ),
    "stride of one": _replaced_geometry("strides", "(1,) * geometry.rank"),
    "dilation of one": _replaced_geometry("dilation", "(1,) * geometry.rank"),
}


def _triple() -> Iterator[Mutant]:
    file, ops = "ops/triple.py", ("correlate",)
    line = "return input_gradient(geometry, dy, w), kernel_gradient(geometry, x, dy)"
    dx, dw = "input_gradient(geometry, dy, w)", "kernel_gradient(geometry, x, dy)"
    yield from _ways("correlate dx", file, line, ops, IMAGE, dx)
    yield from _ways("correlate dw", file, line, ops, KERNEL, dw)
    flip = "jnp.flip({}, axis=tuple(range(geometry.rank)))"
    for name, old, new in (
        ("correlate dx: kernel flipped", dx, dx.replace("w)", flip.format("w") + ")")),
        ("correlate dw: flipped", dw, flip.format(dw)),
        ("correlate dx: channels exchanged", dx, dx.replace("w)", "jnp.swapaxes(w, -1, -2))")),
        ("correlate dw: channels exchanged", dw, f"jnp.swapaxes({dw}, -1, -2)"),
        ("correlate dx: of the wrong argument", dx, "x"),
    ):
        yield Mutant(name, file, line, line.replace(old, new), ops)
    for name, geometry in GEOMETRIES.items():
        for label, part in (("dx", dx), ("dw", dw)):
            new = line.replace(part, part.replace("geometry", geometry, 1))
            yield Mutant(f"correlate {label}: {name}", file, line, new, ops)
    second = {
        "input gradient, second order": (
            "return correlation(geometry, dx, w), kernel_gradient(geometry, dx, dy)",
            ("correlation(geometry, dx, w)", "kernel_gradient(geometry, dx, dy)"),
        ),
        "kernel gradient, second order": (
            "return input_gradient(geometry, dy, dw), correlation(geometry, x, dw)",
            ("input_gradient(geometry, dy, dw)", "correlation(geometry, x, dw)"),
        ),
    }
    for what, (whole, expressions) in second.items():
        for expression in expressions:
            yield from _ways(f"{what}: {expression}", file, whole, ops, AMOUNT, expression)


def _convolution() -> Iterator[Mutant]:
    file, ops = "ops/convolution.py", ("convolve",)
    dx = "dx = input_gradient(geometry, dy, _flip(w))"
    dw = "dw = _flip(kernel_gradient(geometry, x, dy))"
    yield from _ways("convolve dx", file, dx, ops, IMAGE, dx[5:])
    yield from _ways("convolve dw", file, dw, ops, KERNEL, dw[5:])
    yield Mutant("convolve dx: missing flip", file, dx, dx.replace("_flip(w)", "w"), ops)
    yield Mutant("convolve dx: flipped twice", file, dx, dx.replace("_flip(w)", "_flip(_flip(w))"),
                 ops)  # fmt: skip
    yield Mutant("convolve dw: missing flip", file, dw, dw.replace("_flip(", "("), ops)
    yield Mutant("convolve dw: flipped twice", file, dw, dw.replace("_flip(", "_flip(_flip(") + ")",
                 ops)  # fmt: skip
    exchange = "jnp.swapaxes({}, -1, -2)"
    yield Mutant("convolve dx: channels exchanged", file, dx,
                 dx.replace("_flip(w)", exchange.format("_flip(w)")), ops)  # fmt: skip
    yield Mutant("convolve dw: channels exchanged", file, dw, f"dw = {exchange.format(dw[5:])}",
                 ops)  # fmt: skip
    for name, geometry in GEOMETRIES.items():
        for old in (dx, dw):
            new = old.replace("geometry", geometry, 1)
            yield Mutant(f"convolve {old[:2]}: {name}", file, old, new, ops)
    ops = ("convolve_transpose",)
    dx = "dx = correlation(geometry, dy, _exchange_channels(w, geometry.groups))"
    dw = "dw = _exchange_channels(kernel_gradient(geometry, dy, x), geometry.groups)"
    yield from _ways("convolve_transpose dx", file, dx, ops, IMAGE, dx[5:])
    yield from _ways("convolve_transpose dw", file, dw, ops, KERNEL, dw[5:])
    flip = dx.replace("_exchange_channels(w", "_exchange_channels(_flip(w)")
    yield Mutant("convolve_transpose dx: kernel flipped", file, dx, flip, ops)
    yield Mutant("convolve_transpose dw: channels not exchanged", file, dw,
                 "dw = kernel_gradient(geometry, dy, x)", ops)  # fmt: skip
    yield Mutant("convolve_transpose dw: one group's channels exchanged", file, dw,
                 dw.replace("geometry.groups", "1"), ops)  # fmt: skip
    for name, geometry in GEOMETRIES.items():
        new = dw.replace("geometry, dy", f"{geometry}, dy", 1)
        yield Mutant(f"convolve_transpose dw: {name}", file, dw, new, ops)


def _bias_and_dense() -> Iterator[Mutant]:
    users = ("dense", "correlate", "convolve", "convolve_transpose")
    total = "dz.sum(axis=tuple(range(dz.ndim - bias_axes)))"
    line = f"return dz, {total}"
    yield from _ways("bias", "ops/bias.py", line, users, AMOUNT, total)
    for name, new in {
        "averaged": line.replace("sum", "mean"),
        "summed over one axis too few": line.replace("range(dz", "range(1, dz"),
        "the batch's last example alone": "return dz, dz[-1:].sum(axis=tuple("
        "range(dz.ndim - bias_axes)))",
    }.items():
        yield Mutant(f"bias: {name}", "ops/bias.py", line, new, users)
    dx = "dx = _multiply(dy, w.T)"
    yield from _ways("dense dx", "ops/dense.py", dx, ("dense",), AMOUNT, dx[5:])
    result = "return dx, dw"
    yield from _ways("dense dw", "ops/dense.py", result, ("dense",), AMOUNT, "dw")


def _pools() -> Iterator[Mutant]:
    file, ops = "ops/max_pooling.py", ("max_pool", "relu_max_pool")
    dx = "return (_scatter(geometry, dy[0], winner),)"
    yield from _ways("max pools", file, dx, ops, IMAGE, "_scatter(geometry, dy[0], winner)")
    yield Mutant("max pools: tie to the last", "lowering/pools.py", "lax.gt(view, best)",
                 "lax.ge(view, best)", ops, kink=True)  # fmt: skip
    yield Mutant("relu_max_pool: gate >= for >", "lowering/pools.py", "lax.gt(best, least)",
                 "lax.ge(best, least)", ("relu_max_pool",), kink=True)  # fmt: skip
    yield Mutant("relu_max_pool: no gate", "lowering/pools.py",
                 "lax.select(lax.gt(best, least), winner, lax.full_like(winner, none(dtype)))",
                 "winner", ("relu_max_pool",))  # fmt: skip
    place = "return (_spread_from_winner(length, dy[0], winner),)"
    yield from _ways("global_max_pool", file, place, ("global_max_pool",), IMAGE,
                     "_spread_from_winner(length, dy[0], winner)")  # fmt: skip
    yield Mutant("global_max_pool: tie to the last", file, "place, beyond).min(axis=1)",
                 "place, -beyond).max(axis=1)", ("global_max_pool",), kink=True)  # fmt: skip
    file = "ops/pooling.py"
    spread = "return lowering.window_spread(geometry, dy / geometry.taps)"
    ops = ("average_pool",)
    yield from _ways("average_pool", file, spread, ops, IMAGE, spread[7:])
    yield Mutant("average_pool: without its divisor", file, spread,
                 spread.replace(" / geometry.taps", ""), ops)  # fmt: skip
    square = "2 * x * _window_spread(geometry, dy)"
    yield from _ways("square_pool", file, f"return ({square},)", ("square_pool",), IMAGE, square)
    yield Mutant("square_pool: without its two", file, square, square[4:], ("square_pool",))
    share = "share = dy / math.prod(size)"
    ops = ("global_average_pool",)
    yield from _ways("global_average_pool", file, share, ops, AMOUNT, share[8:])
    yield Mutant("global_average_pool: without its divisor", file, share, "share = dy", ops)
    line = "return lax.pad(dy, jnp.zeros((), dy.dtype), [(0, 0, 0), *edges, (0, 0, 0)])"
    yield from _ways("decimate", file, line, ("decimate",), IMAGE, line[7:])


def _activations() -> Iterator[Mutant]:
    for op, expression in {
        "relu": "jnp.where(y > 0, dy, 0)",
        "leaky_relu": "jnp.where(y > 0, dy, slope * dy)",
        "sigmoid": "dy * y * (1 - y)",
        "softmax": "y * (dy - (dy * y).sum(axis=-1, keepdims=True))",
        "scaled_tanh": "dy * (rate * (amplitude - y * y / amplitude))",
    }.items():
        file = "ops/rectifiers.py" if "> 0" in expression else "ops/activations.py"
        ops = ("scaled_tanh", "tanh") if op == "scaled_tanh" else (op,)
        line = f"return ({expression},)"
        yield from _ways(op, file, line, ops, AMOUNT, expression)
        if "> 0" in expression:
            yield Mutant(f"{op}: gate >= for >", file, line, line.replace(">", ">="), ops,
                         kink=True)  # fmt: skip
    file = "ops/rectifiers.py"
    yield Mutant("leaky_relu: no leak", file, "jnp.where(y > 0, dy, slope * dy)",
                 "jnp.where(y > 0, dy, 0)", ("leaky_relu",))  # fmt: skip
    dx, leaked = "dx = jnp.where(x > 0, dy, slope * dy)", "leaked = jnp.where(x > 0, 0, dy * x)"
    yield from _ways("prelu dx", file, dx, ("prelu",), AMOUNT, dx[5:])
    yield from _ways("prelu slope", file, leaked, ("prelu",), AMOUNT, leaked[9:])
    yield Mutant("prelu: gate >= for >", file, dx, dx.replace(">", ">="), ("prelu",), kink=True)
    yield Mutant("prelu slope: averaged", file, "leaked.sum(", "leaked.mean(", ("prelu",))
    file = "ops/activations.py"
    yield Mutant("softmax: diagonal alone", file,
                 "y * (dy - (dy * y).sum(axis=-1, keepdims=True))", "y * (dy - dy * y)",
                 ("softmax",))  # fmt: skip
    yield Mutant("scaled_tanh: without its rate", file, "dy * (rate * (amplitude",
                 "dy * (1 * (amplitude", ("scaled_tanh",))  # fmt: skip
    for op in ("unit_step", "signum"):
        yield Mutant(f"{op}: straight through", file, "(jnp.zeros_like(dy),)", "(dy,)", (op,))


def _losses() -> Iterator[Mutant]:
    file, ops = "ops/losses.py", ("mean_squared_error",)
    line = "dg = _per_example(dl, error) * (2 / _elements(error)) * error"
    yield from _ways("mean_squared_error", file, line, ops, AMOUNT, line[5:])
    yield Mutant("mean_squared_error: without its two", file, "(2 / _elements", "(1 / _elements",
                 ops)  # fmt: skip
    yield Mutant("mean_squared_error: without the mean's factor", file, "(2 / _elements(error))",
                 "2", ops)  # fmt: skip
    yield Mutant("mean_squared_error: target's sign", file, "return dg, -dg", "return dg, dg", ops)
    file_line = "return share * (jax.lax.logistic(logits) - target), -share * logits"
    ops = ("binary_cross_entropy",)
    da, dt = "share * (jax.lax.logistic(logits) - target)", "-share * logits"
    yield from _ways("binary_cross_entropy da", file, file_line, ops, AMOUNT, da)
    yield from _ways("binary_cross_entropy dy", file, file_line, ops, AMOUNT, dt)
    yield Mutant("binary_cross_entropy: without the mean's factor", file,
                 "share = _per_example(dl, logits) / _elements(logits)",
                 "share = _per_example(dl, logits)", ops)  # fmt: skip
    ops = ("softmax_cross_entropy",)
    da = "da = dl[:, None] * (jnp.exp(log_softmax) * total - target)"
    dy = "dl[:, None] * -(1 - smoothing) * log_softmax"
    yield from _ways("softmax_cross_entropy da", file, da, ops, AMOUNT, da[5:])
    yield from _ways("softmax_cross_entropy dy", file, f"return da, {dy}", ops, AMOUNT, dy)
    yield Mutant("softmax_cross_entropy: labels taken to add up to one", file,
                 "jnp.exp(log_softmax) * total", "jnp.exp(log_softmax)", ops)  # fmt: skip
    yield Mutant("softmax_cross_entropy dy: without smoothing's factor", file,
                 "-(1 - smoothing) * log_softmax", "-log_softmax", ops)  # fmt: skip


def _normalization() -> Iterator[Mutant]:
    file, ops = "ops/normalization.py", ("batch_norm",)
    dx = "dx = (scale * rate) * (dy - (doffset + normalized * dscale) / m)"
    statistics = "through_statistics = (dmean + 2 * (x - mean) * dvariance) / m"
    yield from _ways("batch_norm dx", file, dx, ops, AMOUNT, dx[5:])
    yield from _ways("batch_norm statistics", file, statistics, ops, AMOUNT, statistics[21:])
    for name, old, new in (
        ("statistics taken for constants", " - (doffset + normalized * dscale) / m", ""),
        ("without the mean's part", "doffset + normalized * dscale", "normalized * dscale"),
        ("without the variance's part", "doffset + normalized * dscale", "doffset"),
        ("sums without their divisor", "normalized * dscale) / m", "normalized * dscale)"),
    ):
        yield Mutant(f"batch_norm dx: {name}", file, dx, dx.replace(old, new), ops)
    yield Mutant("batch_norm variance: without its two", file, "2 * (x - mean)", "(x - mean)", ops)
    for name in ("dscale = (dy * normalized).sum(axis=axes)", "doffset = dy.sum(axis=axes)"):
        target, expression = name.split(" = ")
        yield from _ways(f"batch_norm {target}", file, name, ops, AMOUNT, expression)
    ops = ("batch_norm_inference",)
    dx = "dx = scale * rate * dy"
    yield from _ways("batch_norm_inference dx", file, dx, ops, AMOUNT, dx[5:])
    line = (
        "return dx, rate * centred, doffset, -scale * rate * doffset, "
        "-0.5 * scale * rate**3 * centred"
    )
    for name, expression in {
        "dscale": "rate * centred",
        "dmean": "-scale * rate * doffset",
        "dvariance": "-0.5 * scale * rate**3 * centred",
    }.items():
        yield from _ways(f"batch_norm_inference {name}", file, line, ops, AMOUNT, expression)
    ops = ("local_response_norm",)
    expression = "dy * shrunk - 2 * scale * power * x * crossed"
    line = f"return ({expression},)"
    yield from _ways("local_response_norm", file, line, ops, AMOUNT, expression)
    yield Mutant("local_response_norm: neighbours left out", file, line, "return (dy * shrunk,)",
                 ops)  # fmt: skip
    yield Mutant("local_response_norm: without its two", file, line, line.replace("2 * ", ""), ops)
    mirrored = "size // 2, (size - 1) // 2)\n    return"
    yield Mutant("local_response_norm: neighbourhood not mirrored", file, mirrored,
                 "(size - 1) // 2, size // 2)\n    return", ops)  # fmt: skip


def _dropout() -> Iterator[Mutant]:
    file, ops, line = "ops/dropout.py", ("dropout",), "return _dropout(drop_rate, dy, key), None"
    yield from _ways("dropout", file, line, ops, AMOUNT, "_dropout(drop_rate, dy, key)")
    yield Mutant("dropout: another mask", file, line,
                 line.replace("key)", "jax.random.fold_in(key, 1))"), ops)  # fmt: skip
    yield Mutant("dropout: no mask", file, line, "return dy / (1 - drop_rate), None", ops)


MUTANTS: tuple[Mutant, ...] = (
    *_triple(),
    *_convolution(),
    *_bias_and_dense(),
    *_pools(),
    *_activations(),
    *_losses(),
    *_normalization(),
    *_dropout(),
)

# Nothing that a test could see: flipping twice is not flipping at all, and is caught as such.
EQUIVALENT: frozenset[str] = frozenset()


@contextmanager
def mutated(mutant: Mutant) -> Iterator[Any]:
    """Give ``jcnn.ops`` loaded afresh with the alteration; the ordinary modules stay."""
    name = "jcnn." + mutant.file.removesuffix(".py").replace("/", ".")
    ordinary = {key: sys.modules.pop(key) for key in list(sys.modules) if _reloaded(key)}
    import jcnn

    attributes = {key: vars(jcnn).pop(key) for key in ("ops", "lowering") if key in vars(jcnn)}
    finder = _Finder(name, mutant.source())
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module("jcnn.ops")
    finally:
        sys.meta_path.remove(finder)
        for key in [key for key in sys.modules if _reloaded(key)]:
            del sys.modules[key]
        sys.modules.update(ordinary)
        vars(jcnn).update(attributes)


def _reloaded(module: str) -> bool:
    return any(
        module == part or module.startswith(f"{part}.") for part in ("jcnn.ops", "jcnn.lowering")
    )


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(self.source))


class _Loader(importlib.abc.Loader):
    def __init__(self, source: str) -> None:
        self.source = source

    def exec_module(self, module: ModuleType) -> None:
        text = self.source
        if "import jax.numpy as jnp" not in text:
            text += "\nimport jax.numpy as jnp\n"
        exec(compile(text, f"<mutant of {module.__name__}>", "exec"), vars(module))
