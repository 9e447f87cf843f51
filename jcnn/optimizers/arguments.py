"""Arguments of Optax's functions as a file writes them: what is refused, what they stand for.

A count of steps may be an integer or a string ``"N epochs"``; a mask is ``"kernels"``, the weights
without biases, scales and slopes; which of them Muon takes as matrices is ``"kernels"`` too, or
``"convolutions"``, those with a window; a table with the key ``schedule`` is a schedule.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Literal, get_args, get_origin

from jcnn.errors import nearest, unknown
from jcnn.fields import LARGEST_REAL
from jcnn.optimizers.catalogue import full_name, refusal, schedules
from jcnn.optimizers.masks import kernels, matrices

_EPOCHS = re.compile(r"(\d+(?:\.\d+)?) epochs?")
_MUON_KEYS = ("muon_weight_dimension_numbers", "weight_dimension_numbers")
_LEAST_AXES = {"kernels": 2, "convolutions": 3}
_WHICH = " or ".join(f'"{word}"' for word in _LEAST_AXES)
_STEP_COUNT = re.compile(r"step|boundar|transition_begin|period|every")
SCALES = "boundaries_and_scales"
_MASKED = '"kernels", the weights without biases, scales and slopes; or true (all) or false (none)'
_MATRICES = '"kernels", each as a matrix with a column per feature; or "convolutions", those alone'
_LARGEST = 2**31  # of JAX's integers; seeds have a bit more
_DIGITS = len(str(_LARGEST))


class ArgumentError(ValueError):
    """A wrong argument; ``path`` leads to it from the table that holds it."""

    def __init__(self, path: tuple[str, ...], message: str) -> None:
        """Keep the path, so that the whole key can be named."""
        super().__init__(message)
        self.path = path


def find(path: tuple[str, ...], name: Any, known: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function of a name, or refuse the name at its place."""
    if not isinstance(name, str):
        raise ArgumentError(path, f"expected a name, found {_shown(name)}")
    if name not in known:
        raise ArgumentError(path, refusal(name) or unknown(name, known))
    return known[name]


def check_call(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    path: tuple[str, ...],
    beside: Collection[str] = (),
) -> None:
    """Compare arguments with the function's signature; look into schedules.

    Args:
        function: What is called.
        arguments: By their keys.
        path: Leads to the table that holds them.
        beside: Keys of that table that are no arguments, for the message.
    """
    parameters = _signature(function).parameters
    for key, value in arguments.items():
        if key not in parameters:
            hint = nearest(key, (*parameters, *beside))
            raise ArgumentError(
                (*path, key),
                f"unknown argument of {full_name(function)}{hint}; it takes "
                f"{', '.join(parameters) or 'none'}"
                + (f", and beside it there may be {', '.join(beside)}" if beside else ""),
            )
        if isinstance(value, str) and (words := _words(parameters[key].annotation)) is not None:
            _check_choice((*path, key), value, words)
            continue
        _check_value((*path, key), value, _default(parameters[key]))
        if parameters[key].annotation is int and isinstance(value, int) and value < 0:
            raise ArgumentError((*path, key), f"expected a value of at least 0, found {value}")
        if key.endswith("learning_rate"):
            _check_rate((*path, key), value)
    for key, parameter in parameters.items():
        if key not in arguments and parameter.default is parameter.empty:
            raise ArgumentError((*path, key), f"{full_name(function)} needs this argument")


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return a signature whose annotations are types, also where they were written as strings."""
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:  # some may name what is imported for type checkers alone
        return inspect.signature(function)


def _default(parameter: inspect.Parameter) -> Any:
    """Return a parameter's default; where there is none, one of the kind that it must be."""
    needed = parameter.default is parameter.empty
    return 0 if needed and parameter.annotation is int else parameter.default


def _words(annotation: Any) -> tuple[str, ...] | None:
    """Return the words that an argument may be, none where it may be any, None for no words."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return () if annotation is str or str in get_args(annotation) else None


def _check_choice(path: tuple[str, ...], word: str, words: tuple[str, ...]) -> None:
    if words and word not in words:
        raise ArgumentError(path, f"expected {' or '.join(words)}, found '{word}'")


def _check_value(path: tuple[str, ...], value: Any, default: Any) -> None:
    """Refuse a value that no argument of this name and default can have."""
    key = path[-1]
    if isinstance(value, Mapping):
        _check_is_schedule(path, value, default)
        _check_table(path, value)
    elif key == SCALES:
        raise ArgumentError(path, f"expected a table of steps and scales, found {_shown(value)}")
    elif isinstance(value, list | tuple):
        if _is_number(default):
            raise ArgumentError(path, f"expected a number, found {_shown(value)}")
        for entry in value:
            _check_value(path, entry, None)
    elif isinstance(value, str):
        _check_word(path, value)
    elif "mask" in key:
        if not isinstance(value, bool):
            raise ArgumentError(path, f'expected "kernels", found {_shown(value)}')
    elif key in _MUON_KEYS:
        raise ArgumentError(path, f"expected {_WHICH}, found {_shown(value)}")
    elif isinstance(value, bool) != isinstance(default, bool):
        expected = "true or false" if isinstance(default, bool) else "a number"
        raise ArgumentError(path, f"expected {expected}, found {_shown(value)}")
    elif not isinstance(value, int | float):
        raise ArgumentError(path, f"expected a number, found {_shown(value)}")
    elif isinstance(value, int) and abs(value) >= (limit := _LARGEST * (1 + ("seed" in key))):
        raise ArgumentError(path, f"expected less than {limit}, found {_shown(value)}")
    elif not math.isfinite(value):
        raise ArgumentError(path, f"expected a finite number, found {value}")
    elif abs(value) > LARGEST_REAL:
        raise ArgumentError(path, f"expected at most {LARGEST_REAL} (float32), found {value}")


def file_words(key: str) -> str:
    """Say what a file writes where Optax takes a tree or a function; nothing of other arguments.

    >>> file_words("mask")
    '"kernels", the weights without biases, scales and slopes; or true (all) or false (none)'
    """
    if key in _MUON_KEYS:
        return _MATRICES
    return _MASKED if key.endswith("mask") else ""


def _check_is_schedule(path: tuple[str, ...], table: Mapping[str, Any], default: Any) -> None:
    """Refuse a table where a single number is expected, and the table is no schedule."""
    one = _is_number(default) or path[-1].endswith(("learning_rate", "value"))
    if "schedule" not in table and one:
        raise ArgumentError(
            path, "expected a number or a schedule, found a table without the key 'schedule'"
        )


def _is_number(default: Any) -> bool:
    return isinstance(default, int | float) and not isinstance(default, bool)


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_rate(path: tuple[str, ...], value: Any) -> None:
    """Refuse a list, and a learning rate below zero, also within a schedule: it would climb."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if key == "schedules" and isinstance(entry, list | tuple):
                for position, part in enumerate(entry):
                    _check_rate((*path, key, str(position)), part)
            elif key.endswith("value"):
                _check_rate((*path, key), entry)
    elif isinstance(value, list | tuple):
        shown = _shown(value)
        raise ArgumentError(path, f"expected a number or a schedule, found {shown}")
    elif isinstance(value, int | float) and value < 0:
        raise ArgumentError(path, f"expected a value of at least 0, found {value}")


