"""float16: the loss's scale keeps small gradients, gives way to overflow, and grows again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn.training import Step
from jcnn.training.loss_scale import FIRST, LARGEST, PATIENCE, LossScale

HALF = {"training.precision": "float16"}


@pytest.fixture
def prepared(tiny):
    """A step in float16, its state, and its first batch with pixels divided by ten thousand."""
    experiment = tiny(HALF)
    data, step = experiment.data.load().train, Step(experiment)
    x, y = (jnp.asarray(a[:32]) for a in (data.x, data.y))
    return step, step.init(), x * 1e-4, y


@pytest.mark.slow
def test_gradients_that_float16_cannot_hold_are_kept(prepared, tiny):
    step, state, x, y = prepared
    key = jax.random.key(0)
    exact, _ = Step(tiny()).gradients(state._replace(loss_scale=None), x, y, key)
    exact = np.asarray(exact["dense_1"]["w"], float)
    seen = np.abs(exact) > 1e-9

    def share_kept(state):
        found, _ = step.gradients(state, x.astype(jnp.float16), y, key)
        error = np.abs(np.asarray(found["dense_1"]["w"], float) - exact)
        return (error < 0.05 * np.abs(exact))[seen].mean()

    assert seen.sum() > 300
    assert share_kept(state) > 0.99
    assert share_kept(state._replace(loss_scale=None)) < 0.9


def test_a_gradient_that_overflows_halves_the_scale_and_nothing_else(prepared):
    step, state, x, y = prepared
    before = LossScale(jnp.float32(LARGEST), jnp.int32(7))
    state = state._replace(loss_scale=before)
    after, totals = jax.jit(step)(state, 1e4 * x, y, jax.random.key(0))
    assert after.loss_scale.value == LARGEST / 2
    assert after.step == 1
    same = jax.tree.map(np.array_equal, after.params, state.params)
    assert all(jax.tree.leaves(same))
    assert totals.examples == 32
    assert totals.skipped == 0


def test_a_curvature_that_overflows_halves_the_scale_and_nothing_else(prepared, tiny):
    """Its probe is larger than the gradients: once infinite, a parameter would learn no more."""
    _, _, x, y = prepared
    optimizer = {"name": "diagonal_levenberg_marquardt", "learning_rate": 0.001}
    step = Step(tiny({**HALF, "optimizer": optimizer}))
    before = step.init()._replace(loss_scale=LossScale(jnp.float32(2.0**18), jnp.int32(7)))
    x, key = 1e4 * x, jax.random.key(0)
    gradients, _ = step.gradients(before, x.astype(jnp.float16), y, key)
    assert all(np.isfinite(gradient).all() for gradient in jax.tree.leaves(gradients))
    after, _ = jax.jit(step)(before, x, y, key)
    assert after.loss_scale.value == 2.0**17
    assert after.step == 1
    kept = [(each.params, each.opt_state) for each in (after, before)]
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, *kept)))


def test_a_loss_that_is_not_finite_is_not_the_scales_fault(prepared):
    step, state, x, y = prepared
    after, totals = jax.jit(step)(state, x * jnp.inf, y, jax.random.key(0))
    assert totals.skipped == 1
    assert after.step == 0
    assert after.loss_scale.value == FIRST


def test_the_scale_doubles_after_as_many_steps_without_overflow_and_has_its_bounds():
    yes, no = jnp.bool_(True), jnp.bool_(False)
    late = LossScale(jnp.float32(FIRST), jnp.int32(PATIENCE - 2))
    assert late.after(yes) == (FIRST, PATIENCE - 1)
    assert late.after(yes).after(yes) == (2 * FIRST, 0)
    assert late.after(no) == (FIRST / 2, 0)
    assert LossScale(jnp.float32(1), jnp.int32(3)).after(no) == (1, 0)
    assert LossScale(jnp.float32(LARGEST), jnp.int32(PATIENCE)).after(yes) == (LARGEST, 0)


def test_other_precisions_have_no_scale(tiny):
    assert jax.eval_shape(Step(tiny()).init).loss_scale is None
    assert jax.eval_shape(Step(tiny(HALF)).init).loss_scale is not None
