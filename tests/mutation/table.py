"""The mutants: every rule and every lowering, made wrong in one place.

Made from the code's own syntax trees, so that the table follows the code. In each function each
way (:mod:`tests.mutation.operators`) is taken once, at the first place where it applies.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.mutation.operators import operators

PACKAGE = Path(__file__).resolve().parents[2] / "jcnn"
PER_FUNCTION_AND_WAY = 1
# What no comparison of numbers can or should notice, with the reason.
LEFT_OUT = {
    "ops/__init__.py": "names",
    "ops/arguments.py": "messages, and paddings that have a proof of their own",
    "ops/mesh.py": "placement on devices",
    "ops/rule.py": "no arithmetic",
    "lowering/__init__.py": "names",
    "lowering/choice.py": "which lowering runs: each is right",
    "lowering/once.py": "a call that is not inlined",
}
LEFT_OUT_FUNCTIONS = {
    "block_size": "how many images a block holds: any number is right",
    "_images_a_block": "the same",
    "outputs_a_block": "how many outputs are folded together: any number is right",
    "check_bias": "a message",
    "_check_kernel": "messages",
    "_check_channels": "messages",
    "_same_shape": "a message",
    "_empty": "zeros of a shape, compared by the cases without an example",
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
        return f"{self.file} {self.function}: {_short(self.old)} -> {_short(self.new)}"

    def source(self) -> str:
        """The file's text with the alteration."""
        tree = _tree(self.file)
        target = list(ast.walk(tree))[self.place]
        changes = dict(operators()[self.way](target))
        return ast.unparse(_Replace(target, changes[self.variant]).visit(tree))


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, new: ast.expr) -> None:
        self.target, self.new = target, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.target else self.generic_visit(node)


@cache
def mutants() -> tuple[Mutant, ...]:
    """All of them, in the order of files and lines."""
    files = [
        path.relative_to(PACKAGE).as_posix()
        for folder in ("lowering", "ops")
        for path in sorted((PACKAGE / folder).glob("*.py"))
    ]
    made = [mutant for file in files if file not in LEFT_OUT for mutant in _of_file(file)]
    return tuple({mutant.name: mutant for mutant in made}.values())


def _of_file(file: str) -> Iterator[Mutant]:
    tree = _tree(file)
    places = {node: place for place, node in enumerate(ast.walk(tree))}
    for function, nodes in _functions(tree, ""):
        taken: dict[str, int] = {}
        for node in nodes:
            for way, operator in operators().items():
                for variant, new in operator(copy.deepcopy(node)):
                    if taken.get(way, 0) < PER_FUNCTION_AND_WAY:
                        taken[way] = taken.get(way, 0) + 1
                        old, text = ast.unparse(node), ast.unparse(new)
                        yield Mutant(
                            file, function, way, old, text, node.lineno, places[node], variant
                        )


def _functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, list[ast.expr]]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and node.name not in LEFT_OUT_FUNCTIONS:
            yield prefix + node.name, list(_expressions(node.body))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            # name.defvjp(lambda ..., lambda ...): what the lambdas compute
            bodies = [ast.Expr(a.body) for a in node.value.args if isinstance(a, ast.Lambda)]
            yield prefix + ast.unparse(node.value.func), list(_expressions(bodies))


def _expressions(body: list[ast.stmt]) -> Iterator[ast.expr]:
    """Every expression that computes: not docstrings, annotations, checks and their messages."""
    for statement in body:
        if isinstance(statement, ast.Raise | ast.Assert):
            continue
        if isinstance(statement, ast.If) and isinstance(statement.body[0], ast.Raise):
            continue
        if isinstance(statement, ast.FunctionDef):
            yield from _expressions(statement.body)
            continue
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.stmt):
                yield from _expressions([child])
            elif isinstance(child, ast.expr) and child is not getattr(statement, "annotation", 0):
                yield from (n for n in ast.walk(child) if isinstance(n, ast.expr))


@cache
def _text(file: str) -> str:
    return (PACKAGE / file).read_text(encoding="utf-8")


def _tree(file: str) -> ast.Module:
    return ast.parse(_text(file))


def _short(expression: str) -> str:
    text = " ".join(expression.split())
    return text if len(text) <= 70 else f"{text[:50]} … {text[-16:]}"
