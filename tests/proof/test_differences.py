"""Finite differences: kinks are noticed and left out, and nothing else is."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import ops
from jcnn.config import load_experiment
from jcnn.inspection import check_model
from jcnn.proof import check_rule
from jcnn.proof.comparison import Tolerance, compare
from jcnn.proof.differences import central_differences
from tests.small import CONFIG

STEP = 1e-6


def differences(function, x):
    with jax.enable_x64(True):
        return central_differences(function, jnp.asarray(x), np.arange(np.size(x)), STEP)


def test_a_kink_anywhere_within_a_step_is_masked():
    x = STEP * np.linspace(-0.95, 0.95, 41)  # a third of a step, too, where the bend is explained
    assert differences(lambda a: jnp.abs(a).sum(), x).mask.all()
    assert not differences(lambda a: jnp.abs(a).sum(), np.array([0.5, 2 * STEP, -1.0])).mask.any()


def test_curvature_is_no_kink():
    x = np.linspace(-1.0, 1.0, 9)
    found = differences(lambda a: jnp.sin(1e4 * a).sum() + jnp.exp(a).sum(), x)
    assert not found.mask.any()
    np.testing.assert_allclose(found, 1e4 * np.cos(1e4 * x) + np.exp(x), rtol=1e-3, atol=1.0)


def test_no_place_has_no_difference():
    with jax.enable_x64(True):
        found = central_differences(lambda a: a[:2], jnp.ones(3), np.arange(0))
    assert found.shape == (0, 2)


def test_elements_at_kinks_are_left_out_and_counted():
    report = check_rule(jax.nn.relu, jax.nn.relu, np.array([0.0, 0.5, 3e-7, -0.5]))
    assert report, str(report)
    (row,) = (row for row in report.rows if row.against == "differences")
    assert (row.elements, row.left_out) == (2, 2)
    assert "2 at kinks left out" in str(report)


def test_where_all_are_left_out_nothing_is_shown():
    report = check_rule(jax.nn.relu, jax.nn.relu, np.zeros(3))
    (row,) = (row for row in report.rows if not row.passed)
    assert (row.against, row.elements, row.left_out) == ("differences", 0, 3)
    assert row.shows_nothing


def test_what_is_left_out_moves_no_index():
    expected = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[True, False], [False, False]])
    row = compare("w", "differences", np.array([[9.0, 2.0], [3.0, 5.0]]), expected, Tolerance(0, 0))
    assert (row.worst, row.found, row.expected, row.elements) == ((1, 1), 5.0, 4.0, 3)


@pytest.fixture
def flat_pictures(tmp_path, monkeypatch):
    """A small network, and drawn pictures as they are: windows of one colour, whose pools tie."""
    monkeypatch.setattr("jcnn.inspection.batches.DITHER", 0.0)
    (tmp_path / "small.toml").write_text(CONFIG)
    experiment = load_experiment(tmp_path / "small.toml")
    x = np.full((2, 8, 8, 1), 0.25)
    x[0, 2:6, 1:5], x[1, 3:7, 3:8] = 1.0, 0.75
    params, state = experiment.model.init(jax.random.key(0), experiment.input_shape)
    params["conv_1"]["b"] = params["conv_1"]["b"] + 0.5
    return lambda **how: check_model(
        experiment, x, np.array([0, 1]), params=params, state=state, samples=64, **how
    )


@pytest.mark.slow
def test_flat_pictures_pass_where_their_windows_tie(flat_pictures):
    result = flat_pictures()
    assert result.passed, str(result.model)
    rows = {row.tensor: row for row in result.model.rows if row.against == "differences"}
    assert rows["input"].left_out > 0
    assert all(row.elements > 0 for row in rows.values())


@pytest.mark.slow
def test_a_wrong_gradient_is_found_beside_kinks(flat_pictures):
    @jax.custom_vjp
    def dense(x, w, b):
        return ops.dense(x, w, b)

    def backward(kept, dy):
        dx, dw, db = jax.vjp(ops.dense, *kept)[1](dy)
        return 1.01 * dx, dw, db

    dense.defvjp(lambda *args: (ops.dense(*args), args), backward)
    wrong = SimpleNamespace(
        **{**{name: getattr(ops, name) for name in ops.__all__}, "dense": dense}
    )
    result = flat_pictures(ops=wrong)
    failed = {
        row.tensor for row in result.model.rows if row.against == "differences" and not row.passed
    }
    assert {"conv_1.w", "conv_1.b", "input"} <= failed
    assert "dense_1.w" not in failed
