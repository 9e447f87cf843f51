"""The diagonal Gauss-Newton estimate is unbiased, and the optimizer divides by it."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jcnn import reference
from jcnn.config import load_experiment
from jcnn.losses import BinaryCrossEntropy, MeanSquaredError, SoftmaxCrossEntropy
from jcnn.optimizers import diagonal_levenberg_marquardt, scale_by_diagonal_curvature
from jcnn.training import Step

pytestmark = pytest.mark.usefixtures("mathematics")

OUTPUT = jnp.array([[2.0, -1.0, 0.5]])
LABEL = jnp.array([2], jnp.int32)
LOSSES = [
    SoftmaxCrossEntropy(label_smoothing=0.1),
    MeanSquaredError(targets=(-1.0, 1.0)),
    BinaryCrossEntropy(),
    SoftmaxCrossEntropy(class_weights=(1.0, 1.0, 0.25)),
]
ONES = {"w": jnp.ones(2)}


@pytest.mark.parametrize("loss", LOSSES, ids=["softmax", "squares", "binary", "weights"])
def test_probes_have_the_second_derivative_of_the_loss_as_their_mean_square(loss):
    keys = jax.random.split(jax.random.key(0), 20_000)
    v = jax.jit(jax.vmap(partial(loss.curvature_probe, OUTPUT, LABEL)))(keys)[:, 0]
    of_logits = jax.hessian(lambda g: loss.per_example(g[None], LABEL, reference)[0])
    hessian = jax.jit(of_logits)(OUTPUT[0])
    np.testing.assert_allclose(v.T @ v / len(v), hessian, atol=0.01)


def _estimates(*values):
    """Give one estimate after the other, none twice."""
    remaining = iter(values)
    return lambda: {"w": jnp.asarray(next(remaining))}


def test_estimates_are_averaged_and_taken_only_every_few_steps():
    scale = scale_by_diagonal_curvature(damping=1.0, estimate_every_steps=2, decay=0.5)
    state = scale.init(ONES)
    rates = []
    for estimate in ([0.0, 3.0], [9.0, 9.0], [3.0, 3.0]):
        update, state = scale.update(ONES, state, curvature=_estimates(estimate))
        rates.append(update["w"])
    # The second is skipped; the mean of the others weighs them 1/3 and 2/3.
    np.testing.assert_allclose(rates, [[1, 1 / 4], [1, 1 / 4], [1 / 3, 1 / 4]], rtol=1e-6)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("damping", 0, "a number above 0, found 0"),
        ("damping", float("nan"), "a number above 0, found nan"),
        ("decay", 1.0, "a number of at least 0 and less than 1, found 1.0"),
        ("estimate_every_steps", 0, "an integer above 0, found 0"),
        ("estimate_every_steps", 2.5, "an integer above 0, found 2.5"),
    ],
)
def test_numbers_that_would_divide_by_zero_are_refused(key, value, expected):
    with pytest.raises(ValueError, match=f"^scale_by_diagonal_curvature: {key}: .* {expected}$"):
        scale_by_diagonal_curvature(**{key: value})


def test_the_estimate_is_not_optional():
    scale = scale_by_diagonal_curvature()
    with pytest.raises(ValueError, match="needs curvature="):
        scale.update(ONES, scale.init(ONES))


def test_the_rate_follows_its_schedule():
    optimizer = diagonal_levenberg_marquardt(optax.linear_schedule(0.4, 0.0, 4), damping=2.0)
    state = optimizer.init(ONES)
    with jax.numpy_dtype_promotion("standard"):
        for rate in (0.4, 0.3, 0.2):
            update, state = optimizer.update(ONES, state, curvature=lambda: {"w": jnp.zeros(2)})
            np.testing.assert_allclose(update["w"], [-rate / 2] * 2, rtol=1e-6)


EXPERIMENT = """
[data]
name = "digits"
[optimizer]
name = "diagonal_levenberg_marquardt"
learning_rate = 1.0
damping = 0.02
estimate_every_steps = 1
decay = 0.999
before = [{name = "add_decayed_weights", weight_decay = 0.0}]
[training]
batch_size = 4
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""


@pytest.mark.slow
def test_the_step_estimates_the_gauss_newton_diagonal_of_the_mean_loss(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT)
    experiment = load_experiment(path)
    x = jax.random.uniform(jax.random.key(1), (4, 8, 8, 1))
    y = jnp.array([0, 3, 9, 3], jnp.int32)
    step = Step(experiment)
    state = step.init()
    start, count = state, 2000

    def again(opt_state, key):
        # From the same parameters each time, so that only the estimate moves on.
        return step(start._replace(opt_state=opt_state), x, y, key)[0].opt_state, None

    keys = jax.random.split(jax.random.key(2), count)
    opt_state, _ = jax.jit(lambda s: jax.lax.scan(again, s, keys))(start.opt_state)
    found = optax.tree_utils.tree_get(opt_state, "curvature")["dense_1"]["w"]

    w, b = start.params["dense_1"]["w"], start.params["dense_1"]["b"]
    p = jax.nn.softmax(x.reshape(4, 64) @ w + b)
    # A weight x_i to g_k is seen by g_k alone: h = mean over examples of x_i² p_k (1 - p_k).
    exact = jnp.einsum("ni,nk->ik", x.reshape(4, 64) ** 2, p * (1 - p)) / 4
    known = 1 - 0.999**count
    assert math.isclose(float(found.sum() / known), float(exact.sum()), rel_tol=0.05)
    assert jnp.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.95
