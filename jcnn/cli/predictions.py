"""What ``jcnn predict`` is given, and how it writes what it found."""

from __future__ import annotations

import contextlib
import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jcnn.cli.options import print_json, say
from jcnn.remains import temporary_folder

if TYPE_CHECKING:
    from jcnn.training import Prediction

STANDARD_INPUT = Path("-")


@contextlib.contextmanager
def given(files: Sequence[Path]) -> Iterator[tuple[list[Path], Path]]:
    """Replace ``-`` by a file with what standard input holds, and folders by the files in them.

    Returns:
        The files, and the one that stands for standard input, which goes with the context.
    """
    with temporary_folder() as folder:
        held = folder / "standard-input"
        yield [path for file in files for path in _expanded(file, held)], held


def as_given(prediction: Prediction, standard_input: Path) -> Prediction:
    """Name standard input as it was named, and a folder as one that holds nothing to predict."""
    path = str(standard_input)
    if prediction.error and Path(prediction.file).is_dir():
        return prediction._replace(error=f"{prediction.file} holds no image and no recording")
    if prediction.file != path:
        return prediction
    error = prediction.error and prediction.error.replace(path, str(STANDARD_INPUT))
    return prediction._replace(file=str(STANDARD_INPUT), error=error)


def _expanded(file: Path, held: Path) -> list[Path]:
    if file == STANDARD_INPUT:
        if not held.exists():  # a second - is the same file
            held.write_bytes(sys.stdin.buffer.read())
        return [held]
    if not file.is_dir():
        return [file]
    from jcnn.data.folder_scan import walk
    from jcnn.data.image import ENDINGS as IMAGES
    from jcnn.data.sound import ENDINGS as SOUNDS

    # An empty one is passed on, and named among what could not be read.
    found = sorted(path for path, _ in walk(file, IMAGES + SOUNDS) if path.is_file())
    return found or [file]


def best(probabilities: Mapping[str, float], count: int) -> list[tuple[str, float]]:
    """Return the most probable classes, the first of equal ones first.

    >>> best({"a": 0.2, "b": 0.7, "c": 0.1}, 2)
    [('b', 0.7), ('a', 0.2)]
    """
    return sorted(probabilities.items(), key=lambda entry: -entry[1])[:count]


def line(file: str, probabilities: Mapping[str, float], count: int) -> str:
    """Write a file and its most probable classes.

    >>> line("3.png", {"a": 0.25, "b": 0.75}, 1)
    '3.png  b  75.00%'
    """
    return "  ".join([file, *(f"{name}  {p:.2%}" for name, p in best(probabilities, count))])


class Table:
    """CSV on standard output, a row per file: ``file,class,probability,…``."""

    def __init__(self, count: int) -> None:
        """Write the header."""
        self._count = count
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        numbers = ["", *range(2, count + 1)]
        heads = [f"{head}{k}" for k in numbers for head in ("class_", "probability_")]
        heads[:2] = ["class", "probability"]
        self._writer.writerow(["file", *heads])

    def write(self, file: str, probabilities: Mapping[str, float]) -> None:
        """Write a row."""
        entries = best(probabilities, self._count)
        self._writer.writerow([file, *(part for name, p in entries for part in (name, f"{p:.6f}"))])


class Output:
    """Predictions, printed one by one (or as one JSON object), and what could not be read."""

    def __init__(self, count: int, *, as_csv: bool, as_json: bool) -> None:
        """Begin to print the ``count`` most probable classes of each file."""
        self._count, self._table = count, Table(count) if as_csv else None
        self._results: list[dict[str, Any]] | None = [] if as_json else None
        self._errors: list[str] = []
        self._files = 0

    def add(self, prediction: Prediction) -> None:
        """Print a prediction, or keep what there is to say of it."""
        self._files += 1
        if self._results is not None:
            self._results.append(prediction.to_dict())
        if prediction.error is not None:
            self._errors.append(prediction.error)
        elif self._table is not None:
            self._table.write(prediction.file, prediction.probabilities)
        elif self._results is None:
            file = prediction.file.replace("\n", "\\n")
            say(line(file, prediction.probabilities, self._count))

    def end(self) -> bool:
        """Print the rest; return whether every file could be read."""
        if self._results is not None:
            print_json({"predictions": self._results})
        for message in self._errors:
            say(f"jcnn: {message}", error=True)
        if self._errors:
            say(f"jcnn: {len(self._errors)} of {self._files} files could not be read", error=True)
        return not self._errors
