"""Any optimizer, schedule and transformation of Optax, by name and arguments.

Optax's own signatures say what may be given, so every one of its optimizers is at hand::

    [optimizer]
    name = "adamw"
    learning_rate = {schedule = "cosine_decay_schedule", init_value = 0.1, decay_steps = "9 epochs"}
    weight_decay = 1e-4
    mask = "kernels"
    before = [{name = "clip_by_global_norm", max_norm = 1.0}]

A count of steps may be an integer or a string ``"N epochs"``; a mask is ``"kernels"``, the weights
without biases, scales and slopes. What stands ``before`` the optimizer may name the parameters
that it is for, so that some learn faster than others::

    before = [{name = "scale", step_size = 64.0, only = ["offset"]}]

One optimizer is jcnn's own, ``"diagonal_levenberg_marquardt"``: see :mod:`jcnn.second_order`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax
from pydantic import BaseModel, ConfigDict, Field, model_validator

from jcnn.errors import nearest
from jcnn.second_order import diagonal_levenberg_marquardt
from jcnn.validation import unknown

_EPOCHS = re.compile(r"(\d+(?:\.\d+)?) epochs?")
_STEP_COUNT = re.compile(r"step|boundar|transition_begin|period|every")
# They need more than gradients and parameters: the loss itself, or its value along a line.
_NEED_THE_LOSS = {"lbfgs", "polyak_sgd"}


class ArgumentError(ValueError):
    """A wrong argument; ``path`` leads to it from the table that holds it."""

    def __init__(self, path: tuple[str, ...], message: str) -> None:
        """Keep the path, so that the whole key can be named."""
        super().__init__(message)
        self.path = path


class Transformation(BaseModel):
    """A gradient transformation of Optax: its name, and its arguments as further keys."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    def _known(self) -> Mapping[str, Callable[..., Any]]:
        return transformations()

    @property
    def arguments(self) -> dict[str, Any]:
        """The further keys."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _check(self) -> Transformation:
        function = _find(("name",), self.name, self._known())
        _check_call(function, self.arguments, ())
        self._try()
        return self

    def _try(self) -> None:
        """Build and apply it without computing, so that what Optax refuses is refused now."""
        try:
            built = self.build(steps_per_epoch=1000)
            params = {"layer": {"w": jax.ShapeDtypeStruct((2, 2), jnp.float32)}}
            jax.eval_shape(lambda p: built.update(p, built.init(p), p, curvature=lambda: p), params)
        except Exception as error:
            reason = str(error).split("\n")[0].rstrip(".")
            name = _full_name(self._known()[self.name])
            raise ArgumentError((), f"{name} refuses its arguments: {reason}") from None

    def build(self, steps_per_epoch: int) -> optax.GradientTransformationExtraArgs:
        """Call Optax; ``"N epochs"`` becomes ``N · steps_per_epoch``."""
        arguments = {k: _resolve(k, v, steps_per_epoch) for k, v in self.arguments.items()}
        return _with_standard_promotion(self._known()[self.name](**arguments))


class Preparation(Transformation):
    """A transformation before the optimizer, of all gradients or of some parameters' alone.

    Attributes:
        only: Names of the parameters whose gradients it changes: "w", "b", "scale", "offset" or
            "slope"; all of them where not given.
    """

    only: (
        Annotated[tuple[Literal["w", "b", "scale", "offset", "slope"], ...], Field(min_length=1)]
        | None
    ) = None

    def build(self, steps_per_epoch: int) -> optax.GradientTransformationExtraArgs:
        """See :meth:`Transformation.build`."""
        transformation = super().build(steps_per_epoch)
        if self.only is None:
            return transformation
        return optax.masked(transformation, partial(_named, names=self.only))


class Optimizer(Transformation):
    """An optimizer of Optax, after the transformations ``before`` it, in their order.

    >>> optimizer = Optimizer(name="sgd", learning_rate=0.1, momentum=0.9)
    >>> type(optimizer.build(steps_per_epoch=22)).__name__
    'GradientTransformationExtraArgs'
    """

    before: tuple[Preparation, ...] = ()

    def _known(self) -> Mapping[str, Callable[..., Any]]:
        return optimizers()

    def build(self, steps_per_epoch: int) -> optax.GradientTransformationExtraArgs:
        """See :meth:`Transformation.build`."""
        optimizer = super().build(steps_per_epoch)
        if not self.before:
            return optimizer
        return optax.chain(*(t.build(steps_per_epoch) for t in self.before), optimizer)


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
            if "GradientTransformation" in str(inspect.signature(function).return_annotation):
                found[name] = function
    found[diagonal_levenberg_marquardt.__name__] = diagonal_levenberg_marquardt
    return found


def _full_name(function: Callable[..., Any]) -> str:
    package = function.__module__.partition(".")[0]
    return f"{package}.{function.__name__}"


def _with_standard_promotion(
    transformation: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Let Optax mix step counts with floats also where the program around it is strict."""
    extended = optax.with_extra_args_support(transformation)

    def init(params: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return extended.init(params)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        with jax.numpy_dtype_promotion("standard"):
            return extended.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(init, update)


def _find(path: tuple[str, ...], name: str, known: Mapping[str, Any]) -> Callable[..., Any]:
    if name not in known:
        raise ArgumentError(path, unknown(name, known))
    return known[name]


def _check_call(
    function: Callable[..., Any], arguments: Mapping[str, Any], path: tuple[str, ...]
) -> None:
    """Compare arguments with the function's signature; look into schedules."""
    parameters = inspect.signature(function).parameters
    for key, value in arguments.items():
        if key not in parameters:
            raise ArgumentError(
                (*path, key),
                f"unknown argument of {_full_name(function)}{nearest(key, parameters)}",
            )
        _check_value((*path, key), value, parameters[key].default)
    for key, parameter in parameters.items():
        if key not in arguments and parameter.default is parameter.empty:
            raise ArgumentError((*path, key), f"{_full_name(function)} needs this argument")


def _check_value(path: tuple[str, ...], value: Any, default: Any) -> None:
    """Refuse a value that no argument of this name and default can have."""
    key = path[-1]
    if isinstance(value, Mapping):
        _check_table(path, value)
    elif isinstance(value, list | tuple):
        for entry in value:
            _check_value(path, entry, None)
    elif isinstance(value, str):
        _check_word(path, value)
    elif "mask" in key:
        if not isinstance(value, bool):
            raise ArgumentError(path, f'expected "kernels", found {value}')
    elif isinstance(value, bool) != isinstance(default, bool):
        expected = "true or false" if isinstance(default, bool) else "a number"
        raise ArgumentError(path, f"expected {expected}, found {str(value).lower()}")


def _check_table(path: tuple[str, ...], table: Mapping[str, Any]) -> None:
    if "schedule" not in table:
        for key, value in table.items():
            if "boundaries" not in path[-1]:
                _check_value((*path, key), value, None)
            elif not (key.isdecimal() or _EPOCHS.fullmatch(key)):
                raise ArgumentError((*path, key), 'expected a step or "N epochs" as the key')
        return
    name = table["schedule"]
    schedule = _find((*path, "schedule"), name, schedules())
    _check_call(schedule, {k: v for k, v in table.items() if k != "schedule"}, path)


def _check_word(path: tuple[str, ...], word: str) -> None:
    key = path[-1]
    if "dtype" in key:
        return
    if "mask" in key:
        if word != "kernels":
            raise ArgumentError(path, f"expected \"kernels\", found '{word}'")
    elif not _STEP_COUNT.search(key):
        raise ArgumentError(path, f"expected a number, found '{word}'")
    elif not _EPOCHS.fullmatch(word):
        raise ArgumentError(path, f"expected a number of steps or \"N epochs\", found '{word}'")


def _resolve(key: str, value: Any, steps_per_epoch: int) -> Any:
    """Turn what a file can hold into what Optax takes."""
    if isinstance(value, Mapping):
        resolved = {k: _resolve(k, v, steps_per_epoch) for k, v in value.items() if k != "schedule"}
        if "schedule" in value:
            return schedules()[value["schedule"]](**resolved)
        if "boundaries" in key:
            return {_steps(k, steps_per_epoch): v for k, v in resolved.items()}
        return resolved
    if isinstance(value, list | tuple):
        return [_resolve(key, entry, steps_per_epoch) for entry in value]
    if isinstance(value, str) and "mask" in key:
        return kernels
    if isinstance(value, str) and "dtype" not in key:
        return _steps(value, steps_per_epoch)
    return value


def _steps(text: str, steps_per_epoch: int) -> int:
    """Read a number of steps.

    >>> _steps("1.5 epochs", 100), _steps("30", 100)
    (150, 30)
    """
    match = _EPOCHS.fullmatch(text)
    return round(float(match[1]) * steps_per_epoch) if match else int(text)


def kernels(params: Any) -> Any:
    """Mask of the parameters named ``w``.

    >>> kernels({"dense_1": {"w": 0.5, "b": 0.0}})
    {'dense_1': {'b': False, 'w': True}}
    """
    return _named(params, ("w",))


def _named(params: Any, names: tuple[str, ...]) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in names, params)
