"""ONNX from the typed layers: a node per layer, as one would draw the network.

ONNX keeps channels first and correlates, as PyTorch does: kernels are moved into its layout, once.
Values stay channels-last until a layer needs them otherwise, so there is one ``Transpose`` at most
before the first convolution; a dense layer behind ``flatten`` has its rows put in ONNX's order
instead.
"""

from __future__ import annotations

import json
from math import prod
from typing import Any

import numpy as np

import jcnn
from jcnn.axes import ZEROS
from jcnn.errors import UserError
from jcnn.export.onnx_nodes import MODES, Graph, accepting, ends_first, imported
from jcnn.export.output import Network, hardening, threshold
from jcnn.export.preprocessing import preprocessing
from jcnn.geometry import place_pool
from jcnn.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Decimate,
    Dense,
    Dropout,
    Flatten,
    Gelu,
    GlobalAveragePool,
    GlobalMaxPool,
    Layer,
    LeakyRelu,
    LocalResponseNorm,
    MaxPool,
    Pad,
    PatchWhitening,
    Prelu,
    Relu,
    ReluMaxPool,
    Reshape,
    Residual,
    ScaledTanh,
    Sequence,
    Sigmoid,
    Signum,
    Softmax,
    SquarePool,
    Tanh,
    UnitStep,
)
from jcnn.layers.window import explicit_padding, per_axis
from jcnn.weights.torch_layout import layout_of

_ELEMENTWISE = (Relu, LeakyRelu, Sigmoid, Tanh, ScaledTanh, Gelu, UnitStep, Signum, Dropout)


def onnx_model(network: Network, *, hard: bool = False) -> Any:
    """Build a checked ``onnx.ModelProto`` with a symbolic batch.

    Its input is ``input``, float32 (batch, *input_shape), channels last as in training; its output
    ``output``, see :meth:`Network.function` and :func:`jcnn.export.hard_outputs`. Classes,
    preprocessing and the whole experiment are in its metadata.

    Raises:
        UserError: A layer has no counterpart, or ONNX is not installed.
    """
    onnx = imported()
    experiment = network.experiment
    graph = _Graph(onnx, experiment.input_shape)
    seen = experiment.training.views
    if len(seen) > 1:
        graph.side_by_side(seen)
    graph.sequence(experiment.model, network.params, network.state)
    if len(seen) > 1:
        graph.mean_of(len(seen))
    graph.finish(hardening(experiment) if hard else None, threshold(experiment))
    model = graph.model(experiment.name, experiment.input_shape)
    facts = {
        "jcnn": jcnn.__version__,
        "classes": json.dumps(experiment.data.class_names),
        "preprocessing": preprocessing(experiment),
        "experiment": experiment.to_toml(),
        "output": hardening(experiment) if hard else "outputs of the last layer",
    }
    onnx.helper.set_model_props(model, facts)
    with accepting("ONNX"):
        onnx.checker.check_model(model, full_check=True)
    return model


