"""scripts/seeds: several seeds of one experiment, and their spread."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from jcnn.config import load_experiment
from jcnn.errors import UserError
from jcnn.runs import Run

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "digits.toml"


@pytest.fixture(scope="module")
def seeds() -> ModuleType:
    loader = SourceFileLoader("seeds", str(ROOT / "scripts" / "seeds"))
    module = module_from_spec(spec_from_loader("seeds", loader))
    loader.exec_module(module)
    return module


def _summary(accuracy: float) -> dict:
    split = {"accuracy": accuracy, "loss": 1 - accuracy}
    return {"test": split, "train": split, "seconds": 2.0}


def test_the_table_has_mean_deviation_and_range(seeds):
    table = seeds.table([_summary(0.94), _summary(0.96)])
    assert "| n = 2 | mean | deviation | min | max |" in table
    assert "| test error % | 5.00 | 1.41 | 4.00 | 6.00 |" in table


def test_one_seed_has_no_spread(seeds):
    assert "| seconds | 2.00 | 0.00 | 2.00 | 2.00 |" in seeds.table([_summary(0.9)])


def test_a_finished_run_is_taken_as_it_is(seeds, tmp_path):
    run = Run(tmp_path / "0")
    run.create(load_experiment(CONFIG, {"seed": 0, "training.epochs": 2}))
    run.write_summary(_summary(0.9))
    assert seeds.train(CONFIG, 0, run.folder, ["training.epochs=2"]) == _summary(0.9)


def test_a_run_of_another_experiment_is_refused(seeds, tmp_path):
    Run(tmp_path / "0").create(load_experiment(CONFIG, {"seed": 0}))
    with pytest.raises(UserError, match="holds a run of another experiment"):
        seeds.train(CONFIG, 0, tmp_path / "0", ["training.epochs=2"])
