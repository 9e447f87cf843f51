"""Which layers of an experiment learn, and so which gradients its training step computes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from jcnn.config import Experiment
from jcnn.layers import Layer, Residual, Sequence, Shape


@dataclass(frozen=True)
class Place:
    """A layer where it stands; of a residual block, each layer of its branches.

    Attributes:
        path: Its name, behind those of the block and the branch that it is in.
        layer: The layer, which is no residual block.
        input_shape: Shape of one example's input.
        output_shape: Shape of one example's output.
        learns: Whether training adjusts a parameter of its own.
        input_gradient: Whether a layer that its input comes from learns.
    """

    path: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    learns: bool
    input_gradient: bool

    @property
    def kernel_gradient(self) -> bool:
        """Whether its kernel learns, if it has one: one that a sample of images sets does not."""
        return self.learns and not self.layer.needs_sample

    def computes(self, passes: str) -> bool:
        """Whether a step has the pass "forward", "input gradient" or "kernel gradient" of it."""
        if passes == "input gradient":
            return self.input_gradient
        return passes != "kernel gradient" or self.kernel_gradient


def places(experiment: Experiment) -> Iterator[Place]:
    """Yield every layer of an experiment's model in order, those of residual blocks one by one."""
    return _places(experiment.model, experiment.input_shape, experiment.frozen)


def _places(
    sequence: Sequence, shape: Shape, frozen: Collection[str], path: str = "", behind: bool = False
) -> Iterator[Place]:
    """Yield a sequence's; ``behind``: whether a layer before it learns."""
    for name, layer, before, after in sequence.walk(shape):
        learns = name not in frozen and layer.cost(before).parameters > 0
        if isinstance(layer, Residual):
            for branch, inner in layer.branches().items():
                still = inner.names if name in frozen else ()
                yield from _places(inner, before, still, f"{path}{name}.{branch}.", behind)
        else:
            yield Place(f"{path}{name}", layer, before, after, learns, behind)
        behind = behind or learns
