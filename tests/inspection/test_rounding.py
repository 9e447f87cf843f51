"""``jcnn check --rounding``: how far training's own arithmetic is from exact gradients."""

import json

import numpy as np
import pytest

from jcnn import cli
from jcnn.config import load_experiment
from jcnn.inspection import random_batch
from jcnn.inspection.rounding import Rounding, RoundingRow, _rows, measure_rounding
from tests.mutation.reloading import replaced
from tests.mutation.table import mutants

SETTINGS = """
[data]
name = "digits"
[optimizer]
name = "sgd"
learning_rate = 0.1
"""
NETWORK = """
[[layers]]
type = "conv"
features = 4
window = 3
padding = "SAME"
[[layers]]
type = "relu_max_pool"
window = 2
[[layers]]
type = "dropout"
drop_rate = 0.3
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
NORMALISED = """
[[layers]]
type = "conv"
features = 4
window = 3
[[layers]]
type = "batch_norm"
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
features = 10
"""
TENSORS = ("loss", "conv_1.b", "conv_1.w", "dense_1.b", "dense_1.w")


@pytest.fixture
def written(tmp_path):
    def write(layers=NETWORK, training="", optimizer=""):
        path = tmp_path / "network.toml"
        path.write_text(f"{SETTINGS}{optimizer}\n[training]\n{training}\n{layers}")
        return path

    return write


@pytest.fixture
def measured(written):
    def measure(layers=NETWORK, training="", optimizer="", **options):
        experiment = load_experiment(written(layers, training, optimizer))
        return measure_rounding(experiment, *random_batch(experiment, 8), **options)

    return measure


@pytest.mark.slow
def test_single_precision_keeps_six_digits_of_each_tensor(measured):
    found = measured()
    assert [row.tensor for row in found.rows] == list(TENSORS)
    for row in found.rows:
        assert row.explicit < 2e-6
        assert row.derived < 2e-6
    assert found.worst.explicit > 0
    assert found.rows[2].shape == (3, 3, 1, 4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_keeps_two_or_three(measured, precision):
    found = measured(training=f'precision = "{precision}"')
    assert found.finite
    assert 1e-4 < found.worst.explicit < 0.2


@pytest.mark.slow
def test_a_wrong_rule_stands_out_beside_the_derived_gradient(measured):
    file, new = "ops/convolution.py", "1.01 * dw"
    chosen = next(m for m in mutants().values() if m.file == file and new in m.new)
    with replaced(file, chosen.source()) as ops:
        found = measured(ops=ops)
    wrong = found.worst
    assert wrong.tensor == "conv_1.w"
    assert wrong.explicit == pytest.approx(0.01, rel=0.01)
    assert wrong.derived < 2e-6


@pytest.mark.slow
def test_where_the_gradient_is_zero_there_is_no_relative_error(measured):
    """A bias before a batch normalisation moves nothing."""
    rows = {row.tensor: row for row in measured(NORMALISED).rows}
    assert rows["conv_1.b"].explicit is None
    assert rows["conv_1.b"].derived is None
    assert rows["conv_1.w"].explicit < 1e-5


@pytest.mark.slow
def test_what_training_leaves_alone_is_left_out(measured):
    found = measured(optimizer="rates = {conv_1 = 0.0}")
    assert [row.tensor for row in found.rows] == ["loss", "dense_1.b", "dense_1.w"]


@pytest.mark.slow
def test_it_is_measured_at_the_parameters_given(written):
    experiment = load_experiment(written())
    x, y = random_batch(experiment, 8)
    params = {
        "conv_1": {"w": np.zeros((3, 3, 1, 4)), "b": np.ones(4)},
        "dense_1": {"w": np.zeros((64, 10)), "b": np.zeros(10)},
    }
    found = measure_rounding(experiment, x, y, params=params, state={})
    loss = found.rows[0]
    assert loss.norm == pytest.approx(np.log(10), rel=1e-12)  # of ten classes alike
    assert {row.tensor for row in found.rows if row.explicit is None} == {"conv_1.b", "conv_1.w"}


@pytest.mark.slow
def test_in_float16_the_loss_is_scaled_so_that_its_gradients_fit(written):
    experiment = load_experiment(written(training='precision = "float16"'))
    x, y = random_batch(experiment, 8)
    found = measure_rounding(experiment, 300 * x, y)  # too large for the first scale
    assert found.finite
    assert found.worst.explicit < 0.2


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_is_named(written):
    experiment = load_experiment(written(training='precision = "float16"'))
    x, y = random_batch(experiment, 8)
    found = measure_rounding(experiment, 1e6 * x, y)  # beyond what float16 holds
    assert not found.finite
    assert found.to_dict()["finite"] is False


def test_what_is_not_finite_is_seen_where_the_exact_gradient_is_zero():
    exact = {"loss": np.ones(()), "b": np.zeros(2), "w": np.ones(2)}
    _, b, w = _rows(exact, exact | {"b": np.array([0.0, np.nan])}, exact)
    assert np.isnan(b.explicit)
    assert b.derived is None
    assert w.explicit == 0


def test_the_worst_of_finite_rows_is_the_largest():
    def found(*errors):
        rows = tuple(RoundingRow(str(e), (), 1.0, e, 0.0) for e in errors)
        return Rounding(8, "float32", None, rows, {}, {})

    assert found(1e-7, 3e-7, None, 2e-7).finite
    assert found(1e-7, 3e-7, None, 2e-7).worst.tensor == "3e-07"
    assert not found(1e-7, float("nan"), 2e-7).finite
    assert found(1e-7, float("nan"), 2e-7).worst.tensor == "nan"


@pytest.mark.slow
def test_the_command_prints_a_table_or_one_json_object(written, capsys):
    path = str(written())
    assert cli.main(["check", path, "--rounding", "--batch-size", "4"]) == 0
    printed = capsys.readouterr()
    assert "conv_1.w" in printed.out
    assert "batch 4; float32;" in printed.out
    assert "largest error: " in printed.out
    assert "in float64" in printed.err
    assert cli.main(["check", path, "--rounding", "--json", "--random-batch"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["batch_size"] == 32
    assert found["finite"] is True
    assert [row["tensor"] for row in found["rows"]] == list(TENSORS)


def test_checks_of_their_own_are_asked_for_one_by_one(written, capsys):
    assert cli.main(["check", str(written()), "--exact", "--rounding"]) == 2
    assert "--exact is a check of its own: expected --exact without" in capsys.readouterr().err
