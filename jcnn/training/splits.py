"""The test split of an experiment's data, in memory or streamed, as batches."""

from __future__ import annotations

from collections.abc import Iterator

from jcnn.config import Experiment
from jcnn.data import Batch


def testing_batches(experiment: Experiment, batch_size: int) -> Iterator[Batch]:
    """Yield every test example once, in a fixed order; the last batch may be smaller.

    Raises:
        UserError: The data are missing or damaged.
    """
    stream = experiment.data.stream()
    if stream is not None:
        yield from stream.batches("test", batch_size)
        return
    test = experiment.data.load().test
    for start in range(0, len(test), batch_size):
        yield test.x[start : start + batch_size], test.y[start : start + batch_size]
