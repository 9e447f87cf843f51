"""What a user may not have meant is said before training."""

from __future__ import annotations

import pytest

from jcnn.training.remarks import remarks


def said(experiment, examples=300):
    return list(remarks(experiment, examples, examples // experiment.training.batch_size))


def cosine(steps):
    return {"schedule": "cosine_decay_schedule", "init_value": 0.1, "decay_steps": steps}


SINGLE = {
    "schedule": "join_schedules",
    "schedules": [{"schedule": "constant_schedule", "value": 0.1}],
    "boundaries": [],
}


@pytest.mark.parametrize(
    ("keys", "examples", "words"),
    [
        ({"training.batch_size": 64}, 120, ["leaves 56 of 120 examples out", "a single step"]),
        ({"training.batch_size": 64}, 120, ["makes 1 whole batch of them", "a single step"]),
        ({"training.batch_size": 64}, 180, ["makes 2 whole batches of them"]),
        ({"training.batch_size": 120}, 120, ["an epoch is a single step"]),
        ({"optimizer.learning_rate": cosine("8 epochs")}, 300, ["its end is never reached"]),
        ({"optimizer.learning_rate": cosine("1 epoch")}, 300, ["after 9 of 36 steps, and stays"]),
        ({"optimizer.learning_rate": cosine("4 epochs")}, 300, []),
        ({"training.accumulate_batches": 100}, 300, ["the optimizer takes no step"]),
        ({"training.matmul_precision": "bfloat16"}, 300, ["changes nothing here"]),
        ({"training.matmul_precision": "float32"}, 300, []),
        ({"optimizer.learning_rate": SINGLE}, 300, []),
        ({}, 300, []),
    ],
)
def test_what_may_not_be_meant_is_said(tiny, keys, examples, words):
    lines = said(tiny(keys), examples)
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        assert word in line
