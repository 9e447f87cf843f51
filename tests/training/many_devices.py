"""Losses of a small network's first steps, on any mesh and in any precision.

In a process of its own, since JAX's devices are counted when it starts:
``python many_devices.py '{"meshes": [{"data": 8}], "steps": 200, "dtype": "float64"}'``

With
``"cluster": {"coordinator_address": "127.0.0.1:4000", "num_processes": 2, "process_id": 0}``
it is one of so many processes, which share the eight devices.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcnn.config import Experiment, load_experiment
from jcnn.training import Step, keys
from jcnn.training.mesh import layout_of

LAYERS = [
    {"type": "conv", "features": 4, "window": 3, "padding": "SAME"},
    {"type": "batch_norm"},
    {"type": "relu_max_pool", "window": 2},
    {"type": "flatten"},
    {"type": "dense", "features": 16},
    {"type": "relu"},
    {"type": "dropout", "drop_rate": 0.3},
    {"type": "dense", "features": 16},
    {"type": "relu"},
    {"type": "dense", "features": 10},
]
OVERRIDES: dict[str, object] = {
    "layers": LAYERS,
    "data.train_count": 320,
    "optimizer": {
        "name": "sgd",
        "momentum": 0.9,
        "learning_rate": 0.02,
        "before": [{"name": "clip_by_global_norm", "max_norm": 5.0}],
    },
    "training": {
        "batch_size": 32,
        "average_decay": 0.9,
        "augment": [
            {"name": "shift", "pixels": 1},
            {"name": "cutout", "size": 2},
            {"name": "affine", "degrees": 10.0},
        ],
    },
}


def experiment(mesh: dict[str, int] | None = None, **overrides: object) -> Experiment:
    """Return the experiment on a mesh."""
    placed = {"mesh": mesh} if mesh else {}
    return load_experiment("digits", {**OVERRIDES, **overrides, **placed})


def losses(chosen: Experiment, steps: int, dtype: str = "float32") -> list[float]:
    """Take steps, each on examples in their order; return each one's mean loss."""
    training = chosen.training.model_copy(update={"precision": dtype})
    chosen = chosen.model_copy(update={"training": training})
    layout, data = layout_of(chosen), chosen.data.load().train
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("standard"):
        step = Step(chosen, layout=layout)
        weights = chosen.model.init(keys.init_key(0), chosen.input_shape)
        kept = np.float64 if dtype == "float64" else np.float32
        weights = jax.tree.map(lambda a: np.asarray(a, kept), weights)
        state = layout.place(jax.tree.map(jnp.asarray, step.init(weights)))
        jitted: Any = layout.jit(step, None)
        found = []
        for number in range(steps):
            rows = (np.arange(32) + 32 * number) % len(data)
            part = layout.rows(32)
            x, y = (
                layout.place_batch(a[rows][part], part, 32) for a in (data.x.astype(kept), data.y)
            )
            state, totals = jitted(state, x, y, keys.step_key(0, np.int32(number)))
            found.append(float(totals.loss) / 32)
    return found


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    cluster = asked.get("cluster", {"num_processes": 1})
    jax.config.update("jax_num_cpu_devices", 8 // cluster["num_processes"])
    if cluster["num_processes"] > 1:
        jax.distributed.initialize(**cluster)
    cases = [losses(experiment(mesh), asked["steps"], asked["dtype"]) for mesh in asked["meshes"]]
    print(json.dumps(cases))
