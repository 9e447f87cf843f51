"""What a lowering is asked to do: an operation, where its windows stand, and how many of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

from jcnn.axes import known
from jcnn.geometry import Geometry

CORRELATIONS = ("correlate", "input_gradient", "kernel_gradient")
POOLS = ("max_pool", "gather", "scatter", "window_sum", "window_spread")

# Positions up to which starting an operation takes longer than its arithmetic: small examples.
TINY = 64


@dataclass(frozen=True)
class Problem:
    """An operation between images (N, *size, C) and outputs (N, *output, D).

    Attributes:
        operation: "correlate", "input_gradient" or "kernel_gradient"; a pool's "max_pool",
            "scatter", "gather", "window_sum" or "window_spread".
        geometry: Where the windows stand.
        batch: N.
        channels: C, of all groups.
        features: D, of all groups; a pool's are its channels.
        dtype: The name of what is computed in.
    """

    operation: str
    geometry: Geometry
    batch: int
    channels: int
    features: int
    dtype: str = "float32"

    @property
    def known(self) -> bool:
        """Whether all lengths are numbers, and none a dimension that ``jax.export`` leaves open."""
        return known(self.batch, *self.geometry.size, self.channels, self.features)

    @property
    def bytes(self) -> int:
        """Of an element."""
        return {"float64": 8, "int64": 8}.get(self.dtype, 4)

    @property
    def inputs(self) -> int:
        """Elements of the images."""
        return self.batch * prod(self.geometry.size) * self.channels

    @property
    def positions(self) -> int:
        """Windows of the whole batch."""
        return self.batch * prod(self.geometry.output)

    @property
    def outputs(self) -> int:
        """Elements of the outputs."""
        return self.positions * self.features

    @property
    def weights(self) -> int:
        """Elements of the kernel."""
        g = self.geometry
        return g.taps * self.channels // g.groups * self.features

    @property
    def multiplications(self) -> int:
        """Of the formula: one per position and element of the kernel; a pool's, of the window."""
        if self.operation in POOLS:
            return self.outputs * self.geometry.taps
        return self.positions * self.weights

    def one_group(self) -> Problem:
        """Return what each group is by itself."""
        g = self.geometry
        return replace(
            self,
            geometry=replace(g, groups=1),
            channels=self.channels // g.groups,
            features=self.features // g.groups,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        g = asdict(self.geometry)
        del g["fill"]  # borders are filled before a lowering is chosen
        return g | {
            "operation": self.operation,
            "batch": self.batch,
            "channels": self.channels,
            "features": self.features,
            "dtype": self.dtype,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Problem:
        """Return the problem of a table's row."""
        g = Geometry(
            size=tuple(row["size"]),
            window=tuple(row["window"]),
            strides=tuple(row["strides"]),
            padding=tuple((int(lo), int(hi)) for lo, hi in row["padding"]),
            dilation=tuple(row["dilation"]),
            groups=int(row["groups"]),
        )
        return cls(
            operation=str(row["operation"]),
            geometry=g,
            batch=int(row["batch"]),
            channels=int(row["channels"]),
            features=int(row["features"]),
            dtype=str(row.get("dtype", "float32")),
        )

    def __str__(self) -> str:
        """Return it as a line of a table."""
        g = self.geometry
        window, size = ("x".join(map(str, n)) for n in (g.window, g.size))
        parts = [f"{self.operation} {window}, {self.batch} of {size}"]
        parts.append(f"{self.channels} to {self.features}")
        for name, values in (("strides", g.strides), ("dilation", g.dilation)):
            if max(values) > 1:
                parts.append(f"{name} {'x'.join(map(str, values))}")
        if any(map(any, g.padding)):
            parts.append("padding " + "x".join(f"{lo}+{hi}" for lo, hi in g.padding))
        if g.groups > 1:
            parts.append(f"groups {g.groups}")
        return ", ".join(parts if self.dtype == "float32" else [*parts, self.dtype])
