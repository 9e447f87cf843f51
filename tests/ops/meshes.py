"""Meshes of the tests' devices, and what the devices of a compiled program send each other."""

from __future__ import annotations

import re
from math import prod
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

SENT = re.compile(
    r"= (.+?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)


def mesh_of(kind: AxisType = AxisType.Auto, **sizes: int) -> Mesh:
    devices = jax.devices("cpu")
    assert len(devices) >= prod(sizes.values()), "tests/conftest.py asks for four devices"
    return jax.make_mesh(
        tuple(sizes.values()), tuple(sizes), (kind,) * len(sizes),
        devices=devices[: prod(sizes.values())],
    )  # fmt: skip


def placed(mesh: Mesh, arrays: Any, specs: list[PartitionSpec]) -> list[jax.Array]:
    pairs = zip(arrays, specs, strict=True)
    return [jax.device_put(a, NamedSharding(mesh, spec)) for a, spec in pairs]


def collectives(program: Any) -> list[tuple[str, int]]:
    """Each one's kind, and how many numbers a device gets of it; in order of both."""
    found = SENT.findall(program.as_text())
    return sorted((kind, _numbers(shapes)) for shapes, kind in found)


def _numbers(shapes: str) -> int:
    arrays = re.findall(r"\w+\[([\d,]*)\]", shapes)
    return sum(prod(int(n) for n in array.split(",") if n) for array in arrays)
