"""The training step of an experiment, compiled for devices that need not be there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding

from jcnn import config, lowering, ops
from jcnn.config import Experiment
from jcnn.scaling import hlo
from jcnn.training import Step
from jcnn.training.mesh import layout_of


@dataclass(frozen=True)
class Program:
    """What the compiler says of a step, per device.

    Attributes:
        flops: Operations.
        bytes_accessed: Bytes read and written by the operations that it is made of.
        argument_bytes: State and batch.
        temporary_bytes: What it allocates beside them and results.
        collectives: What the devices exchange.
        counts: Instructions by kind.
        cycles: Those that the compiler for TPUs says that operations take; 0 elsewhere.
        text: The optimized program.
    """

    flops: float
    bytes_accessed: float
    argument_bytes: int
    temporary_bytes: int
    collectives: tuple[hlo.Collective, ...]
    counts: dict[str, int]
    cycles: int
    text: str

    @property
    def memory_bytes(self) -> int:
        """What it needs of a device's memory; results take the place of arguments."""
        return self.argument_bytes + self.temporary_bytes

    @property
    def collective_bytes(self) -> int:
        """Bytes of all that the devices exchange."""
        return sum(collective.size for collective in self.collectives)


def step_of(experiment: Experiment, devices: Sequence[Any], ops: ModuleType = ops) -> Any:
    """Return the step over devices, and its arguments' shapes with how they lie there.

    Raises:
        UserError: The experiment's mesh doesn't fit the devices, the batch or the layers.
    """
    meshed = experiment.model_copy(update={"mesh": experiment.mesh or config.Mesh()})
    layout = layout_of(meshed, devices)
    step = Step(experiment, ops, layout=layout)
    shape = (experiment.training.batch_size, *experiment.input_shape)
    state, key = jax.eval_shape(step.init), jax.eval_shape(jax.random.key, 0)
    arguments = (layout.shaped(state), *layout.shaped_batch(shape), layout.shaped(key))
    if layout.mesh is not None:
        return step, arguments
    one = SingleDeviceSharding(devices[0])
    return step, jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=one), arguments
    )


def compile_step(
    experiment: Experiment,
    devices: Sequence[Any],
    ops: ModuleType = ops,
    *,
    platform: str = "tpu",
) -> tuple[Program, Any]:
    """Compile an experiment's step for these devices.

    Args:
        experiment: Its batch is split over them, and must be divisible.
        devices: What :func:`devices_for` gave. On virtual CPU devices every correlation is XLA's
            own convolution, as on chips, not what is faster on a CPU.
        ops: :mod:`jcnn.ops`, or :mod:`jcnn.reference` for what ``jax.grad`` derives.
        platform: What it is to run on, "tpu" or "gpu", though compiled for virtual CPU devices.

    Returns:
        What it is made of; and the compiled function itself.
    """
    step, arguments = step_of(experiment, devices, ops)
    with ExitStack() as as_on_chips:
        as_on_chips.enter_context(lowering.traced_for(platform))
        if devices[0].platform == "cpu":
            as_on_chips.enter_context(lowering.forced("xla"))
        jitted = jax.jit(step, donate_argnums=0)
        compiled = jitted.lower(*arguments).compile()
    costs, memory, text = compiled.cost_analysis(), compiled.memory_analysis(), compiled.as_text()
    assert costs is not None
    assert memory is not None
    assert text is not None
    lines = list(hlo.instructions(text))
    program = Program(
        flops=costs["flops"],
        bytes_accessed=costs["bytes accessed"],
        argument_bytes=memory.argument_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        collectives=hlo.collectives(text),
        counts=dict(hlo.counts(text)),
        cycles=sum(line.cycles for line in lines),
        text=text,
    )
    return program, compiled
