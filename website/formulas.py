"""Formulas of finished pages, from LaTeX to MathML as browsers set it well without a script."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from latex2mathml.converter import convert_to_element

FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex(?P<steps> steps)?">\s*'
    r"\\[(\[](?P<latex>.*?)\\[)\]]\s*</(?P=tag)>",
    re.DOTALL,
)
COMMANDS = {
    r"\arg\max": r"\operatorname{arg max}",
    r"\arg\min": r"\operatorname{arg min}",
    r"{aligned}": r"{split}",
    r"\lbrace": r"\{",
    r"\rbrace": r"\}",
}  # in the converter's words
NAMES = {
    **{name: name for name in ("ln", "log", "exp", "sin", "cos", "tanh", "max", "min")},
    "argmax": "arg\u2009max",  # the converter drops the space
    "argmin": "arg\u2009min",
}
PRIMES = {"\u2032", "\u2033", "\u2034"}
SUMS = {"\u2211", "\u220f", "\u222b"}
ROWS = {"math", "mrow", "mtd", "mstyle"}
SCRIPTED = {"msub", "msup", "msubsup", "munder", "mover", "munderover"}
LONG = 150  # letters of LaTeX: a chain of equations that is longer stands on several lines
SIGNS = {"=", "\u2248"}
GAP = "2em"  # what \\qquad leaves
THIN = "0.167em"
APPLY = "\u2061"  # "function of", which is not seen


def mathml(found: re.Match[str]) -> str:
    """What FORMULA found, as MathML; ValueError says why it can't be set."""
    latex = html.unescape(found["latex"]).strip()
    display = found["tag"] == "div"
    tree = _tree(latex, display)
    if found["steps"] and len(latex) > LONG:
        _steps(tree[0])
    return _lines(tree) if display else ET.tostring(tree, encoding="unicode")


def letters(latex: str) -> str:
    """A formula as a line of text can show it, escaped for HTML; ValueError as above."""
    return html.escape(plain(_tree(html.unescape(latex).strip(), False)), quote=False).strip()


def _tree(latex: str, display: bool) -> ET.Element:
    for command, meant in COMMANDS.items():
        latex = latex.replace(command, meant)
    try:
        tree = convert_to_element(latex, display="block" if display else "inline")
    except Exception as error:
        raise ValueError(f"{latex!r} can't be set: {error}") from error
    for element in tree.iter():
        element.text = html.unescape(element.text or "")  # the converter names letters by number
    if "\\" in "".join(tree.itertext()):
        raise ValueError(f"{latex!r} holds a command that is not known")
    if any(element.text == "&" for element in tree.iter()):
        raise ValueError(f"{latex!r} is aligned where the converter can't align")
    tree.set("alttext", " ".join(latex.split()))
    for element in list(tree.iter()):
        _primes(element)
        _sums(element)
    for element in list(tree.iter()):
        if element.tag in ROWS:
            _signs(element)
            element[:] = _spaced(list(element))
    return tree


def _lines(tree: ET.Element) -> str:
    """Set a displayed formula such that a narrow page can break it, in a gap or before a sign.

    MathML itself is never broken, so each part is a formula of its own and flows like a word.
    """
    equations: list[list[ET.Element]] = [[]]
    for element in tree[0]:
        if element.tag == "mspace" and element.get("width") == GAP:
            equations.append([])
        else:
            equations[-1].append(element)
    whole = tree.get("alttext", "")
    spans = [_equation(e, whole if len(equations) == 1 else "") for e in equations if e]
    return f'<div class="formula">{" ".join(spans)}</div>'


def _equation(elements: list[ET.Element], label: str) -> str:
    parts: list[list[ET.Element]] = [[]]
    for element in elements:
        if element.tag == "mo" and element.text in SIGNS and parts[-1]:
            element.set("form", "infix")  # though it stands first, there is something before it
            parts.append([])
        parts[-1].append(element)
    written = []
    for part in parts:
        math = ET.Element("math", {"displaystyle": "true"})
        math.set("alttext", label if label and len(parts) == 1 else plain(part).strip())
        ET.SubElement(math, "mrow")[:] = part
        written.append(ET.tostring(math, encoding="unicode"))
    return f'<span class="equation">{"<wbr>".join(written)}</span>'


