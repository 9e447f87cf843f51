"""What becomes of gradients before parameters change: added up, clipped, frozen, at own rates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jcnn.errors import UserError
from jcnn.training import Step, evaluate, train
from tests.tolerances import tolerance
from tests.training.conftest import same_bits

# They start processes, train or compile much.
pytestmark = pytest.mark.slow


# Accumulation, clipping, plateaus


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_accumulated_batches_are_one_large_batch(tiny, digits, name):
    """The mean of the means of equal batches is the mean of all: what is left is rounding."""
    optimizer = {"name": name, "learning_rate": 0.01, "before": []}
    optimizer["before"] = [{"name": "clip_by_global_norm", "max_norm": 0.5}]
    large = Step(tiny({"optimizer": optimizer, "training.batch_size": 32}))
    small = Step(tiny({"optimizer": optimizer, "training.accumulate_batches": 4}))
    one, parts = large.init(), small.init()
    advance_large, advance_small = jax.jit(large), jax.jit(small)
    for step in range(2):
        rows = slice(32 * step, 32 * step + 32)
        x, y = jnp.asarray(digits.x[rows]), jnp.asarray(digits.y[rows])
        one, _ = advance_large(one, x, y, jax.random.key(0))
        for k in range(4):
            before = parts.params
            part = slice(8 * k, 8 * k + 8)
            parts, _ = advance_small(parts, x[part], y[part], jax.random.key(0))
            assert same_bits(before, parts.params) == (k < 3)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(parts.params), strict=True):
        np.testing.assert_allclose(a, b, **tolerance(jnp.float32))


def test_schedules_count_the_optimizers_own_steps(tiny):
    rate = {"schedule": "linear_schedule", "init_value": 1.0, "end_value": 0.0}
    optimizer = {"name": "sgd", "learning_rate": rate | {"transition_steps": "1 epoch"}}
    experiment = tiny({"optimizer": optimizer, "training.accumulate_batches": 4})
    with jax.numpy_dtype_promotion("standard"):
        built = experiment.optimizer.build(8, accumulated=4)
        ones = {"w": jnp.ones(1)}
        state, seen = built.init(ones), []
        for _ in range(12):
            updates, state = built.update(ones, state, ones)
            seen.append(float(updates["w"][0]))
    # 8 batches an epoch make two steps: the rate has fallen to 0 after them
    np.testing.assert_allclose(seen, [0, 0, 0, -1, 0, 0, 0, -0.5, 0, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_an_alternate_flip_turns_round_with_the_epoch(tiny, digits, accumulated):
    keys = {
        "training.augment": [{"name": "flip", "alternate": True}],
        "training.accumulate_batches": accumulated,
    }
    step = Step(tiny(keys), steps_per_epoch=4)
    x, key = jnp.asarray(digits.x[:32]), jax.random.key(0)
    seen = [step.prepared(x, key, jnp.int32(n))[0] for n in (0, 3, 4, 7, 8)]
    for n, again in enumerate((0, 0, 1, 1, 0)):
        assert np.array_equal(seen[n], seen[0][:, :, ::-1] if again else seen[0])
    assert not np.array_equal(seen[0], x)


def test_gradients_are_clipped(tiny, digits):
    clip = [{"name": "clip_by_global_norm", "max_norm": 1e-3}]
    optimizer = {"name": "sgd", "learning_rate": 1.0, "before": clip}
    step = Step(tiny({"optimizer": optimizer}))
    state = step.init()
    after, _ = jax.jit(step)(state, digits.x[:32], digits.y[:32], jax.random.key(0))
    moved = jax.tree.map(lambda a, b: a - b, after.params, state.params)
    assert float(optax.tree.norm(moved)) == pytest.approx(1e-3, rel=1e-3)


def test_a_plateau_of_the_loss_lowers_the_rate(tiny):
    plateau = {"name": "reduce_on_plateau", "factor": 0.5, "patience": 2, "cooldown": 0}
    optimizer = tiny({"optimizer.after": [plateau]}).optimizer
    built, ones = optimizer.build(10), {"w": jnp.ones(1)}
    state, seen = built.init(ones), []
    for loss in (3.0, 2.0, 2.0, 2.0, 2.0, 2.0):
        updates, state = built.update(ones, state, ones, value=jnp.float32(loss))
        seen.append(abs(float(updates["w"][0])))
    momentum = np.cumsum(0.9 ** np.arange(6)) * 0.1
    shares = np.array(seen) / momentum
    np.testing.assert_allclose(shares, [1, 1, 1, 0.5, 0.5, 0.25], rtol=1e-5)


@pytest.mark.parametrize(
    ("place", "entry", "message"),
    [
        ("before", {"name": "apply_every", "k": 4}, "expected training.accumulate_batches"),
        ("after", {"name": "apply_every", "k": 4}, "expected training.accumulate_batches"),
        ("before", {"name": "reduce_on_plateau"}, "expected it in optimizer.after"),
    ],
)
def test_transformations_in_the_wrong_place_say_the_right_one(tiny, place, entry, message):
    with pytest.raises(UserError, match=message) as raised:
        tiny({f"optimizer.{place}": [entry]})
    assert f"optimizer.{place}" in str(raised.value)


# Schedules

WARM_UP = {
    "optimizer.learning_rate": {
        "schedule": "warmup_cosine_decay_schedule",
        "init_value": 0.0,
        "peak_value": 0.1,
        "warmup_steps": "0.6 epochs",
        "decay_steps": "1 epochs",
    }
}


def test_a_run_of_schedules_shorter_than_an_epoch_can_be_read_back(tiny, tmp_path):
    summary = train(tiny({**WARM_UP, "training.epochs": 1}), tmp_path / "run")
    assert evaluate(tmp_path / "run")["loss"] == summary["test"]["loss"]


def test_a_schedule_of_fewer_steps_than_it_needs_is_refused_before_there_is_a_run(tiny, tmp_path):
    experiment = tiny({**WARM_UP, "training.accumulate_batches": 9})
    with pytest.raises(UserError, match="optimizer: sgd refuses its arguments at 1 steps per"):
        train(experiment, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Frozen layers, rates of their own


FROZEN: dict[str, object] = {
    "layers": [
        {"type": "flatten"},
        {"type": "dense", "features": 8, "name": "body"},
        {"type": "batch_norm", "name": "body_norm"},
        {"type": "dense", "features": 10, "name": "head"},
    ],
    "optimizer": {
        "name": "adamw",
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "rates": {"body*": 0.0, "head": 0.5},
    },
}


def test_a_frozen_layer_keeps_its_bits(tiny, digits):
    step = Step(tiny(FROZEN))
    start = state = step.init()
    advance = jax.jit(step)
    for _ in range(3):
        state, _ = advance(state, digits.x[:32], digits.y[:32], jax.random.key(0))
    for name in ("body", "body_norm"):
        assert same_bits(state.params[name], start.params[name])
    assert same_bits(state.state, start.state)
    assert not same_bits(state.params["head"], start.params["head"])


def test_a_frozen_layer_is_applied_as_in_evaluation(tiny, digits):
    experiment = tiny(FROZEN)
    params, state = experiment.model.init(jax.random.key(0), experiment.input_shape)
    x = digits.x[:8]
    plain, _ = experiment.model.apply(params, state, x)
    trained, _ = experiment.model.apply(params, state, x, training=True, frozen=experiment.frozen)
    other, _ = experiment.model.apply(params, state, x, training=True)
    np.testing.assert_array_equal(trained, plain)
    assert not np.allclose(other, plain)


def test_a_layer_learns_at_its_own_rate(tiny, digits):
    def moved(rates):
        optimizer = {"name": "sgd", "learning_rate": 0.1, "rates": rates}
        step = Step(tiny({"optimizer": optimizer}))
        state = step.init()
        after, _ = jax.jit(step)(state, digits.x[:32], digits.y[:32], jax.random.key(0))
        return np.asarray(after.params["dense_1"]["w"] - state.params["dense_1"]["w"])

    np.testing.assert_allclose(moved({"dense*": 0.25}), 0.25 * moved({}), rtol=1e-3, atol=1e-7)


def test_a_rate_for_no_layer_is_refused(tiny):
    with pytest.raises(UserError, match=r"optimizer\.rates: no layer .* 'desne_1' .*'dense_1'"):
        tiny({"optimizer.rates": {"desne_1": 0.1}})


@pytest.mark.parametrize("key", ["before", "after"])
def test_a_transformation_for_no_layer_is_refused(key, tiny):
    scale = {"name": "scale", "step_size": 0.1, "layers": ["dense_*", "cnov_*"]}
    where = rf"optimizer\.{key}\.0\.layers: no layer .* 'cnov_\*'"
    with pytest.raises(UserError, match=where):
        tiny({f"optimizer.{key}": [scale]})


@pytest.mark.parametrize("layers", [{"layers": ["dense_*"]}, {}], ids=["some", "all"])
def test_a_transformation_for_no_parameter_is_refused(tiny, layers):
    scale = {"name": "scale", "step_size": 0.1, **layers, "only": ["slope", "scale"]}
    with pytest.raises(UserError, match=r"before\.0\.only: none of the layers .* slope, scale"):
        tiny({"optimizer.before": [scale]})
