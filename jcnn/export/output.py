"""What an exported network computes: its outputs, or the hard decisions that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import jax
import jax.numpy as jnp

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.errors import UserError
from jcnn.layers import Params, State
from jcnn.views import over_views

Hard = Literal["arg max", "unit step", "signum"]


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network, in float32.

    Attributes:
        experiment: Its experiment; precisions of training other than float32's are left behind.
        params: Its parameters, averaged ones where the run keeps an average.
        state: The running statistics that belong to them.
    """

    experiment: Experiment
    params: Params
    state: State

    def function(self, ops: ModuleType = explicit_ops) -> Callable[[jax.Array], jax.Array]:
        """Return ``x -> output``, (N, *input_shape) to (N, K), as evaluation computes it."""
        model = self.experiment.model

        def apply(x: jax.Array) -> jax.Array:
            return model.apply(self.params, self.state, x, ops=ops)[0]

        return over_views(apply, self.experiment.training.views)


def network(experiment: Experiment, params: Params, state: State) -> Network:
    """Take a trained network to float32."""
    training = experiment.training.model_copy(
        update={"precision": "float32", "matmul_precision": None}
    )
    return Network(experiment.model_copy(update={"training": training}), params, state)


def hardening(experiment: Experiment) -> Hard:
    """Return what takes the place of the output's nonlinearity after training [L].

    Softmax becomes its arg max, the logistic function the unit step, tanh the signum.

    Raises:
        UserError: The output has none of these.
    """
    last = experiment.output_layer[1].type
    if last in ("tanh", "scaled_tanh"):
        return "signum"
    if last == "sigmoid" or experiment.loss.name == "binary_cross_entropy":
        return "unit step"
    if last == "softmax" or experiment.loss.name == "softmax_cross_entropy":
        return "arg max"
    raise UserError(
        f"--hard: the network ends in '{last}' under the loss '{experiment.loss.name}'; expected "
        "softmax, sigmoid or tanh outputs, which a hard decision can take the place of"
    )


def threshold(experiment: Experiment) -> float:
    """Return the output above which the unit step is 1: 1/2 of a sigmoid, 0 of a logit."""
    return 0.5 if experiment.output_layer[1].type == "sigmoid" else 0.0


def hard_outputs(experiment: Experiment, output: jax.Array) -> jax.Array:
    """Turn outputs (N, K) into decisions.

    Returns:
        Of softmax the class, (N,), int32; of sigmoids and tanhs (N, K), float32: 0 and 1, or -1, 0
        and 1.
    """
    kind = hardening(experiment)
    if kind == "arg max":
        return jnp.argmax(output, axis=-1).astype(jnp.int32)
    if kind == "signum":
        return jnp.sign(output)
    return (output > threshold(experiment)).astype(jnp.float32)
