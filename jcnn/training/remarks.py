"""What a person would want to know before training begins, and might not see."""

from __future__ import annotations

from collections.abc import Iterator

import jax

from jcnn.config import Experiment, Training
from jcnn.errors import counted
from jcnn.lowering import native
from jcnn.optimizers.lengths import schedule_ends

# Shares of the training within which a schedule's end is as good as the training's.
NEAR = 0.02


def remarks(experiment: Experiment, examples: int, steps_per_epoch: int) -> Iterator[str]:
    """Yield a sentence for each thing that is allowed and may not be meant."""
    training = experiment.training
    if remark := experiment.data.remark():
        yield remark
    yield from _of_products(training)
    size = training.batch_size
    if (left := examples - steps_per_epoch * size) > examples // 10:
        yield (
            f"each epoch leaves {left} of {examples} examples out, others each time: "
            f"training.batch_size = {size} makes "
            f"{counted(steps_per_epoch, 'whole batch', 'whole batches')} of them"
        )
    if steps_per_epoch == 1 and size > 1:
        yield (
            f"an epoch is a single step: training.batch_size is {size} of {examples} examples; a "
            f"smaller one ({max(1, examples // 10)}) learns more from an epoch"
        )
    updates = training.epochs * steps_per_epoch // training.accumulate_batches
    if not updates:
        yield (
            f"training.accumulate_batches is {training.accumulate_batches}, more batches than "
            "training has: the optimizer takes no step"
        )
    per_epoch = steps_per_epoch / training.accumulate_batches
    for key, end, falls in schedule_ends(experiment.optimizer, per_epoch):
        if end > updates * (1 + NEAR):
            yield (
                f"{key} is scheduled for {counted(end, 'step')}, "
                f"and training ends after {updates}: its end is never reached "
                f"(training.epochs = {training.epochs})"
            )
        elif falls and end < updates * (1 - NEAR):
            yield f"{key} reaches its end after {end} of {updates} steps, and stays there"


def _of_products(training: Training) -> Iterator[str]:
    on_cpu = jax.default_backend() == "cpu"
    if training.matmul_precision == "bfloat16" and on_cpu and not native.rounds():
        yield (
            "training.matmul_precision = 'bfloat16' changes nothing here: on a CPU it takes the "
            "compiled loops (jcnn native), and a processor with avx512_bf16"
        )
