"""The reference of the Python functions: pages that mkdocstrings fills from docstrings."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from jcnn import ops

ROOT = Path(__file__).resolve().parents[1]

GROUPS = {
    "Convolution": ["correlate", "convolve", "convolve_transpose"],
    "Borders": ["pad"],
    "Pools": ["max_pool", "relu_max_pool", "average_pool", "square_pool", "decimate", "global_max_pool", "global_average_pool"],
    "The dense layer": ["dense"],
    "Activations": ["relu", "leaky_relu", "prelu", "sigmoid", "tanh", "scaled_tanh", "gelu", "softmax", "unit_step", "signum"],
    "Losses": ["mean_squared_error", "binary_cross_entropy", "softmax_cross_entropy"],
    "Normalisation and dropout": ["batch_norm", "batch_norm_inference", "local_response_norm", "dropout"],
}  # fmt: skip

OTHERS = {
    "spatial": (
        "jcnn.ops.spatial",
        "Images split in space",
        "Operations on images of which each device holds a part.",
    ),
    "proof": (
        "jcnn.proof",
        "Is a rule right?",
        "See the [guide](../guides/own_rule.md) for how to read their reports.",
    ),
    "experiments": ("jcnn.config", "Experiments", "An experiment's file as a typed value."),
    "layers": (
        "jcnn.layers",
        "Layers and models",
        "The keys of each layer in a file: [layers](config/layers.md).",
    ),
    "training": ("jcnn.training", "Training", "What `jcnn train`, `evaluate` and `predict` call."),
    "runs": ("jcnn.runs", "Runs", "A run's folder."),
    "weights": ("jcnn.weights", "Weights", "PyTorch's names and layout, in safetensors files."),
    "lowering": (
        "jcnn.lowering",
        "Lowerings",
        "How correlations and pools run, and how one is forced.",
    ),
    "lax": (
        "jcnn.lax",
        "In place of jax.lax: jcnn.lax",
        "The convolutions of `jax.lax`, for a framework's code that calls them ([guide](../guides/flax_and_equinox.md)).",
    ),
}

# Read, not imported: their frameworks need not be here.
WHOLE = {"flax": "In Flax: jcnn.flax", "equinox": "In Equinox: jcnn.equinox"}


def pages() -> dict[str, str]:
    """All pages, by their place."""
    made = {"reference/ops.md": _operations()}
    for name, (module, title, lead) in OTHERS.items():
        public = importlib.import_module(module).__all__
        entries = "\n".join(
            f"::: {_home(module, entry)}\n" for entry in public if _documented(module, entry)
        )
        made[f"reference/{name}.md"] = f"# {title}\n\n`{module}`. {lead}\n\n{entries}"
    for name, title in WHOLE.items():
        if (ROOT / "jcnn" / f"{name}.py").exists():
            made[f"reference/{name}.md"] = f"# {title}\n\n::: jcnn.{name}\n"
    return made


def _operations() -> str:
    listed = {name for names in GROUPS.values() for name in names}
    groups = {**GROUPS, "More": sorted(set(ops.__all__) - listed)}
    parts = [
        "# Operations\n\n`jcnn.ops`: pure functions on channels-last arrays, each with its gradient written down. "
        "`jcnn.reference` has the same names on plain JAX. Reverse mode, to any order; for forward mode take the reference. "
        "[T] and [L] name the lecture that a formula is from, and its slide: [all formulas](../equations.md).\n"
    ]
    for title, names in groups.items():
        entries = "\n".join(
            f"::: {_home('jcnn.ops', name)}\n" for name in names if name in ops.__all__
        )
        parts += [f"## {title}\n\n{entries}"] if entries else []
    return "\n".join(parts)


def _home(module: str, name: str) -> str:
    """Where a name is defined: its docstring is there."""
    thing = getattr(importlib.import_module(module), name)
    return f"{getattr(thing, '__module__', module)}.{name}"


def _documented(module: str, name: str) -> bool:
    thing = getattr(importlib.import_module(module), name)
    return (
        callable(thing)
        and getattr(thing, "__module__", "").startswith("jcnn")
        and hasattr(thing, "__name__")
    )


def backward_files() -> list[str]:
    """The files whose lines the page Backward shows."""
    text = (ROOT / "docs" / "backward" / "fixtures.js").read_text(encoding="utf-8")
    found = json.loads(text[text.index("{") : text.rindex("}") + 1])["sources"]
    return [*sorted({where["path"] for where in found.values()}), "scripts/backward_fixtures"]