def plain(elements: Iterable[ET.Element]) -> str:
    """A formula in letters alone, as a line of text can show it."""
    return "".join(_plain(element) for element in elements)


def _plain(element: ET.Element) -> str:
    inner = [_plain(child) for child in element]
    if element.tag == "mfrac":
        return "/".join(inner)
    if element.tag in SCRIPTED and len(inner) > 1:
        marks = {"msub": "_", "munder": "_", "mover": ""}.get(element.tag, "^")
        return inner[0] + (marks + inner[1] if len(inner) == 2 else f"_{inner[1]}^{inner[2]}")
    if element.tag == "mspace":
        return " "
    text = (element.text or "").replace(APPLY, "")
    return f" {text} " if element.tag == "mo" and text in SIGNS else text + "".join(inner)


def _steps(row: ET.Element) -> None:
    """Give each step of a chain ``a = b = c`` a line of its own, the signs one below the other."""
    parts = list(row)
    signs = [i for i, e in enumerate(parts) if e.tag == "mo" and e.text == "="]
    if len(signs) < 2:
        return
    table = ET.Element("mtable", {"displaystyle": "true", "class": "steps"})
    for begin, end in itertools.pairwise([*signs, len(parts)]):
        line = ET.SubElement(table, "mtr")
        left, right = ET.SubElement(line, "mtd"), ET.SubElement(line, "mtd")
        left[:] = parts[:begin] if begin == signs[0] else []
        right[:] = parts[begin:end]
    row[:] = [table]


def _primes(element: ET.Element) -> None:
    """Set a prime beside its letter: fonts draw it raised, and raised once more it is too small."""
    if element.tag == "msup" and len(element) == 2 and element[1].text in PRIMES:
        element.tag = "mrow"
        element[1].tag = "mo"
        element[1].attrib = {"lspace": "0", "rspace": "0"}


def _sums(element: ET.Element) -> None:
    """Mark a sum that has its index below it, for the style sheet."""
    if element.tag in ("munder", "munderover") and element[0].text in SUMS:
        element[0].set("class", "sum")


def _signs(row: ET.Element) -> None:
    """Set a minus that takes nothing from anything close to what follows it, and a slash closely."""
    before: ET.Element | None = None
    for element in row:
        if element.tag == "mo" and element.text == "\u2212" and not _ends_a_factor(before):
            element.set("form", "prefix")
        if element.tag == "mo" and element.text == "/":
            element.attrib.update(lspace="0", rspace="0")
        before = element


def _spaced(row: list[ET.Element]) -> list[ET.Element]:
    """Keep the names of functions apart from what stands on either side of them."""
    done: list[ET.Element] = []
    for place, element in enumerate(row):
        if not _is_name(element):
            done.append(element)
            continue
        if _ends_a_factor(done[-1] if done else None):
            done.append(_space())
        done.append(element)
        following = row[place + 1] if place + 1 < len(row) else None
        if following is not None and following.tag != "mspace":
            applied = ET.Element("mo")
            applied.text = APPLY
            done += [applied] if _opens(following) else [applied, _space()]
    return done


def _is_name(element: ET.Element) -> bool:
    """Whether this is a function's name, perhaps with an index; the name is set upright."""
    if element.tag in SCRIPTED:
        return _is_name(element[0])
    if element.tag not in ("mi", "mo") or element.text not in NAMES:
        return False
    element.tag, element.text = "mi", NAMES[element.text]
    return True


def _ends_a_factor(element: ET.Element | None) -> bool:
    if element is None:
        return False
    return element.tag not in ("mo", "mspace") or element.text in (")", "]", "}")


def _opens(element: ET.Element) -> bool:
    if element.tag in ROWS and len(element):
        return _opens(element[0])
    return element.tag == "mo" and element.text in ("(", "[", "{")


def _space() -> ET.Element:
    return ET.Element("mspace", {"width": THIN})
