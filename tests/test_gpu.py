"""What only a GPU can show: the compiled programs of CUDA, on whole numbers and on configs."""

from pathlib import Path

import jax
import pytest

import jcnn
from jcnn.inspection import check_model, random_batch
from jcnn.proof import check_exact
from tests.proof.problems import CORRELATIONS, OTHERS, TRANSPOSED, pools

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.toml"))
PROBLEMS = {
    **CORRELATIONS,
    **{f"transposed {name}": problem for name, problem in TRANSPOSED.items()},
    **{f"other {name}": problem for name, problem in OTHERS.items()},
    **{
        f"{op} {name}": problem
        for op in ("max_pool", "relu_max_pool", "average_pool", "square_pool")
        for name, problem in pools(op).items()
    },
}


def has_gpu():
    return any(device.platform == "gpu" for device in jax.devices())


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.skipif(not has_gpu(), reason="needs a GPU, and jcnn[cuda]"),
]


@pytest.mark.parametrize("name", PROBLEMS)
def test_whole_numbers_are_added_exactly(name):
    with jax.default_matmul_precision("highest"):  # TF32 keeps eleven bits of a factor
        rows = check_exact(PROBLEMS[name])
    assert not [row for row in rows if not row.passed]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_s_gradients_are_right(path):
    experiment = jcnn.load_experiment(path)
    assert check_model(experiment, *random_batch(experiment, 2), samples=20).passed