class _Graph(Graph):
    """A graph that grows by layers."""

    def sequence(self, path: Sequence, params: Any, state: Any) -> None:
        """Add the layers of a path, one after the other."""
        walked = list(path.walk(self._shape))
        for place_, (name, layer, _, after) in enumerate(walked):
            rest = [following for _, following, _, _ in walked[place_ + 1 :]]
            self._layer(name, layer, params.get(name, {}), state.get(name, {}), rest)
            self._shape = after

    def _layer(self, name: str, layer: Layer, params: Any, state: Any, rest: list[Layer]) -> None:
        match layer:
            case PatchWhitening():
                own = {**params, **state}
                self._layer(name, layer.convolution(self._shape), own, {}, rest)
            case Conv():
                self._conv(name, layer, params)
            case ConvTranspose():
                self._conv_transpose(name, layer, params)
            case Dense():
                self._dense(name, layer, params)
            case MaxPool() | ReluMaxPool() | AveragePool() | SquarePool():
                self._pool(name, layer)
            case GlobalMaxPool() | GlobalAveragePool():
                self._channels_first()
                kind = "GlobalMaxPool" if isinstance(layer, GlobalMaxPool) else "GlobalAveragePool"
                self._add(kind, name=name)
                self._add("Flatten", axis=1)
                self._first = False
            case Flatten():
                self._flatten(name, rest)
            case Residual():
                self._residual(name, layer, params, state)
            case _:
                self._simple(name, layer, params, state)

    def _simple(self, name: str, layer: Layer, params: Any, state: Any) -> None:
        match layer:
            case Relu() | Sigmoid() | Tanh():
                self._add(type(layer).__name__, name=name)
            case Signum():
                self._add("Sign", name=name)
            case UnitStep():
                self._unit_step(name, 0.0)
            case LeakyRelu():
                self._add("LeakyRelu", name=name, alpha=layer.slope)
            case ScaledTanh():
                self._add("Mul", self._constant("two_thirds", np.float32(2 / 3)))
                self._add("Tanh", name=name)
                self._add("Mul", self._constant("1.7159", np.float32(1.7159)))
            case Gelu():
                self._gelu(name)
            case Prelu():
                slope = self._constant(f"{name}.slope", self._broadcast(params["slope"]))
                self._add("PRelu", slope, name=name)
            case Softmax():
                self._add("Softmax", name=name, axis=1 if self._first else -1)
            case Dropout():
                pass
            case BatchNorm():
                self._batch_norm(name, layer, params, state)
            case LocalResponseNorm():
                self._local_response_norm(name, layer)
            case Pad():
                self._pad(name, layer)
            case Decimate():
                self._decimate(name, layer)
            case Reshape():
                self._channels_last()
                shape = self._constant(f"{name}.shape", np.array([0, *layer.shape], np.int64))
                self._add("Reshape", shape, name=name)
            case _:
                raise UserError(f"layer '{name}' ({layer.type}) has no counterpart in ONNX")

    def _conv(self, name: str, layer: Conv, params: Any) -> None:
        g = layer.geometry(self._shape)
        w = np.asarray(layer.connected(params["w"]), np.float32)
        w = layout_of(layer, "w", w.shape, ()).to_torch(w)
        self._channels_first()
        g = self._bordered(g)
        self._kernel("Conv", name, layer, w, params, g.padding, strides=g.strides,
                     dilations=g.dilation, group=layer.groups, kernel_shape=g.window)  # fmt: skip

    def _conv_transpose(self, name: str, layer: ConvTranspose, params: Any) -> None:
        g = layer.geometry(self._shape)
        if g.fill != ZEROS or any(lo < 0 for lo, _ in g.padding):
            raise UserError(
                f"layer '{name}': its padding {layer.padding} has no counterpart in ONNX"
            )
        cut = tuple((lo, max(hi, 0)) for lo, hi in g.padding)
        w = np.asarray(params["w"], np.float32)
        w = layout_of(layer, "w", w.shape, ()).to_torch(w)
        # What the last kernel copies don't reach is filled with zeros.
        beyond = [
            size - (s * (n - 1) + span - lo - hi)
            for size, n, s, span, (lo, hi) in zip(
                g.size, self._shape[:-1], g.strides, g.span, cut, strict=True
            )
        ]
        self._channels_first()
        self._kernel("ConvTranspose", name, layer, w, params, cut, strides=g.strides,
                     dilations=g.dilation, group=layer.groups, kernel_shape=g.window,
                     output_padding=beyond)  # fmt: skip

    def _kernel(
        self, kind: str, name: str, layer: Any, w: np.ndarray, params: Any, padding: Any,
        **attributes: Any,
    ) -> None:  # fmt: skip
        inputs = [self._constant(f"{name}.w", w)]
        if layer.bias == "channel":
            inputs.append(self._constant(f"{name}.b", np.asarray(params["b"], np.float32)))
        attributes["pads"] = ends_first(padding)
        self._add(kind, *inputs, name=name, **attributes)
        if layer.bias == "position":
            self._add("Add", self._constant(f"{name}.b", self._broadcast(params["b"])))

    def _dense(self, name: str, layer: Dense, params: Any) -> None:
        w = np.asarray(params["w"], np.float32)
        flattened, self._moved = self._moved or (len(w),), None
        w = layout_of(layer, "w", w.shape, flattened).to_torch(w)
        inputs = [self._constant(f"{name}.w", w)]
        if layer.bias:
            inputs.append(self._constant(f"{name}.b", np.asarray(params["b"], np.float32)))
        self._add("Gemm", *inputs, name=name, transB=1)

    def _pool(self, name: str, layer: Any) -> None:
        size, window = self._shape[:-1], (layer.window, layer.strides, layer.padding)
        g = place_pool(size, *window, ceil_mode=layer.ceil_mode)
        counted = getattr(layer, "count_include_pad", True)
        if isinstance(layer, AveragePool) and counted and g != place_pool(size, *window):
            raise UserError(
                f"layer '{name}': a mean over windows that reach beyond (ceil_mode) with padding "
                "counted has no counterpart in ONNX"
            )
        self._channels_first()
        g = self._bordered(g)
        placed = {"kernel_shape": g.window, "strides": g.strides, "pads": ends_first(g.padding)}
        if isinstance(layer, MaxPool | ReluMaxPool):
            self._add("MaxPool", name=name, **placed)
            if isinstance(layer, ReluMaxPool):  # the largest of the rectified, rectified last
                self._add("Relu")
            return
        if isinstance(layer, SquarePool):
            self._add("Mul", self._value)
        self._add("AveragePool", name=name, count_include_pad=int(counted), **placed)
        if isinstance(layer, SquarePool):
            self._add("Mul", self._constant(f"{name}.taps", np.float32(g.taps)))

    def _flatten(self, name: str, rest: list[Layer]) -> None:
        size, channels = self._shape[:-1], self._shape[-1]
        if self._first and channels > 1 and prod(size) > 1:
            following = next((each for each in rest if not isinstance(each, _ELEMENTWISE)), None)
            if isinstance(following, Dense):
                self._moved = self._shape
            else:
                self._channels_last()
        self._add("Flatten", name=name, axis=1)
        self._first = False

    def _batch_norm(self, name: str, layer: BatchNorm, params: Any, state: Any) -> None:
        if len(self._shape) > 1:
            self._channels_first()
        own = {**params, **state}
        keys = ("scale", "offset", "mean", "variance")
        inputs = [self._constant(f"{name}.{k}", np.asarray(own[k], np.float32)) for k in keys]
        self._add("BatchNormalization", *inputs, name=name, epsilon=layer.epsilon)

    def _pad(self, name: str, layer: Pad) -> None:
        pairs = explicit_padding(layer.padding, self._shape[:-1])
        self._surround(name, pairs, MODES[layer.mode.upper()], layer.value)

    def _decimate(self, name: str, layer: Decimate) -> None:
        size = self._shape[:-1]
        factor = per_axis("factor", layer.factor, size)
        start = 2 if self._first else 1
        slices = {
            "starts": [0] * len(size), "ends": size,
            "axes": range(start, start + len(size)), "steps": factor,
        }  # fmt: skip
        inputs = [
            self._constant(f"{name}.{key}", np.array(list(values), np.int64))
            for key, values in slices.items()
        ]
        self._add("Slice", *inputs, name=name)

    def _residual(self, name: str, layer: Residual, params: Any, state: Any) -> None:
        start, prefix = (self._value, self._shape, self._first), self._prefix
        ends = []
        for branch, path in layer.branches().items():
            self._value, self._shape, self._first = start
            self._prefix = f"{prefix}{name}.{branch}."
            self.sequence(path, params.get(branch, {}), state.get(branch, {}))
            ends.append((self._value, self._first))
        self._prefix = prefix
        (body, first), (shortcut, other) = ends
        if first != other:  # bring the shortcut, where the graph stands, into the body's layout
            self._channels_first() if first else self._channels_last()
            shortcut = self._value
        self._value, self._first = body, first
        self._add("Add", shortcut, name=name)
