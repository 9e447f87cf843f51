"""Which optimizers, transformations and schedules there are: Optax's, and jcnn's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import optax

from jcnn.optimizers.diagonal_levenberg_marquardt import diagonal_levenberg_marquardt
from jcnn.optimizers.fixed_norms import fixed_norms

# They need more than gradients and parameters: the loss itself, or its value along a line.
_NEED_THE_LOSS = {"lbfgs", "polyak_sgd"}


@cache
def optimizers() -> Mapping[str, Callable[..., Any]]:
    """Optimizers by name: what takes a learning rate and gives a transformation."""
    return {
        name: function
        for name, function in _transformations().items()
        if "learning_rate" in inspect.signature(function).parameters and name not in _NEED_THE_LOSS
    }


@cache
def transformations() -> Mapping[str, Callable[..., Any]]:
    """Further transformations of Optax by name: clipping, weight decay and the like."""
    return {n: f for n, f in _transformations().items() if n not in optimizers()}


@cache
def schedules() -> Mapping[str, Callable[..., Any]]:
    """Schedules of Optax by name."""
    return {
        name: function
        for name, function in inspect.getmembers(optax.schedules, inspect.isfunction)
        if not name.startswith(("_", "inject"))
    }


def _transformations() -> dict[str, Callable[..., Any]]:
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
