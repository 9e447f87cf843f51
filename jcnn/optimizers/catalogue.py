"""Which optimizers, transformations and schedules there are: Optax's, and jcnn's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import optax

from jcnn.optimizers.diagonal_levenberg_marquardt import diagonal_levenberg_marquardt
from jcnn.optimizers.fixed_norms import fixed_norms

_ALONG_A_LINE = "needs the loss along a line, expected one that needs its gradient alone"
_PER_EXAMPLE = "needs each example's own gradient, found their mean, which a training step has"
_FUNCTION = "takes a function, which a file can't write: expected one of numbers and words"
_TWO_POINTS = (
    "evaluates at another point than it learns at, and a run keeps one: expected "
    "training.average_decay, which evaluates an average, beside"
)
# What of Optax a training step can't serve, and why.
_REFUSED = {
    "lbfgs": _ALONG_A_LINE,
    "scale_by_backtracking_linesearch": _ALONG_A_LINE,
    "scale_by_zoom_linesearch": _ALONG_A_LINE,
    "polyak_sgd": "has no learning rate, expected 'momo', which bounds such a step by one",
    "sophia": "needs the loss as a function, expected 'diagonal_levenberg_marquardt', to which "
    "training gives the curvature",
    "dpsgd": _PER_EXAMPLE,
    "differentially_private_aggregate": _PER_EXAMPLE,
    **dict.fromkeys(("measure_with_ema", "snapshot"), _FUNCTION),
    **dict.fromkeys(("stateless", "stateless_with_tree_map"), _FUNCTION),
    "schedule_free": f"{_TWO_POINTS} its base",
    "schedule_free_adamw": f"{_TWO_POINTS} 'adamw'",
    "schedule_free_sgd": f"{_TWO_POINTS} 'sgd'",
}


def refusal(name: str) -> str | None:
    """Say why what Optax has of this name is not offered; None where it has none such.

    >>> refusal("dpsgd")
    "dpsgd needs each example's own gradient, found their mean, which a training step has"
    """
    if name in _REFUSED:
        return f"{name} {_REFUSED[name]}"
    if name in _transformations() and _takes_another(_transformations()[name]):
        return f"{name} is made of other transformations, expected these in before or after"
    return None


def _takes_another(function: Callable[..., Any]) -> bool:
    """Whether it needs a transformation, or what makes one: nothing that a file could write."""
    return any(
        parameter.default is parameter.empty and "GradientTransf" in str(parameter.annotation)
        for parameter in inspect.signature(function).parameters.values()
    )


@cache
def optimizers() -> Mapping[str, Callable[..., Any]]:
    """Optimizers by name: what takes a learning rate and gives a transformation.

    Optax's ``scale_by_…`` are parts of optimizers, of which some climb.
    """
    return {
        name: function
        for name, function in _transformations().items()
        if "learning_rate" in inspect.signature(function).parameters
        and not name.startswith("scale_by_")
        and refusal(name) is None
    }


@cache
def transformations() -> Mapping[str, Callable[..., Any]]:
    """Further transformations of Optax by name: clipping, weight decay and the like."""
    return {
        name: function
        for name, function in _transformations().items()
        if name not in optimizers() and refusal(name) is None
    }


@cache
def schedules() -> Mapping[str, Callable[..., Any]]:
    """Schedules of Optax by name."""
    return {
        name: function
        for name, function in inspect.getmembers(optax.schedules, inspect.isfunction)
        if not name.startswith(("_", "inject"))
    }


@cache
def _transformations() -> Mapping[str, Callable[..., Any]]:
    found = {}
    for module in (optax.contrib, optax):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("_"):  # what Optax keeps for names that moved
                continue
            if "GradientTransformation" in str(inspect.signature(function).return_annotation):
                found[name] = function
    return found | {own.__name__: own for own in (diagonal_levenberg_marquardt, fixed_norms)}


def full_name(function: Callable[..., Any]) -> str:
    """Name a function as its users do.

    >>> full_name(optax.sgd)
    'optax.sgd'
    """
    package = function.__module__.partition(".")[0]
    return f"{package}.{function.__name__}"
