"""Docstrings say their formulas and names in reStructuredText; the site reads Markdown.

An extension of griffe, which mkdocstrings reads docstrings with.
"""

from __future__ import annotations

import re
import textwrap

import griffe

MATH_BLOCK = re.compile(r"^( *)\.\. math::[ ]?(.*(?:\n\1 +\S.*|\n(?=\n\1 +\S))*)", re.MULTILINE)
LITERAL_BLOCK = re.compile(r"^( *)(.*\S)::\n((?:\n|\1 +.*\n?)+)", re.MULTILINE)
DOCTEST = re.compile(r"^( *)(>>> .*(?:\n *\S.*)*)", re.MULTILINE)


def to_markdown(text: str) -> str:
    """Turn roles, formulas and literal blocks of a docstring into Markdown."""
    text = MATH_BLOCK.sub(_math, text)
    text = LITERAL_BLOCK.sub(_literal, text)
    text = re.sub(r":math:`([^`]+)`", lambda m: f"${' '.join(m[1].split())}$", text)
    text = re.sub(r":\w+:`~?\.?([^`]+)`", r"`\1`", text)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    return DOCTEST.sub(r"\1```pycon\n\1\2\n\1```", text)


def _math(found: re.Match[str]) -> str:
    indent, formula = found[1], textwrap.dedent(found[2].strip("\n")).strip()
    if ("&" in formula or r"\\" in formula) and r"\begin" not in formula:
        formula = rf"\begin{{aligned}} {formula} \end{{aligned}}"
    lines = "\n".join(indent + line for line in formula.splitlines())
    gap = "" if _opens_a_section(found) else "\n"
    return f"{gap}{indent}$$\n{lines}\n{indent}$$\n"


def _opens_a_section(found: re.Match[str]) -> bool:
    """Whether a formula stands right under a head such as ``Gradient:``.

    An empty line there would hide the section from griffe, which shows what follows as code.
    """
    head = found.string[: found.start()].removesuffix("\n").rpartition("\n")[2]
    return head.rstrip().endswith(":") and len(head) - len(head.lstrip()) < len(found[1])


def _literal(found: re.Match[str]) -> str:
    indent, said, block = found[1], found[2], textwrap.dedent(found[3]).strip("\n")
    lines = "\n".join(f"{indent}    {line}" if line else "" for line in block.splitlines())
    return f"{indent}{said}:\n\n{lines}\n\n"


class Markdown(griffe.Extension):
    """Rewrite every docstring that griffe loads."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Called for each object, before its docstring is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
