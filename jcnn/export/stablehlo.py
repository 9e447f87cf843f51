"""StableHLO through ``jax.export``: one portable program for every platform and batch size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import export

from jcnn import reference
from jcnn.errors import UserError
from jcnn.export.output import Network, hard_outputs

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def stablehlo(network: Network, *, hard: bool = False) -> bytes:
    """Serialize a network; ``jax.export.deserialize(data).call(x)`` runs it without jcnn.

    It goes through the plain operations of :mod:`jcnn.reference`: a lowering that is chosen for
    this machine's processor has no place in a program for any machine.

    Args:
        network: What to export; its weights are part of the program.
        hard: Whether to export decisions; see :func:`jcnn.export.hard_outputs`.

    Raises:
        UserError: The package with which JAX serializes is not installed.
    """
    _need_flatbuffers()
    apply = network.function(reference)

    def program(x: jax.Array) -> jax.Array:
        output = apply(x)
        return hard_outputs(network.experiment, output) if hard else output

    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *network.experiment.input_shape), jnp.float32)
    exported = export.export(jax.jit(program), platforms=PLATFORMS)(shape)
    return bytes(exported.serialize(vjp_order=0))


def _need_flatbuffers() -> None:
    """Say so before the work; JAX, which does not require it, finds out after it."""
    try:
        import flatbuffers  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(
            "the format stablehlo needs the package 'flatbuffers', which is not installed: "
            "pip install 'jcnn[experiments]'"
        ) from None
