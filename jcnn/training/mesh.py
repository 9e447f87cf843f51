"""The devices that an experiment asks for, and what of it they can share."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from jcnn.axes import times
from jcnn.config import Experiment
from jcnn.errors import UserError, counted
from jcnn.fields import Shape
from jcnn.layers import (
    Dense,
    Dropout,
    Flatten,
    Gelu,
    Layer,
    LeakyRelu,
    Relu,
    Reshape,
    Residual,
    ScaledTanh,
    Shards,
    Sigmoid,
    Tanh,
)
from jcnn.training.layout import AXES, SINGLE, Layout

# What is filled with the image's own edge needs an axis that is whole: see `jcnn.ops.spatial`.
_MIRRORED = ("REFLECT", "REPLICATE")
# Between dense layers by columns and by rows each feature is changed by itself.
_BY_FEATURE = (Relu, LeakyRelu, Sigmoid, Tanh, ScaledTanh, Gelu, Dropout)


def layout_of(experiment: Experiment, devices: Sequence[Any] | None = None) -> Layout:
    """Return how an experiment lies on devices: on those that there are, where none are given.

    Args:
        experiment: Its mesh may leave some of the devices that there are.
        devices: Those of the mesh; all of them.

    Raises:
        UserError: Its mesh doesn't fit the devices, the batch, the layers or the images.
    """
    many = jax.process_count() > 1
    if experiment.mesh is None and not many:
        return SINGLE
    there = jax.device_count() if devices is None else len(devices)
    sizes = _sizes(_asked(experiment), there, whole=many or devices is not None)
    if prod(sizes.values()) == 1:
        return SINGLE
    parts, size = sizes["data"] * sizes["model"], experiment.training.batch_size
    if size % parts:
        split = f"{sizes['data']} parts (mesh.data)"
        if sizes["model"] > 1:
            split += f" times {sizes['model']} (mesh.model)"
        raise UserError(
            f"training.batch_size is {size}, and the mesh splits each batch into {split}: expected "
            f"a multiple of {parts}, such as {max(parts, size // parts * parts)}"
        )
    shards = _shards(experiment, sizes)
    return Layout(_mesh(tuple(sizes.values()), devices), shards)


def batch_parts(experiment: Experiment, count: int) -> int:
    """Return into how many parts a batch is split on ``count`` devices, none of which is there.

    Raises:
        UserError: The experiment's mesh doesn't fill so many, or fit the layers or the images.
    """
    sizes = _sizes(_asked(experiment), count, whole=True)
    _shards(experiment, sizes)
    return sizes["data"] * sizes["model"]


def _asked(experiment: Experiment) -> dict[str, int]:
    asked = experiment.mesh
    return asked.model_dump() if asked else {"data": -1, "model": 1, "space": 1}


def _shards(experiment: Experiment, sizes: dict[str, int]) -> Shards:
    pairs = _dense_pairs(experiment, sizes["model"]) if sizes["model"] > 1 else ()
    batch = ("data", "model") if sizes["model"] > 1 else ("data",)
    model = "model" if sizes["model"] > 1 else None
    if sizes["space"] == 1:
        return Shards(batch, model, pairs)
    split = _split_layers(experiment, sizes["space"])
    return Shards(batch, model, pairs, space="space", split=split)


def _mesh(sizes: tuple[int, ...], devices: Sequence[Any] | None) -> Mesh:
    """Arrange devices; those that are given, which may be of several slices, as they are given."""
    types, count = (AxisType.Auto,) * 3, prod(sizes)
    if devices is None:
        return jax.make_mesh(sizes, AXES, devices=jax.devices()[:count], axis_types=types)
    return Mesh(np.asarray(devices).reshape(sizes), AXES, axis_types=types)


def _sizes(asked: dict[str, int], there: int, *, whole: bool) -> dict[str, int]:
    """Put a number in the place of -1; where devices are taken as a whole, leave none of them."""
    given = prod(size for size in asked.values() if size > 0)
    written = " x ".join(f"{name} {size}" for name, size in asked.items() if size != 1)
    if there % given or (whole and -1 not in asked.values() and given != there):
        raise UserError(
            f"mesh is {written or 'one device'}, and there {'is' if there == 1 else 'are'} "
            f"{counted(there, 'device')}: expected a mesh "
            + (f"of {counted(there, 'device')}" if whole else "whose size divides their number")
        )
    return {name: there // given if size == -1 else size for name, size in asked.items()}


def _split_layers(experiment: Experiment, parts: int) -> tuple[str, ...]:
    """Name the layers before the first that needs whole images.

    Raises:
        UserError: One has rows that can't be split evenly, or biases or padding that can't.
    """
    model, names = experiment.model, []
    if len(experiment.input_shape) < 2:
        raise UserError(f"mesh.space is {parts}, and the examples are no images: expected 1")
    for name, layer, before, after in model.walk(experiment.input_shape):
        if isinstance(layer, (Flatten, Reshape, Dense)):
            break
        _check_rows(name, layer, before, after, parts)
        names.append(name)
    if not names:
        raise UserError(f"mesh.space is {parts}, and the first layer needs whole images")
    return tuple(names)


def _check_rows(name: str, layer: Layer, before: Shape, after: Shape, parts: int) -> None:
    for shape, what in ((before, "input"), (after, "output")):
        if len(shape) > 1 and shape[0] % parts:
            raise UserError(
                f"mesh.space is {parts}, and the {what} of layer '{name}' ({layer.type}) is "
                f"{times(shape)}: expected a first axis that {parts} divides"
            )
    if getattr(layer, "bias", None) == "position":
        raise UserError(
            f"mesh.space is {parts}, and layer '{name}' ({layer.type}) has a bias per position: "
            "expected mesh.space = 1"
        )
    for key in ("padding", "mode"):
        fill = getattr(layer, key, None)
        if isinstance(fill, str) and fill.upper() in _MIRRORED:
            raise UserError(
                f"mesh.space is {parts}, and layer '{name}' ({layer.type}) has {key} = "
                f'"{fill}": expected mesh.space = 1, or padding of zeros or "circular"'
            )
    if isinstance(layer, Residual):
        for path in layer.branches().values():
            for inner in path.walk(before):
                _check_rows(*inner, parts)


def _dense_pairs(experiment: Experiment, parts: int) -> tuple[tuple[str, str], ...]:
    """Name dense layers that follow each other: columns, what is between, rows.

    Raises:
        UserError: There are none, or one's features can't be split.
    """
    found: list[tuple[str, str]] = []
    begun: list[tuple[str, str]] = []
    for name, layer in zip(experiment.model.names, experiment.layers, strict=True):
        if isinstance(layer, Dense) and begun:
            found += [*begun, (name, "rows")]
            begun = []
        elif isinstance(layer, Dense):
            begun = [(name, "columns")]
            features = layer.features
            if features % parts:
                begun = []
        elif begun:
            begun = [*begun, (name, "between")] if isinstance(layer, _BY_FEATURE) else []
    if not found:
        raise UserError(
            f"mesh.model is {parts}, and no two dense layers follow each other, the first with a "
            f"multiple of {parts} features and nothing but activations and dropout between: "
            "expected mesh.model = 1"
        )
    return tuple(found)
