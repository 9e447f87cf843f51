"""A table of labels: which file is of which class, and in which split, in a CSV file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jcnn.data.file_names import FileNames
from jcnn.data.folder_scan import SHOWN, Kind
from jcnn.errors import UserError, nearest, system_words

# What people call the columns, in lower case.
FILE = ("file", "filename", "file_name", "image", "path", "image_id", "id", "name", "img", "fname")
LABEL = ("label", "class", "category", "target", "breed", "labels", "classes", "class_name")
SPLIT = ("split", "set", "subset", "fold", "dataset")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
}


class Row(NamedTuple):
    """One line: a file's name seen from the folder, its class, and its split where one is given."""

    name: str
    label: str
    split: str | None


def read_table(path: Path, folder: Path, kind: Kind) -> list[Row]:
    """Read a CSV file with a header: the columns ``file`` and ``label``, and ``split`` if there.

    Columns may be parted by commas, semicolons or tabs. How files may be named:
    :meth:`FileNames.find`.

    Raises:
        UserError: no such file or column, a line that is cut short, or files that do not exist, are
            named twice, or cannot be told apart.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"data.labels: {path} does not exist: expected a CSV file") from None
    except OSError as error:
        raise UserError(f"data.labels: {path} cannot be read: {system_words(error)}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"data.labels: {path} cannot be read as UTF-8 text: {error}") from None
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    lines = _lines(path, text, delimiter)
    columns = [name.strip().lower() for name in next(lines, [])]
    file, label = _column(path, columns, FILE), _column(path, columns, LABEL)
    split = next((columns.index(name) for name in SPLIT if name in columns), None)
    rows, absent, files = [], [], FileNames(folder, kind)
    for number, fields in enumerate(lines, start=2):
        if not any(fields):
            continue
        if len(fields) != len(columns):
            raise UserError(
                f"{path}, line {number}: expected {len(columns)} columns, found {len(fields)}"
            )
        written = fields[file].strip()
        name = _name(path, number, files.find(written), written)
        if name is None:
            absent.append(f"'{written}' (line {number})")
            continue
        place = None if split is None else _split(path, number, fields[split])
        rows.append(Row(name, _label(path, number, fields[label]), place))
    if absent:
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        raise UserError(
            f"{path} names files that are not among the {kind.word} in {folder}: "
            f"{', '.join(absent[:SHOWN])}{more}"
        )
    _check_once(path, folder, rows)
    return rows


def _lines(path: Path, text: str, delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise UserError(f"data.labels: {path} is not a table: {error}") from None


def class_names(rows: list[Row]) -> tuple[str, ...]:
    """The labels there are: in the order of their values if all are whole numbers, else sorted.

    >>> class_names([Row("a", "10", None), Row("b", "9", None), Row("c", "9", None)])
    ('9', '10')
    """
    names = {row.label for row in rows}
    if not all(n.isascii() and n.isdecimal() for n in names):
        return tuple(sorted(names))
    significant = {n: n.lstrip("0") for n in names}  # of any length, which int() does not read
    return tuple(sorted(names, key=lambda n: (len(significant[n]), significant[n], n)))


def _column(path: Path, columns: list[str], names: tuple[str, ...]) -> int:
    found = next((columns.index(name) for name in names if name in columns), None)
    if found is None:
        raise UserError(
            f"{path} has no column '{names[0]}'{nearest(names[0], columns)}: its first line is "
            f"{', '.join(columns) or 'empty'}; expected a name such as {', '.join(names[:4])}"
        )
    return found


def _name(path: Path, number: int, found: list[str], written: str) -> str | None:
    if len(found) > 1:
        raise UserError(
            f"{path}, line {number}: expected the name that a file has, found '{written}', which "
            f"may be {' or '.join(found[:SHOWN])}"
        )
    return found[0] if found else None


def _label(path: Path, number: int, written: str) -> str:
    if not written.strip():
        raise UserError(f"{path}, line {number}: expected a label, found nothing")
    return written.strip()


def _split(path: Path, number: int, written: str) -> str:
    if (word := written.strip().lower()) not in SPLITS:
        raise UserError(
            f"{path}, line {number}: expected 'train', 'test' or 'validation', found '{written}'"
        )
    return SPLITS[word]


def _check_once(path: Path, folder: Path, rows: list[Row]) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        place = os.path.normpath(folder / row.name)  # a file may be named in several ways
        if place in seen:
            first = seen[place]
            also = "twice" if first.name == row.name else f"and '{row.name}', the same file"
            raise UserError(
                f"{path} names '{first.name}' {also}, as '{first.label}' and as '{row.label}': "
                "expected each file once"
            )
        seen[place] = row
    if not rows:
        raise UserError(f"{path} has no line after its first: expected a file and a label in each")
