"""The running average of the weights: of what the optimizer's steps gave, and no more."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn.training import Step

DECAY = 0.5


def averages(experiment, batches):
    """Return the average after each step; beside it, the weights that the optimizer gave so far."""
    step = Step(experiment)
    state, data, seen = step.init(), experiment.data.load().train, []
    advance = jax.jit(step)
    for number, scale in enumerate(batches):
        before = state
        x = data.x[:32] * jnp.float32(scale)
        state, _ = advance(before, x, data.y[:32], jax.random.key(number))
        if not same(before.params, state.params):
            seen.append((state.params, state.state))
        yield state.average, list(seen)


def same(one, two):
    """Whether two trees hold the same bits."""
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(two)))


def check(average, seen):
    """Compare with the weighted mean by its definition."""
    shares = [DECAY ** (len(seen) - 1 - k) for k in range(len(seen))]
    expected = jax.tree.map(lambda *each: np.average(each, axis=0, weights=shares), *seen)
    found = jax.tree.leaves(average[:2])
    for one, two in zip(found, jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    assert average.updates == len(seen)


CASES = {
    "each step": ({}, [1, 1, 1], [1, 2, 3]),
    "of two batches": ({"training.accumulate_batches": 2}, [1] * 5, [0, 1, 1, 2, 2]),
    "skipped": ({"training.on_nonfinite": "skip"}, [np.nan, 1, np.nan, 1], [0, 1, 1, 2]),
    "overflowing": ({"training.precision": "float16"}, [1e9, 1, 1], [0, 1, 2]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_average_weighs_the_optimizers_steps_and_not_the_initial_weights(lively, case):
    changes, batches, counts = CASES[case]
    experiment = lively({"training.augment": [], "training.average_decay": DECAY, **changes})
    for (average, seen), count in zip(averages(experiment, batches), counts, strict=True):
        assert len(seen) == count
        if count:
            check(average, seen)
        else:
            assert same(average[:2], Step(experiment).init()[:2])
