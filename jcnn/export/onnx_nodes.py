"""An ONNX graph that grows by one value: its name, its shape, and where its channels stand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import jcnn
from jcnn.errors import UserError
from jcnn.fields import Shape
from jcnn.geometry import Geometry
from jcnn.layers import LocalResponseNorm
from jcnn.views import View

OPSET, IR_VERSION = 19, 9
INPUT, OUTPUT, BATCH = "input", "output", "batch"
MODES = {"ZEROS": "constant", "CONSTANT": "constant", "CIRCULAR": "wrap", "REFLECT": "reflect",
         "REPLICATE": "edge"}  # fmt: skip


def imported() -> Any:
    """Return ONNX's package, or say how to get it."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise UserError(
            "the format onnx needs a package that is not installed: pip install 'jcnn[onnx]'"
        ) from None
    return onnx


@contextmanager
def accepting(who: str) -> Iterator[None]:
    """Turn what ONNX or a runtime of it refuses, each in exceptions of its own, into a sentence."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise UserError(
            f"{who} refuses the exported network: {reason}; nothing was written"
        ) from error


class Graph:
    """The graph so far, and the value that it ends in: its name, its shape, its layout."""

    def __init__(self, onnx: Any, shape: Shape) -> None:
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._value = INPUT
        self._shape: Shape = shape
        self._first = False  # whether channels come first; a flat value has no layout
        self._moved: Shape | None = None  # of a value flattened channels first, its (*size, C)
        self._prefix = ""

    def _add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> None:
        """Add a node that takes the value, then ``inputs``, and gives the next value."""
        label = f"{self._prefix}{name or kind}"
        used = {node.name for node in self._nodes}
        while label in used:
            label += "_"
        node = self._onnx.helper.make_node(
            kind, [self._value, *inputs], [f"{label}.y"], name=label, **attributes
        )
        self._nodes.append(node)
        self._value = f"{label}.y"

    def _constant(self, name: str, array: Any) -> str:
        label = f"{self._prefix}{name}"
        if all(weight.name != label for weight in self._weights):
            array = np.ascontiguousarray(array)
            self._weights.append(self._onnx.numpy_helper.from_array(array, label))
        return label

    def _channels_first(self) -> None:
        if not self._first:
            rank = len(self._shape)
            self._add("Transpose", perm=[0, rank, *range(1, rank)])
            self._first = True

    def _channels_last(self) -> None:
        if self._first:
            rank = len(self._shape)
            self._add("Transpose", perm=[0, *range(2, rank + 1), 1])
            self._first = False

    def _broadcast(self, array: Any) -> np.ndarray:
        """Shape an array (C,) or (*size, C) so that it meets the value's channels."""
        array = np.asarray(array, np.float32)
        if not self._first:
            return array
        if array.ndim == 1:
            return array.reshape(-1, *[1] * (len(self._shape) - 1))
        return np.moveaxis(array, -1, 0)

    def _bordered(self, g: Geometry) -> Geometry:
        """Add what no window does by itself: elements of the input around it, or cropping."""
        if not any(map(any, g.border)):
            return g
        self._surround("border", g.border, MODES[g.fill])
        return g.bordered()

    def _surround(self, name: str, pairs: Any, mode: str, value: float = 0.0) -> None:
        sizes = self._shape[:-1]
        if mode == "reflect" and any(max(p) >= n for p, n in zip(pairs, sizes, strict=True)):
            return self._reflected(name, pairs)
        pairs = [(0, 0), *pairs] if self._first else [*pairs, (0, 0)]
        pads = np.array(ends_first([(0, 0), *pairs]), np.int64)
        inputs = [self._constant(f"{name}.pads.{len(self._nodes)}", pads)]
        if mode == "constant":
            inputs.append(self._constant(f"{name}.value.{len(self._nodes)}", np.float32(value)))
        self._add("Pad", *inputs, name=name, mode=mode)

    def _reflected(self, name: str, pairs: Any) -> None:
        """Take element by element what is mirrored more than once, which Pad refuses."""
        for axis, (n, pair) in enumerate(zip(self._shape[:-1], pairs, strict=True)):
            taken = np.pad(np.arange(n), pair, mode="reflect")
            place = self._constant(f"{name}.{axis}.{len(self._nodes)}", taken)
            self._add("Gather", place, name=name, axis=axis + (2 if self._first else 1))

    def _gelu(self, name: str) -> None:
        """By its parts: ONNX has a node of its own only from opset 20 on."""
        x = self._value
        self._add("Mul", self._constant("sqrt_half", np.float32(0.5**0.5)))
        self._add("Erf", name=name)
        self._add("Add", self._constant("one", np.float32(1)))
        self._add("Mul", self._constant("half", np.float32(0.5)))
        self._add("Mul", x)

    def _local_response_norm(self, name: str, layer: LocalResponseNorm) -> None:
        if layer.size % 2 and layer.scale and len(self._shape) == 3:  # as the runtimes have it
            self._channels_first()
            self._add("LRN", name=name, size=layer.size, alpha=layer.scale * layer.size,
                      beta=layer.power, bias=layer.offset)  # fmt: skip
            return
        self._channels_last()
        own = np.arange(self._shape[-1])
        ahead = own[:, None] - own  # of channel c (rows), seen from channel d
        near = (-((layer.size - 1) // 2) <= ahead) & (ahead <= layer.size // 2)
        x = self._value
        self._add("Mul", x)
        self._add("MatMul", self._constant(f"{name}.near", near * np.float32(layer.scale)))
        self._add("Add", self._constant(f"{name}.offset", np.float32(layer.offset)))
        self._add("Pow", self._constant(f"{name}.power", np.float32(layer.power)))
        divisor, self._value = self._value, x
        self._add("Div", divisor, name=name)

    def _unit_step(self, name: str, limit: float) -> None:
        self._add("Greater", self._constant(f"{name}.limit", np.float32(limit)), name=name)
        self._add("Cast", to=self._onnx.TensorProto.FLOAT)

    def side_by_side(self, seen: tuple[View, ...]) -> None:
        """Put the views of each image behind one another in the batch: one graph for all."""
        values = []
        for view in seen:
            self._value = INPUT
            self._move(view.down, view.right)
            if view.mirrored:
                self._mirror()
            values.append(self._value)
        self._value = values[0]
        self._add("Concat", *values[1:], name="views", axis=0)

    def _move(self, down: int, right: int) -> None:
        if not (down or right):
            return
        many, pixels = np.abs([down, right]), np.array([down, right])
        pads = np.array([0, *many, 0, 0, *many, 0], np.int64)
        name = f"move.{down}.{right}"
        self._add("Pad", self._constant(f"{name}.pads", pads), name="around", mode="reflect")
        ranges = {"starts": many - pixels, "ends": many - pixels + self._shape[:2], "axes": [1, 2]}
        names = [self._constant(f"{name}.{k}", np.array(v, np.int64)) for k, v in ranges.items()]
        self._add("Slice", *names, name="move")

    def _mirror(self) -> None:
        axes, ends = np.array([2], np.int64), np.array([np.iinfo(np.int64).min], np.int64)
        ranges = {
            "starts": np.array([-1], np.int64),
            "ends": ends,
            "axes": axes,
            "steps": -axes // 2,
        }
        names = [self._constant(f"mirror.{key}", value) for key, value in ranges.items()]
        self._add("Slice", *names, name="mirror")

    def mean_of(self, count: int) -> None:
        """Take the mean of the outputs for the views."""
        parts = [f"view.{index}.y" for index in range(count)]
        split = self._onnx.helper.make_node("Split", [self._value], parts, name="each", axis=0,
                                            num_outputs=count)  # fmt: skip
        self._nodes.append(split)
        self._value = parts[0]
        self._add("Mean", *parts[1:], name="mean")

    def finish(self, hard: str | None, limit: float) -> None:
        """End in the output, or in decisions."""
        self._channels_last()
        self._kind = self._onnx.TensorProto.FLOAT
        if hard == "arg max":
            self._add("ArgMax", name="decision", axis=1, keepdims=0)
            self._add("Cast", to=self._onnx.TensorProto.INT32)
            self._kind, self._shape = self._onnx.TensorProto.INT32, ()
        elif hard == "signum":
            self._add("Sign", name="decision")
        elif hard == "unit step":
            self._unit_step("decision", limit)
        if not self._nodes:
            self._add("Identity")
        self._nodes[-1].output[0] = OUTPUT

    def model(self, name: str, input_shape: Shape) -> Any:
        """Return the model."""
        helper, kinds = self._onnx.helper, self._onnx.TensorProto
        given = helper.make_tensor_value_info(INPUT, kinds.FLOAT, [BATCH, *input_shape])
        gives = helper.make_tensor_value_info(OUTPUT, self._kind, [BATCH, *self._shape])
        graph = helper.make_graph(self._nodes, name, [given], [gives], self._weights)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="jcnn",
            producer_version=jcnn.__version__,
        )


def ends_first(padding: Any) -> list[int]:
    """Pairs (before, after), as ONNX wants them: all before, then all after."""
    return [lo for lo, _ in padding] + [hi for _, hi in padding]
