"""Tables of finished pages: room for formulas, and widths that follow what the cells hold."""

from __future__ import annotations

import html
import re

TABLE = re.compile(r"<table>\n(.*?)</table>", re.DOTALL)
ROW = re.compile(r"<tr>\n(.*?)</tr>\n", re.DOTALL)
CELL = re.compile(r"<(t[hd])[^>]*>(.*?)</\1>\n", re.DOTALL)
FORMULAS = re.compile(r"<thead>\n<tr>\n<th></th>\n<th>formula</th>\n")
LONG, SHORT = 30, 6  # letters in the longest cell of a first column


def laid_out(text: str) -> str:
    """Lay out all tables of a page; to be called before its formulas are set."""
    return TABLE.sub(_table, text)


def _table(found: re.Match[str]) -> str:
    inside = found[1]
    if FORMULAS.match(inside):
        return f'<table data-first="formulas">\n{ROW.sub(_stacked, inside)}</table>'
    return f'<table data-first="{_first(inside)}">\n{inside}</table>'


def _first(inside: str) -> str:
    """How wide the first column wants to be; without this, columns of numbers squeeze its words."""
    rows = [CELL.findall(row[1]) for row in ROW.finditer(inside)]
    longest = max((len(_plain(row[0][1])) for row in rows if row and row[0][0] == "td"), default=0)
    return "long" if longest > LONG else "middle" if longest > SHORT else "short"


def _plain(cell: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", cell))


def _stacked(row: re.Match[str]) -> str:
    """Give a row's formula the whole width, and the next line to where, function, rule and test."""
    cells = [cell[0] for cell in CELL.finditer(row[1])]
    number = re.sub(r"^<t[hd]", r'\g<0> rowspan="2"', cells[0])
    formula = re.sub(r"^<t[hd]", rf'\g<0> colspan="{len(cells) - 2}"', cells[1])
    formula = formula.replace('class="arithmatex"', 'class="arithmatex steps"')
    rest = "".join(cells[2:])
    return f'<tr>\n{number}{formula}</tr>\n<tr class="below">\n{rest}</tr>\n'
