"""A small step on 1, 2, 4 and 8 virtual devices: what is predicted of it, and what it is."""

from __future__ import annotations

import json
import re
import sys
from math import prod

import jax
import numpy as np

from jcnn import load_experiment
from jcnn.benchmark.steps import training_flops
from jcnn.inspection.batches import random_batch
from jcnn.scaling import chip_of, compile_step, devices_for, hlo, provide_virtual
from jcnn.scaling.programs import step_of

COUNTS = (1, 2, 4, 8)


def products(text: str) -> int:
    """Operations of all matrix products and convolutions of a program, counted by themselves."""
    lines = list(hlo.instructions(text))
    shapes = {line.name: sizes(line.shape) for line in lines}
    total = 0
    for line in lines:
        if line.kind not in ("dot", "convolution"):
            continue
        operands = re.findall(r"%([\w.-]+)", line.rest.partition(")")[0])
        left, right = (shapes[name] for name in operands)
        if line.kind == "dot":
            (axes,) = re.findall(r"lhs_contracting_dims=\{([\d,]+)\}", line.rest)
            inner = prod(left[int(axis)] for axis in axes.split(","))
        else:
            (kernel,) = re.findall(r"dim_labels=\w+_(\w+)->", line.rest)
            inner = prod(right) // right[kernel.index("o")]
        total += 2 * prod(sizes(line.shape)) * inner
    return total


def sizes(shape: str) -> tuple[int, ...]:
    found = re.match(r"\w+\[([\d,]*)\]", shape)
    return tuple(int(n) for n in found[1].split(",") if n) if found else ()


def row(path: str, count: int) -> dict[str, object]:
    experiment = load_experiment(path)
    devices, _ = devices_for(chip_of("h100"), count)
    program, compiled = compile_step(experiment, devices, platform="gpu")
    size = experiment.training.batch_size
    step, like = step_of(experiment, devices)
    values = (step.init(), *random_batch(experiment, size), jax.random.key(0))
    placed = jax.tree.map(lambda a, b: jax.device_put(a, b.sharding), values, like)
    held = sum(shard_bytes(a) for a in jax.tree.leaves(placed))
    parameters = sum(a.size for a in jax.tree.leaves(values[0].params))
    loss = [float(a) for a in compiled(*placed)[1][:1]]
    return {
        "products": products(program.text),
        "products expected": training_flops(experiment) * size // count,
        "flops": program.flops,
        "arguments": program.argument_bytes,
        "arguments held": held,
        "exchanged": program.collective_bytes,
        # the gradients, and the five sums over examples
        "exchanged expected": 4 * (parameters + 5) if count > 1 else 0,
        "kinds": sorted({collective.kind for collective in program.collectives}),
        "loss": loss,
    }


def shard_bytes(a: jax.Array) -> int:
    data = jax.random.key_data(a) if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key) else a
    return np.asarray(data.addressable_shards[0].data).nbytes


if __name__ == "__main__":
    provide_virtual(max(COUNTS))
    print(json.dumps({count: row(sys.argv[1], count) for count in COUNTS}))
