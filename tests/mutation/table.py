"""The mutants: every rule and every lowering, made wrong in one place.

Made from the code's own syntax trees, so that the table follows the code. Each way of
:mod:`tests.mutation.operators` is taken once in a function, at the first place where it applies;
each value that a rule returns is scaled.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.mutation.operators import Change, operators

PACKAGE = Path(__file__).resolve().parents[2] / "jcnn"
SCALED = "scaled by 1.01"
# What no comparison of numbers can or should notice, with the reason.
LEFT_OUT = {
    "ops/arguments.py": "checks and their messages",
    "ops/mesh.py": "where arrays are placed on devices",
    "lowering/algorithms.py": "which lowering runs, and each is right",
    "ops/partition.py": "which device computes what",
    "ops/splits.py": "which device computes what",
    "ops/halo.py: halo_exchange": "checks and their messages",
    "ops/spatial.py: _check": "checks and their messages",
    "lowering/choice.py": "which lowering runs, and each is right",
    "lowering/compiling.py": "how fast a program is",
    "lowering/costs.py": "what a lowering costs",
    "lowering/machine.py": "what the costs are",
    "lowering/algorithm.py": "names alone",
    "lowering/native_costs.py": "what a lowering costs",
    "lowering/native/__init__.py": "names alone",
    "lowering/native/building.py": "how it is compiled: tests/lowering/test_native.py",
    "lowering/native/calls.py": "where the library is built: tests/lowering/test_native.py",
    "lowering/native/checking.py": "a check",
    "lowering/native/depthwise.py": "where the library is built: tests/lowering/test_native.py",
    "lowering/native/library.py": "how it is loaded: tests/lowering/test_native.py",
    "lowering/native/patches.py": "where the library is built: tests/lowering/test_native.py",
    "lowering/native/pools.py": "where the library is built: tests/lowering/test_native.py",
    "lowering/native/residues.py": "of compiled loops: tests/lowering/test_residues.py",
    "lowering/native/winograd.py": "where the library is built: tests/lowering/test_native.py",
    "lowering/pool_algorithms.py": "which lowering runs, and each is right",
    "lowering/pools.py: _chosen": "which lowering runs, and each is right",
    "lowering/problem.py": "what the choice is told",
    "lowering/nearby.py": "which lowering runs, and each is right",
    "lowering/policy.py": "what is asked of the choice",
    "lowering/switches.py": "what is asked of the choice",
    "lowering/once.py": "that a call is not inlined",
    "lowering/order.py": "what is computed first: tests/lowering/test_order.py",
    "lowering/blocks.py: _to_fill": "zeros of which XLA does not know",
    "axes.py: integer": "a check and its messages",
    "axes.py: extent": "a check and its message",
    "axes.py: per_axis": "a check and its messages",
    "geometry.py: place_pool": "a check and its message",
    "axes.py: _pair": "a check",
    "geometry.py: _too_large": "a message",
    "geometry.py: _check_zeros": "a check and its message",
    "geometry.py: _check_more": "a check and its messages",
    "axes.py: times": "part of a message",
    "lowering/blocks.py: block_bytes": "images per block: any number is right",
    "lowering/blocks.py: block_size": "images per block: any number is right",
    "lowering/patches.py: _images_a_block": "images per block: any number is right",
    "lowering/sums.py: one_value": "any of a channel's values is right",
    "lowering/sums.py: part_count": "parts of an axis: any number that divides it is right",
    "lowering/winograd.py: _images_a_block": "images per block: any number is right",
    "lowering/winograd.py: by_tiles_of_outputs": "both ways are right",
    "lowering/fold.py: Fold.single": "which lowering runs, and each is right",
    "lowering/fold.py: outputs_a_block": "outputs folded together: any number is right",
    "axes.py: is_single": "a check",
    "ops/bias.py: check_bias": "a check and its message",
    "ops/classification.py: _are_integers": "a check and its message",
    "ops/classification.py: _check_classes": "a check and its message",
    "ops/classification.py: _check_shapes": "a check and its messages",
    "ops/dense.py: _miscounted": "which products are kept apart: their numbers are the same",
    "ops/convolution.py: _check_kernel": "a check and its messages",
    "ops/losses.py: _same_shape": "a check and its message",
    "ops/padding.py: place_border": "checks and their messages",
    "ops/max_pooling.py: _largest": "images split in space: tests/ops/test_spatial.py",
    "ops/normalization.py: _sum": "where arrays are placed on devices",
    "ops/normalization.py: _check_channels": "a check and its messages",
}


@dataclass(frozen=True)
class Mutant:
    """One alteration.

    Attributes:
        file: Where, relative to the package.
        function: The function, with its class.
        way: The operator's name.
        old: The expression.
        new: What stands there instead.
        line: The expression's line.
        place: Which node of the file's tree, in the order of ``ast.walk``.
        variant: Which of the operator's changes of this node.
    """

    file: str
    function: str
    way: str
    old: str
    new: str
    line: int
    place: int
    variant: str

    @property
    def name(self) -> str:
        """What is altered, and how; the same as long as the function is."""
        old, new = _difference(self.old, self.new)
        return f"{self.file}: {self.function}: {old} → {new}"

    def source(self) -> str:
        """The file's text with the alteration."""
        tree = ast.parse(text(self.file))
        target = list(ast.walk(tree))[self.place]
        changes = dict(operators()[self.way](target))
        return ast.unparse(_Replace(target, changes[self.variant]).visit(tree))


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, new: ast.AST) -> None:
        self.target, self.new = target, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.target else self.generic_visit(node)


