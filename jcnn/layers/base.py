"""What every layer is: a frozen, typed object that knows its shape, its parameters and its cost.

A layer holds what the configuration file says and nothing else. Parameters and state are plain
dicts that live outside it, so that one layer object can be applied to any number of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Annotated, Any, ClassVar

import jax
from jax import Array
from pydantic import Field

from jcnn.fields import Shape, Table

Params = dict[str, Any]
State = dict[str, Any]


@dataclass(frozen=True)
class Cost:
    """What a layer costs per example.

    Attributes:
        parameters: Free numbers that training adjusts; a kernel shared by all positions counts
            once, and a weight that a connection table leaves out counts not at all.
        connections: Inputs that the units multiply by a weight, the bias being one of them and
            padding included: the counting of LeCun et al., 1989. Only layers of weighted sums
            (convolution, dense) have connections and units.
        units: Weighted sums that the layer computes.
        flops: Two for each multiply-add of those sums without their biases, forward only;
            batch normalisation counts one multiply-add per value.

    >>> Cost(parameters=5) + Cost(parameters=2, units=1)
    Cost(parameters=7, connections=0, units=1, flops=0)
    """

    parameters: int = 0
    connections: int = 0
    units: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Add the costs, field by field."""
        return Cost(
            self.parameters + other.parameters,
            self.connections + other.connections,
            self.units + other.units,
            self.flops + other.flops,
        )


@dataclass(frozen=True)
class Shards:
    """How a batch lies on the devices of ``jax.shard_map``; nothing is split where not given.

    Attributes:
        batch: Mesh axes that the examples are split over.
        model: The one of them over which pairs of dense layers are split; it is the last.
        parts: Which layers these are: "columns", "rows", or "between" them, by name.
        part: What the layer at hand is of these.
        space: The axis over which each image is split along its first axis.
        split: Names of the layers whose inputs are so; behind them images are whole.
    """

    batch: tuple[str, ...] = ()
    model: str | None = None
    parts: tuple[tuple[str, str], ...] = ()
    part: str | None = None
    space: str | None = None
    split: tuple[str, ...] = ()

    def at(self, name: str) -> Shards:
        """Return what a layer sees; between columns and rows, devices hold features of more."""
        part = dict(self.parts).get(name)
        batch = tuple(axis for axis in self.batch if axis != self.model)
        own = {"batch": batch} if part == "between" else {}
        space = self.space if not self.split or name in self.split else None
        return replace(self, parts=(), part=part, space=space, split=(), **own)

    @property
    def all(self) -> tuple[str, ...]:
        """The mesh axes that a batch's positions are split over."""
        return (*self.batch, self.space) if self.space else self.batch

    @property
    def features(self) -> str | None:
        """The mesh axis that the last axis of the layer's input is split over."""
        return self.model if self.part == "between" else None

    def spec(self, ndim: int) -> tuple[str | tuple[str, ...] | None, ...]:
        """Return how an array (N, ..., C) of so many axes is split."""
        within = (self.space, *(None,) * (ndim - 3)) if ndim > 2 else ()
        return (self.batch or None, *within, self.features)


WHOLE = Shards()


@dataclass(frozen=True)
class Context:
    """How layers are applied.

    Attributes:
        ops: :mod:`jcnn.ops`, or :mod:`jcnn.reference` for the same through autodiff.
        training: Whether batch statistics and dropout are in force.
        key: Source of randomness, needed by dropout in training.
        frozen: Names of layers that are applied as in evaluation, in training too.
        shards: How the batch lies on several devices.
    """

    ops: Any
    training: bool = False
    key: Array | None = None
    frozen: frozenset[str] = frozenset()
    shards: Shards = WHOLE

    def at(self, position: int, name: str) -> Context:
        """Return the context of a layer by its position and name: the same, with its own key."""
        key = None if self.key is None else jax.random.fold_in(self.key, position)
        training = self.training and name not in self.frozen
        shards = self.shards.at(name)
        return replace(self, key=key, training=training, frozen=frozenset(), shards=shards)


class Layer(Table):
    """The base of every layer; its fields are the keys of one ``[[layers]]`` table.

    The defaults below are those of a layer without parameters that keeps its input's shape.

    Attributes:
        name: What its parameters are called; where not given, its type and number, as in conv_1.
    """

    # Whether its state is set from a sample of inputs before training.
    needs_sample: ClassVar[bool] = False

    type: str
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] | None = None

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one example's output.

        Args:
            input_shape: Shape of one example's input, channels last, without the batch axis.

        Raises:
            UserError: The input does not fit; the message says what came in and what is needed.
        """
        return input_shape

    def init(self, key: Array, input_shape: Shape) -> tuple[Params, State]:
        """Draw the layer's float32 parameters and its initial state."""
        return {}, {}

    def apply(
        self, params: Params, state: State, x: Array, context: Context
    ) -> tuple[Array, State]:
        """Compute the layer's output in the dtype of ``x``, and its next state.

        Args:
            params: What :meth:`init` gave, or its trained successor.
            state: Likewise.
            x: Input of shape ``(N, *input_shape)``.
            context: How, and through which operations.
        """
        raise NotImplementedError

    def calibrate(
        self, params: Params, state: State, x: Array, context: Context, known: State | None = None
    ) -> State:
        """Set the state from a sample of inputs; called where ``needs_sample`` is true.

        Args:
            params: What :meth:`init` gave.
            state: Likewise.
            x: Inputs of shape ``(N, *input_shape)``.
            context: See :meth:`apply`; not in training.
            known: What of the state comes from elsewhere, and stays as it is.
        """
        return state

    def cost(self, input_shape: Shape) -> Cost:
        """Count parameters, connections, units and operations."""
        return Cost()


def fully_connected_parameters(input_shape: Shape, output_shape: Shape) -> int:
    """Parameters of a dense layer between these shapes, biases included.

    >>> fully_connected_parameters((28, 28, 1), (24, 24, 32))
    14469120
    """
    return (prod(input_shape) + 1) * prod(output_shape)
