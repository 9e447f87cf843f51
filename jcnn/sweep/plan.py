"""What a sweep varies: values of keys in a grid, drawn at random, or proposed by a search."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import BaseModel, Field

from jcnn.config import parse_override
from jcnn.errors import UserError
from jcnn.fields import Count, Table
from jcnn.sweep.reals import is_real

Values = Mapping[str, object]
_MOST = 10_000  # more are a mistake, and take hours to be listed alone
_LONGEST_NAME = 120
_LARGEST = 1e300
_DRAWS = 20  # for each that is wanted, since some are drawn twice


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``: integers where both are, by ratios where they span ten.

    >>> Range(0.001, 0.1).logarithmic, Range(0.1, 0.5).logarithmic
    (True, False)
    """

    low: float
    high: float

    @property
    def whole(self) -> bool:
        """Whether its numbers are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def logarithmic(self) -> bool:
        """Whether equal ratios, not equal differences, are equally likely."""
        return self.low > 0 and self.high / self.low >= 10

    def draw(self, generator: random.Random) -> float:
        """Draw one number; integers from half below to half above, so that the ends are as likely.

        >>> sorted({Range(1, 3).draw(random.Random(seed)) for seed in range(100)})
        [1, 2, 3]
        """
        half = 0.5 if self.whole else 0.0
        low, high = self.low - half, self.high + half
        if self.logarithmic:
            return self.within(math.exp(generator.uniform(math.log(low), math.log(high))))
        return self.within(generator.uniform(low, high))

    def within(self, value: float) -> float:
        """Round to an integer, or to four digits that do not leave the range.

        >>> Range(0.12345, 0.12349).within(0.12346), Range(1, 3).within(3.5)
        (0.12349, 3)
        """
        value = round(value) if self.whole else float(f"{value:.4g}")
        return min(max(value, self.low), self.high)

    def real(self) -> Range:
        """The same range, of numbers that are no integers.

        >>> Range(0, 1).real()
        Range(low=0.0, high=1.0)
        """
        return Range(float(self.low), float(self.high))


Choices = Mapping[str, Sequence[object] | Range]


def typed(choices: Choices, experiment: BaseModel) -> Choices:
    """Let ranges of keys that take real numbers be of such, whatever their ends are."""
    return {
        key: values.real() if isinstance(values, Range) and is_real(experiment, key) else values
        for key, values in choices.items()
    }


class Plan(Table):
    """``[sweep]``: what ``jcnn sweep`` varies where its arguments don't say.

    Attributes:
        over: By dotted key the values, or ``"LOW..HIGH"``.
        seeds: Seeds 0 to this less one.
        method: "grid" takes every combination, "random" draws, "search" lets Optuna propose.
        count: Combinations of "random" and "search".
    """

    over: dict[str, Annotated[list[Any], Field(min_length=1)] | str] = Field(default={})
    seeds: Count = 1
    method: Literal["grid", "random", "search"] = "grid"
    count: Count = 10

    def choices(self) -> Choices:
        """Return the values of every key."""
        return {
            key: _range(f"sweep.over.{key}", value) if isinstance(value, str) else value
            for key, value in self.over.items()
        }


def check_count(what: str, count: int) -> None:
    """Refuse more seeds, or more combinations, than anybody trains."""
    if count > _MOST:
        raise UserError(f"expected {_MOST:,} {what} of a sweep at most, found {count:,}")


def check_keys(choices: Choices, overrides: Values) -> None:
    """Refuse keys whose values would be lost, since another key gives them."""
    for key in choices:
        if key in ("seed", "name"):
            raise UserError(f"--over {key}: expected a key other than seed and name; see --seeds")
    if "seed" in overrides:
        raise UserError("--set seed: expected a key other than seed; see --seeds")
    earlier = [("--set", key) for key in overrides]
    for later in choices:
        for option, key in earlier:
            if f"{key}.".startswith(f"{later}."):
                raise UserError(
                    f"{option} {key}: expected a key that --over does not replace, found "
                    f"--over {later}"
                )
        earlier.append(("--over", later))


def parse_choices(texts: Iterable[str]) -> Choices:
    """Read every ``--over``.

    Raises:
        UserError: One is neither values nor a range, or a key is there twice.
    """
    choices: dict[str, Sequence[object] | Range] = {}
    for key, values in map(parse_over, texts):
        if key in choices:
            raise UserError(f"--over {key}: expected one --over with all of its values, found two")
        choices[key] = values
    return choices


def parse_over(text: str) -> tuple[str, Sequence[object] | Range]:
    """Read ``--over``: a key and its values, or a range.

    >>> parse_over("training.batch_size=32,64"), parse_over("optimizer.learning_rate=1e-3..1e-1")
    (('training.batch_size', [32, 64]), ('optimizer.learning_rate', Range(low=0.001, high=0.1)))

    Raises:
        UserError: It is neither.
    """
    key, equals, written = text.partition("=")
    if not equals or not key.strip() or not written.strip():
        raise UserError(f"--over {text}: expected KEY=V1,V2,… or KEY=LOW..HIGH")
    values = [*_split(written)]
    if any(map(_is_meant_as_range, values)):
        return key.strip(), _range(f"--over {key}", written)
    return key.strip(), [parse_override(f"{key}={value}")[1] for value in values]


def _is_meant_as_range(value: str) -> bool:
    """Whether it has a number before or after two dots, and is neither quoted nor a path.

    >>> [*map(_is_meant_as_range, ("1..2", "1..", "a..2", "../a", "..", "'1..2'"))]
    [True, True, True, False, False, False]
    """
    if set(value) & set("\"'[{/\\"):
        return False
    _, *others = ends = value.split("..")
    return bool(others) and any(isinstance(_end(end), int | float) for end in ends)


def _end(written: str) -> object:
    return parse_override(f"x={written}")[1]


def _split(written: str) -> Iterator[str]:
    """Split at commas outside brackets and quotes: values may be tables, lists and strings."""
    depth, quoted, start = 0, "", 0
    for place, character in enumerate(written):
        if quoted:
            quoted = "" if character == quoted else quoted
        elif character in "\"'":
            quoted = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and not depth:
            yield written[start:place]
            start = place + 1
    yield written[start:]


def _range(where: str, written: str) -> Range:
    ends = [_end(end) for end in written.split("..")]
    numbers = [end for end in ends if _is_number(end)]
    if len(ends) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise UserError(f"{where}: expected values, or LOW..HIGH rising, found '{written}'")
    return Range(numbers[0], numbers[1])


def _is_number(end: object) -> TypeGuard[int | float]:
    """Whether it is one, and neither infinite nor so large that a difference would be."""
    return isinstance(end, int | float) and not isinstance(end, bool) and abs(end) < _LARGEST


def combinations(choices: Choices) -> list[dict[str, object]]:
    """Return the grid: every combination once, the last key running fastest.

    >>> combinations({"a": [1, 2], "b": [3]})
    [{'a': 1, 'b': 3}, {'a': 2, 'b': 3}]
    """
    for key, values in choices.items():
        if isinstance(values, Range):
            raise UserError(
                f"--over {key}: a range has no end of values; expected --random N or --search N "
                "with it, or values"
            )
    listed = [values for values in choices.values() if not isinstance(values, Range)]
    check_count("combinations", math.prod(map(len, listed)))
    grid = [dict(zip(choices, values, strict=True)) for values in product(*listed)]
    return list({name(one): one for one in grid}.values())


def drawn(choices: Choices, count: int) -> list[dict[str, object]]:
    """Draw so many combinations, the same ones each time; fewer where there are no more.

    >>> drawn({"a": Range(1, 5)}, 2) == drawn({"a": Range(1, 5)}, 2)
    True
    """
    generator = random.Random(0)
    found: dict[str, dict[str, object]] = {}
    for _ in range(_DRAWS * count):
        if len(found) == count:
            break
        one = {
            key: values.draw(generator) if isinstance(values, Range) else generator.choice(values)
            for key, values in choices.items()
        }
        found.setdefault(name(one), one)
    return list(found.values())


def name(values: Values) -> str:
    """Name a combination, as a folder can be named.

    >>> name({"optimizer.learning_rate": 0.1, "training.batch_size": 32})
    'optimizer.learning_rate=0.1,training.batch_size=32'
    """
    written = ",".join(f"{key}={value}" for key, value in values.items())
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "_", written)
    if safe == written and len(safe) <= _LONGEST_NAME:
        return safe
    digest = hashlib.sha256(written.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{safe[:_LONGEST_NAME]}-{digest}"
