"""Ways to make one node of a syntax tree wrong."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

Change = tuple[str, ast.expr]
Operator = Callable[[ast.expr], Iterator[Change]]

_ARITHMETIC: dict[type[ast.operator], ast.operator] = {
    ast.Add: ast.Sub(),
    ast.Sub: ast.Add(),
    ast.Mult: ast.Div(),
    ast.Div: ast.Mult(),
}
_COMPARISONS: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Gt: ast.GtE(),
    ast.GtE: ast.Gt(),
    ast.Lt: ast.LtE(),
    ast.LtE: ast.Lt(),
    ast.Eq: ast.NotEq(),
}
_NAMES = {"lo": "hi", "hi": "lo", "before": "after", "after": "before"}
_ATTRIBUTES = {
    "strides": "dilation",
    "dilation": "strides",
    "window": "output",
    "size": "padded",
    "span": "window",
    "output": "size",
    "excess": "padding",
}
_CALLS = {
    "gt": "ge", "lt": "le", "eq": "ne", "add": "sub", "sub": "add", "mul": "add",
    "max": "min", "maximum": "minimum", "sum": "max", "mean": "sum", "bitwise_and": "bitwise_or",
    "bitwise_or": "bitwise_and", "exp": "abs", "log1p": "log", "rsqrt": "sqrt",
}  # fmt: skip
# Calls that rearrange their first (or last) array, and what is left of them without it.
_REARRANGE = {
    "flip": 0, "rev": 0, "transpose": 0, "swapaxes": 0, "flipped": -1, "_flip": 0, "reversed": 0,
    "_exchange_channels": 0, "_by_group": -1, "_side_by_side": -1,
}  # fmt: skip


def operators() -> dict[str, Operator]:
    """Return every way by its name."""
    return {
        "another operation": _arithmetic,
        "a term left out": _left_out,
        "the sign lost": _sign,
        "another comparison": _comparison,
        "off by one": _constant,
        "another call": _call,
        "not rearranged": _not_rearranged,
        "a tap left out": _shorter,
        "arguments exchanged": _exchanged,
        "the other end": _name,
        "another size": _attribute,
    }


def _arithmetic(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield "", ast.BinOp(node.left, _ARITHMETIC[type(node.op)], node.right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv):
        yield "", ast.BinOp(ast.BinOp(node.left, ast.FloorDiv(), node.right), ast.Add(), _one())


def _left_out(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
        yield "second", node.left
        if not isinstance(node.op, ast.Sub):
            yield "first", node.right


def _sign(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "", node.operand


def _comparison(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        yield "", ast.Compare(node.left, [_COMPARISONS[type(node.ops[0])]], node.comparators)


def _constant(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "", ast.Constant(node.value + 1)


def _call(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in _CALLS:
            name = _CALLS[node.func.attr]
            yield (
                "",
                ast.Call(
                    ast.Attribute(node.func.value, name, ast.Load()), node.args, node.keywords
                ),
            )
        elif isinstance(node.func, ast.Name) and node.func.id in _CALLS:
            name = _CALLS[node.func.id]
            yield "", ast.Call(ast.Name(name, ast.Load()), node.args, node.keywords)


def _not_rearranged(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Call) and _called(node) in _REARRANGE and node.args:
        yield "", node.args[_REARRANGE[_called(node)]]
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield "", node.value


def _shorter(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Call) and _called(node) == "range":
        *first, last = node.args[:2]
        yield "last", ast.Call(node.func, [*first, ast.BinOp(last, ast.Sub(), _one())], [])
        start = ast.BinOp(first[0], ast.Add(), _one()) if first else _one()
        yield "first", ast.Call(node.func, [start, last, *node.args[2:]], [])
    elif isinstance(node, ast.Call) and [ast.unparse(a) for a in node.args[:1]] == ["range"]:
        # map(range, shape): every axis loses its last element
        shorter = ast.parse("lambda n: range(n - 1)", mode="eval").body
        yield "last", ast.Call(node.func, [shorter, *node.args[1:]], node.keywords)


def _exchanged(node: ast.expr) -> Iterator[Change]:
    values = node.args if isinstance(node, ast.Call) else getattr(node, "elts", [])
    values = [value for value in values if not isinstance(value, ast.Starred)]
    if isinstance(node, ast.Call | ast.Tuple) and len(values) == len(
        node.args if isinstance(node, ast.Call) else node.elts
    ):
        if len(values) < 2 or type(values[-1]) is not type(values[-2]):
            return
        if ast.dump(values[-1]) == ast.dump(values[-2]):
            return
        swapped = [*values[:-2], values[-1], values[-2]]
        if isinstance(node, ast.Call):
            yield "", ast.Call(node.func, swapped, node.keywords)
        elif isinstance(node.ctx, ast.Load):
            yield "", ast.Tuple(swapped, ast.Load())


def _name(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in _NAMES:
        yield "", ast.Name(_NAMES[node.id], ast.Load())


def _attribute(node: ast.expr) -> Iterator[Change]:
    geometries = ("g", "geometry", "back", "self")
    if (
        isinstance(node, ast.Attribute)
        and node.attr in _ATTRIBUTES
        and ast.unparse(node.value).split(".")[-1] in (*geometries, "plain")
    ):
        yield "", ast.Attribute(node.value, _ATTRIBUTES[node.attr], ast.Load())


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).split(".")[-1]


def _one() -> ast.expr:
    return ast.Constant(1)