def files() -> list[str]:
    """Every file of rules and lowerings that is altered, and their geometry."""
    paths = (path for folder in ("lowering", "ops") for path in (PACKAGE / folder).rglob("*.py"))
    named = sorted(path.relative_to(PACKAGE).as_posix() for path in paths)
    kept = (file for file in named if file not in LEFT_OUT and not file.endswith("__init__.py"))
    return ["axes.py", "geometry.py", "precision.py", *kept]


@cache
def mutants() -> dict[str, Mutant]:
    """All of them by name, in the order of files and lines."""
    made = (mutant for file in files() for mutant in _of_file(file))
    found: dict[str, Mutant] = {}
    for mutant in made:
        found.setdefault(mutant.name, mutant)
    return found


@cache
def text(file: str) -> str:
    """A file of the package."""
    return (PACKAGE / file).read_text(encoding="utf-8")


def _of_file(file: str) -> Iterator[Mutant]:
    tree = ast.parse(text(file))
    places = {node: place for place, node in enumerate(ast.walk(tree))}
    for function, nodes in functions(tree):
        if f"{file}: {function}" in LEFT_OUT:
            continue
        taken: set[str] = set()
        for node in nodes:
            for way, operator in operators().items():
                if way in taken or (way == SCALED and not file.startswith("ops/")):
                    continue  # what a lowering returns is not always an array
                for variant, new in _chosen(function, way, operator(copy.deepcopy(node))):
                    old, replaced = ast.unparse(node), ast.unparse(new)
                    if replaced != old:
                        taken.add(way)
                        yield Mutant(
                            file, function, way, old, replaced, node.lineno, places[node], variant
                        )  # fmt: skip


def _chosen(function: str, way: str, changes: Iterator[Change]) -> list[Change]:
    """One of a node's changes, not the same in every function; of what is returned, all."""
    every = list(changes)
    if way == SCALED or not every:
        return every
    return [every[len(function) % len(every)]]


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, list[ast.AST]]]:
    """Every function with what may be altered in it."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef():
                yield from functions(node, f"{node.name}.")
            case ast.FunctionDef(name, decorator_list=decorators):
                # of a function that is called "_" the decorator says whose pullback it is
                known = ast.unparse(decorators[0]) if name == "_" else prefix + name
                given = [ast.Expr(d) for d in decorators if isinstance(d, ast.Call)]
                yield known, list(_nodes([*given, *node.body]))


def _nodes(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """What computes: not docstrings, annotations, checks and their messages."""
    for statement in body:
        match statement:
            case ast.Raise() | ast.Assert() | ast.If(_, [ast.Raise(), *_]):
                continue
            case ast.FunctionDef():
                yield from _nodes(statement.body)
                continue
            case ast.Return():
                yield statement
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.stmt):
                yield from _nodes([child])
            elif isinstance(child, ast.match_case):
                yield from _nodes(child.body)
            elif isinstance(child, ast.expr) and child is not getattr(statement, "annotation", 0):
                yield from (n for n in ast.walk(child) if isinstance(n, ast.expr))


def _difference(old: str, new: str) -> tuple[str, str]:
    """Both texts, of long ones what differs and a little of what stands around it."""
    before = _shared(old, new)
    after = _shared(old[before:][::-1], new[before:][::-1])
    around = 24

    def cut(a: str) -> str:
        start, end = max(0, before - around), len(a) - max(0, after - around)
        return ("…" if start else "") + a[start:end] + ("…" if end < len(a) else "")

    return cut(old), cut(new)


def _shared(a: str, b: str) -> int:
    """The length of what both begin with."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (p, q) in enumerate(pairs) if p != q), min(len(a), len(b)))
