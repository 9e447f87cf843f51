"""Ways to make one node of a syntax tree wrong."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy

Change = tuple[str, ast.AST]
Operator = Callable[[ast.AST], Iterator[Change]]

_ARITHMETIC: dict[type[ast.operator], ast.operator] = {
    ast.Add: ast.Sub(),
    ast.Sub: ast.Add(),
    ast.Mult: ast.Div(),
    ast.Div: ast.Mult(),
}
_COMPARISONS: dict[type[ast.cmpop], tuple[ast.cmpop, ast.cmpop]] = {
    ast.Gt: (ast.GtE(), ast.LtE()),
    ast.GtE: (ast.Gt(), ast.Lt()),
    ast.Lt: (ast.LtE(), ast.GtE()),
    ast.LtE: (ast.Lt(), ast.Gt()),
    ast.Eq: (ast.GtE(), ast.NotEq()),
    ast.NotEq: (ast.Gt(), ast.Eq()),
}
_NAMES = {"lo": "hi", "hi": "lo", "before": "after", "after": "before"}
_ATTRIBUTES = {
    "strides": "dilation",
    "dilation": "strides",
    "window": "span",
    "size": "padded",
    "span": "window",
    "output": "size",
    "excess": "padding",
}
_METHODS = {
    "gt": "ge", "lt": "le", "eq": "ne", "ne": "eq", "add": "sub", "sub": "add", "mul": "add",
    "max": "min", "min": "max", "maximum": "minimum", "sum": "mean", "mean": "sum",
    "bitwise_and": "bitwise_or", "bitwise_or": "bitwise_and", "exp": "abs", "log1p": "log",
    "rsqrt": "sqrt", "logistic": "tanh", "square": "abs",
}  # fmt: skip
_FUNCTIONS = {"max": "min", "min": "max", "all": "any", "any": "all"}
# Calls that rearrange an array, and which of their arguments it is.
_REARRANGE = {
    "flip": 0, "rev": 0, "transpose": 0, "swapaxes": 0, "flipped": -1, "_flip": 0, "reversed": 0,
    "_exchange_channels": 0, "_by_group": -1, "_side_by_side": -1, "_fold": 0, "_unfold": 0,
    "resized": 0, "pad": -1, "lax.pad": 0, "jnp.pad": 0, "adjoint": 0,
}  # fmt: skip


def operators() -> dict[str, Operator]:
    """Return every way by its name."""
    return {
        "another operation": _arithmetic,
        "a term left out": _left_out,
        "the sign lost": _sign,
        "scaled by 1.01": _scaled,
        "another comparison": _comparison,
        "off by one": _constant,
        "another call": _call,
        "not rearranged": _not_rearranged,
        "a tap left out": _shorter,
        "shifted by one": _shifted,
        "exchanged": _exchanged,
        "the other end": _name,
        "another size": _attribute,
    }


def _arithmetic(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
            yield "", ast.BinOp(left, _ARITHMETIC[type(op)], right)
        case ast.BinOp(_, ast.FloorDiv(), _):
            yield "", ast.BinOp(node, ast.Add(), ast.Constant(1))


def _left_out(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.BinOp(left, ast.Add() | ast.Mult(), right):
            yield "second", left
            yield "first", right
        case ast.BinOp(left, ast.Sub() | ast.Div() | ast.Mod() | ast.Pow(), _):
            yield "second", left


def _sign(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.UnaryOp(ast.USub(), operand):
            yield "", operand


def _scaled(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Return(ast.Tuple(elements)):
            for i, element in enumerate(elements):
                if isinstance(element, ast.Starred | ast.Constant):
                    continue
                scaled = [_times_1_01(e) if i == j else e for j, e in enumerate(elements)]
                yield str(i), ast.Return(ast.Tuple(scaled, ast.Load()))
        case ast.Return(value) if value is not None:
            yield "", ast.Return(_times_1_01(value))


def _times_1_01(value: ast.expr) -> ast.expr:
    return ast.BinOp(ast.Constant(1.01), ast.Mult(), value)


def _comparison(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(left, [op], right) if type(op) in _COMPARISONS:
            for variant, other in zip(("edge", "negated"), _COMPARISONS[type(op)], strict=True):
                yield variant, ast.Compare(left, [other], right)


def _constant(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Constant(value) if type(value) in (int, float):
            yield "up", ast.Constant(value + 1)
            if value >= 1:
                yield "down", ast.Constant(value - 1)


def _call(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Call(ast.Attribute(value, name), args, keywords) if name in _METHODS:
            other = ast.Attribute(value, _METHODS[name], ast.Load())
            yield "", ast.Call(other, args, keywords)
        case ast.Call(ast.Name(name), args, keywords) if name in _FUNCTIONS:
            yield "", ast.Call(ast.Name(_FUNCTIONS[name], ast.Load()), args, keywords)


def _not_rearranged(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Call(func, [_, *_] as args) if _last_name(func) in _REARRANGE:
            place = _REARRANGE.get(ast.unparse(func), _REARRANGE[_last_name(func)])
            yield "", args[place]
        case ast.Attribute(value, "T"):
            yield "", value


def _shorter(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Call(ast.Name("range"), [last]):
            yield "last", _range(_minus_one(last))
            yield "first", _range(ast.Constant(1), last)
        case ast.Call(ast.Name("range"), [first, last, *step]):
            yield "last", _range(first, _minus_one(last), *step)
            yield "first", _range(ast.BinOp(first, ast.Add(), ast.Constant(1)), last, *step)
        case ast.Name("range"):
            # as in map(range, shape): every axis loses its last element
            yield "last", ast.parse("lambda n: range(n - 1)", mode="eval").body


def _range(*args: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("range", ast.Load()), list(args), [])


def _minus_one(value: ast.expr) -> ast.expr:
    return ast.BinOp(value, ast.Sub(), ast.Constant(1))


def _shifted(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.ListComp(ast.Tuple([lo, hi, *rest])) | ast.GeneratorExp(
            ast.Tuple([lo, hi, *rest])
        ):
            lo = ast.BinOp(lo, ast.Add(), ast.Constant(1))
            shifted = deepcopy(node)
            shifted.elt = ast.Tuple([lo, _minus_one(hi), *rest], ast.Load())
            yield "", shifted


def _exchanged(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Call(func, [*first, a, b], keywords) if _alike(a, b):
            yield "", ast.Call(func, [*first, b, a], keywords)
        case ast.Tuple([*first, a, b], ast.Load()) if _alike(a, b):
            yield "", ast.Tuple([*first, b, a], ast.Load())
        case ast.List([*first, a, b], ast.Load()) if _alike(a, b):
            yield "", ast.List([*first, b, a], ast.Load())


def _alike(a: ast.expr, b: ast.expr) -> bool:
    """Whether two expressions may change places: others would raise at once."""
    starred = isinstance(a, ast.Starred | ast.Lambda)
    return type(a) is type(b) and not starred and ast.dump(a) != ast.dump(b)


def _name(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Name(name, ast.Load()) if name in _NAMES:
            yield "", ast.Name(_NAMES[name], ast.Load())


def _attribute(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Attribute(value, name) if name in _ATTRIBUTES and _last_name(value) in (
            "g", "geometry", "back", "self", "plain",
        ):  # fmt: skip
            yield "", ast.Attribute(value, _ATTRIBUTES[name], ast.Load())


def _last_name(node: ast.AST) -> str:
    match node:
        case ast.Name(name) | ast.Attribute(_, name):
            return name
    return ""
