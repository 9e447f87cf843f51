"""Pools as XLA's own operations on windows, as on TPUs: the same values, gradients and choices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import lowering, ops, reference
from jcnn.proof import check_rule

OPTIONS = {
    "apart": ("max_pool", {"window": 2}),
    "overlapping, padded": ("max_pool", {"window": 3, "strides": 2, "padding": 1}),
    "rectified": ("relu_max_pool", {"window": (3, 2), "strides": (1, 2)}),
    "average": ("average_pool", {"window": 3, "strides": 2, "padding": 1}),
}


@pytest.fixture
def on_a_tpu():
    """What is traced is for a TPU, and runs here: it is right on every platform."""
    with lowering.traced_for("tpu"):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("on_a_tpu", "mathematics")
@pytest.mark.parametrize("name", OPTIONS)
def test_rules_hold_to_the_second_order(name):
    op, options = OPTIONS[name]
    x = np.random.default_rng(0).normal(size=(2, 6, 7, 2))
    calls = [lambda x, room=room: getattr(room, op)(x, **options) for room in (ops, reference)]
    assert check_rule(*calls, x, names=["x"])


@pytest.mark.usefixtures("on_a_tpu")
def test_a_tie_goes_to_the_first_and_nothing_through_a_rectifier_at_zero():
    x = jnp.array([2.0, 2.0, 0.0, -1.0]).reshape(1, 4, 1)
    plain = jax.grad(lambda x: ops.max_pool(x, 2).sum())(x)
    rectified = jax.grad(lambda x: ops.relu_max_pool(x, 2).sum())(x)
    assert plain.ravel().tolist() == [1, 0, 1, 0]
    assert rectified.ravel().tolist() == [1, 0, 0, 0]
    assert jnp.isnan(ops.max_pool(x.at[0, 1, 0].set(jnp.nan), 2)[0, 0, 0])


def kinds(**options):
    def loss(x):
        return (ops.max_pool(x, 3, **options) + ops.average_pool(x, 3, **options)).sum()

    program = str(jax.make_jaxpr(jax.grad(loss))(jnp.zeros((2, 9, 9, 2))))
    return {name for name in ("reduce_window", "select_and_scatter") if name in program}


def test_they_are_taken_on_tpus_alone():
    assert not kinds()
    with lowering.traced_for("tpu"):
        assert kinds() == {"reduce_window", "select_and_scatter"}
