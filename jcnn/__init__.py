"""Convolutional networks in JAX through explicit, proved gradients.

``jcnn.ops`` are the operations, each with its gradient rule written down; ``jcnn.reference`` are
the same on plain JAX. Submodules load when they are first asked for; ``jcnn.flax`` and
``jcnn.equinox`` say what to install where the framework is missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jcnn import (
        augmentations,
        benchmark,
        config,
        data,
        demo,
        export,
        inspection,
        lax,
        layers,
        losses,
        lowering,
        ops,
        optimizers,
        proof,
        reference,
        report,
        runs,
        scaling,
        sweep,
        training,
        weights,
    )
    from jcnn import equinox as equinox
    from jcnn import flax as flax
    from jcnn.config import Experiment, load_experiment
    from jcnn.layers import Model

__version__ = "0.1.0"
__all__ = [
    "Experiment",
    "Model",
    "augmentations",
    "benchmark",
    "config",
    "data",
    "demo",
    "export",
    "inspection",
    "lax",
    "layers",
    "load_experiment",
    "losses",
    "lowering",
    "ops",
    "optimizers",
    "proof",
    "reference",
    "report",
    "runs",
    "scaling",
    "sweep",
    "training",
    "weights",
]

_ADAPTERS = ("equinox", "flax")  # apart, since `import *` would need what they adapt to
_HOMES = {
    "Experiment": "jcnn.config",
    "load_experiment": "jcnn.config",
    "Model": "jcnn.layers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the command line starts at once."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in (*__all__, *_ADAPTERS):
        return importlib.import_module(f"jcnn.{name}")
    raise AttributeError(f"module 'jcnn' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
