"""A run predicts files, one after another."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from jcnn.errors import UserError
from jcnn.training import predictions, train

# They start processes, train or compile much.
pytestmark = pytest.mark.slow


def test_files_are_read_a_few_at_a_time_and_a_bad_one_ends_nothing(whole_tiny, tmp_path):
    from PIL import Image

    Image.new("L", (8, 8), 90).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("?")
    asked = []

    def files():
        for number in range(100):
            asked.append(number)
            yield tmp_path / ("bad.png" if number == 1 else "good.png")

    found = predictions(whole_tiny, files())
    first, second = next(found), next(found)
    assert len(asked) < 50
    assert sum(first.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert second.error is not None
    assert "bad.png is not an image" in second.error
    rest = list(found)
    assert len(rest) == 98
    assert {one.error for one in rest} == {None}
    assert {one.best for one in rest} == {first.best}


def test_weights_that_are_no_numbers_predict_nothing(tiny, tmp_path, monkeypatch):
    train(tiny({"training.epochs": 1}), tmp_path / "run")
    from jcnn.training import trained

    real = trained.load_trained

    def spoilt(*args, **kwargs):
        loaded = real(*args, **kwargs)
        params = jax.tree.map(lambda a: a * np.float32(np.nan), loaded.state.params)
        return trained.Trained(loaded.experiment, loaded.state._replace(params=params), loaded.step)

    monkeypatch.setattr(trained, "load_trained", spoilt)
    with pytest.raises(UserError, match=r"values in 'dense_1\.b' that are not numbers"):
        next(predictions(tmp_path / "run", [Path("x.png")]))
