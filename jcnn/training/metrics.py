"""Metrics beside loss and accuracy, by scikit-learn, from the scores of the classes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

ALL = ("top_5", "f1", "recall", "confusion_matrix")


def classification_metrics(
    scores: np.ndarray, labels: np.ndarray, classes: Sequence[str], names: Collection[str]
) -> dict[str, Any]:
    """Compute the metrics of these names.

    Args:
        scores: A number per class, (N, K), the largest of the one that is predicted: a loss's
            scores, which tell apart classes whose probabilities are rounded to the same.
        labels: The right classes, (N,).
        classes: The classes' names, K of them.
        names: Of :data:`ALL`: ``top_5``, the share of examples whose class is among the five of the
            largest scores; ``f1``, the mean over the classes of the harmonic mean of precision and
            recall; ``recall``, by class; ``confusion_matrix``, how many examples of each class (a
            row each) were taken for which.

    >>> p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> classification_metrics(p, np.array([0, 1, 1]), ["cat", "dog"], ["recall"])
    {'recall': {'cat': 1.0, 'dog': 0.5}}
    """
    from sklearn import metrics

    numbers, predicted = np.arange(len(classes)), scores.argmax(axis=1)
    # a class without examples, or that nothing is taken for, counts as 0, without a warning
    kwargs: dict[str, Any] = {"labels": numbers, "zero_division": 0.0, "average": None}
    found: dict[str, Any] = {}
    for name in names:
        if name == "top_5":
            best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
            found[name] = float((best == labels[:, None]).any(axis=1).mean())
        elif name == "f1":
            by_class = metrics.f1_score(labels, predicted, **kwargs)
            found[name] = float(np.mean(by_class))
        elif name == "recall":
            rates = metrics.recall_score(labels, predicted, **kwargs)
            found[name] = dict(zip(classes, map(float, np.asarray(rates)), strict=True))
        else:
            found[name] = metrics.confusion_matrix(labels, predicted, labels=numbers).tolist()
    return found
