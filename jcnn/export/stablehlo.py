"""StableHLO through ``jax.export``: one portable program for every platform and batch size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import export

from jcnn import reference
from jcnn.export.output import Network, hard_outputs

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def stablehlo(network: Network, *, hard: bool = False) -> bytes:
    """Serialize a network; ``jax.export.deserialize(data).call(x)`` runs it without jcnn.

    It goes through the plain operations of :mod:`jcnn.reference`: a lowering that is chosen for
    this machine's processor has no place in a program for any machine.

    Args:
        network: What to export; its weights are part of the program.
        hard: Whether to export decisions; see :func:`jcnn.export.hard_outputs`.
    """
    apply = network.function(reference)

    def program(x: jax.Array) -> jax.Array:
        output = apply(x)
        return hard_outputs(network.experiment, output) if hard else output

    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *network.experiment.input_shape), jnp.float32)
    exported = export.export(jax.jit(program), platforms=PLATFORMS)(shape)
    return bytes(exported.serialize(vjp_order=0))