def _check_table(path: tuple[str, ...], table: Mapping[str, Any]) -> None:
    if path[-1] == SCALES:
        return _check_scales(path, table)
    if wrong := [key for key in table if not isinstance(key, str)]:
        raise ArgumentError((*path, str(wrong[0])), "expected a name as the key, found a number")
    if "schedule" not in table:
        for key, value in table.items():
            _check_value((*path, key), value, None)
        return
    name = table["schedule"]
    schedule = find((*path, "schedule"), name, schedules())
    check_call(schedule, {k: v for k, v in table.items() if k != "schedule"}, path)


def _check_scales(path: tuple[str, ...], table: Mapping[Any, Any]) -> None:
    """Refuse keys that are no steps, and values that are no factors of a learning rate."""
    for step, scale in table.items():
        key = str(step)
        is_step = key.isdecimal() and not isinstance(step, bool)
        if not (is_step or _EPOCHS.fullmatch(key)):
            raise ArgumentError((*path, key), 'expected a step or "N epochs" as the key')
        if is_step and (len(key) > _DIGITS or int(key) >= _LARGEST):
            raise ArgumentError((*path, _shown(key)), f"expected a step of less than {_LARGEST}")
        if isinstance(scale, Mapping):
            raise ArgumentError((*path, key), "expected a number, found a table")
        _check_value((*path, key), scale, 1.0)
        _check_rate((*path, key), scale)


def _check_word(path: tuple[str, ...], word: str) -> None:
    key = path[-1]
    if "dtype" in key:
        return
    if "mask" in key:
        if word != "kernels":
            raise ArgumentError(path, f"expected \"kernels\", found '{word}'")
    elif key in _MUON_KEYS:
        if word not in _LEAST_AXES:
            raise ArgumentError(path, f"expected {_WHICH}, found '{word}'")
    elif not _STEP_COUNT.search(key):
        raise ArgumentError(path, f"expected a number, found '{word}'")
    elif not _EPOCHS.fullmatch(word):
        raise ArgumentError(path, f"expected a number of steps or \"N epochs\", found '{word}'")


def resolve(key: str, value: Any, steps_per_epoch: float) -> Any:
    """Turn what a file can hold into what Optax takes."""
    if isinstance(value, Mapping):
        resolved = {k: resolve(k, v, steps_per_epoch) for k, v in value.items() if k != "schedule"}
        if "schedule" in value:
            return schedules()[value["schedule"]](**resolved)
        return _by_step(resolved, steps_per_epoch) if key == SCALES else resolved
    if isinstance(value, list | tuple):
        return [resolve(key, entry, steps_per_epoch) for entry in value]
    if isinstance(value, str) and "mask" in key:
        return kernels
    if isinstance(value, str) and key in _MUON_KEYS:
        return partial(matrices, least_axes=_LEAST_AXES[value])
    if isinstance(value, str) and _STEP_COUNT.search(key):
        return _steps(value, steps_per_epoch)
    return value


def _by_step(scales: Mapping[Any, float], steps_per_epoch: float) -> dict[int, float]:
    """Read the boundaries of scales; where two are the same step, both scales are in force.

    >>> _by_step({"30": 0.5, "2 epochs": 0.1, "1 epochs": 0.5}, 30)
    {30: 0.25, 60: 0.1}
    """
    found: dict[int, float] = {}
    for boundary, scale in scales.items():
        step = _steps(str(boundary), steps_per_epoch)
        found[step] = found.get(step, 1.0) * scale
    return found


def _steps(text: str, steps_per_epoch: float) -> int:
    """Read a number of steps; some part of an epoch is one at least.

    >>> _steps("1.5 epochs", 100), _steps("0.1 epochs", 3), _steps("0 epochs", 3), _steps("30", 100)
    (150, 1, 0, 30)
    """
    match = _EPOCHS.fullmatch(text)
    if match is None:
        return int(text)
    epochs = float(match[1])
    return max(round(epochs * steps_per_epoch), 1 if epochs > 0 else 0)
