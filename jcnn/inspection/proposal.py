"""A first experiment for one's own folder: what one would try."""

from __future__ import annotations

import statistics
from math import log2

from jcnn.config.toml import to_toml
from jcnn.inspection.own_folder import Folder

_SIDES = (16, 24, 32, 48, 64, 96, 128)
# Squares of one size between these are taken as they are.
_SMALLEST, _SMALL = 8, 32
_STEPS = 1500
# Batch sizes, the largest first, and how many batches an epoch is to have at least.
_BATCHES = {64: 16, 32: 8, 16: 4, 8: 4, 4: 4}


def propose(folder: Folder) -> str:
    """Write a commented experiment for a folder, in TOML."""
    batch = _batch_size(folder.trained)
    epochs = min(60, max(8, round(_STEPS * batch / folder.trained)))
    data, layers = _images(folder) if folder.kind == "images" else _recordings(folder)
    document = {
        "data": data,
        "loss": {"name": "softmax_cross_entropy"},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {
                "schedule": "warmup_cosine_decay_schedule",
                "init_value": 0.0,
                "peak_value": 2e-3,
                "warmup_steps": "1 epochs",
                "decay_steps": f"{epochs} epochs",
            },
            "weight_decay": 0.02,
            "mask": "kernels",
        },
        "training": {"epochs": epochs, "batch_size": batch},
        "layers": layers,
    }
    return _commented(folder, to_toml(document))


def _batch_size(trained: int) -> int:
    """Large ones for many files; of few ones several to an epoch."""
    return next((size for size, least in _BATCHES.items() if trained // size >= least), 2)


def _split(folder: Folder) -> dict[str, object]:
    if not folder.test_folder:
        return {"test_share": folder.test_share}
    split: dict[str, object] = {"test_folder": folder.test_folder}
    if folder.validation_folder:
        split["validation_folder"] = folder.validation_folder
    return split


def _sizes(folder: Folder) -> tuple[int, int]:
    """Return ``image_size`` and ``resize``: room to cut from, but of small squares all there is."""
    if _SMALLEST <= folder.square <= _SMALL:
        return folder.square, folder.square
    typical = statistics.median(folder.sides) if folder.sides else 64
    side = max((s for s in _SIDES if s <= typical), default=_SIDES[0])
    return side, round(side * 9 / 8)


def _images(folder: Folder) -> tuple[dict[str, object], list[dict[str, object]]]:
    side, resize = _sizes(folder)
    data = {
        "name": "image_folder",
        "folder": str(folder.path.resolve()),
        "classes": list(folder.classes),
        **_split(folder),
        "image_size": side,
        "resize": resize,
        **({"channels": 1} if folder.is_gray else {}),
    }
    blocks = max(1, min(4, int(log2(side)) - 2))
    layers: list[dict[str, object]] = []
    for block in range(blocks):
        conv = {"type": "conv", "features": 16 * 2**block, "window": 3, "padding": "SAME"}
        layers += [{**conv, "bias": "none"}, {"type": "batch_norm"}]
        layers.append({"type": "relu_max_pool", "window": 2})
    return data, [*layers, {"type": "global_average_pool"}, *_head(folder)]


def _recordings(folder: Folder) -> tuple[dict[str, object], list[dict[str, object]]]:
    longest = statistics.quantiles(folder.sides, n=10)[-1] if len(folder.sides) > 1 else 1.0
    rate = folder.sample_rate
    front_end = {
        "sample_rate": rate,
        "high_hz": rate / 2,
        "mel_bands": 16 if rate <= 8000 else 32,
        "frame_count": min(400, max(16, round(100 * longest / 8) * 8)),
    }
    data = {
        "name": "sound_folder",
        "folder": str(folder.path.resolve()),
        "classes": list(folder.classes),
        **_split(folder),
        "front_end": front_end,
    }
    layers: list[dict[str, object]] = []
    for features in (32, 64):
        conv = {"type": "conv", "features": features, "window": 5, "padding": "SAME"}
        layers += [{**conv, "bias": "none"}, {"type": "batch_norm"}]
        layers.append({"type": "relu_max_pool", "window": 2})
    return data, [*layers, {"type": "global_max_pool"}, *_head(folder)]


def _head(folder: Folder) -> list[dict[str, object]]:
    dropout = {"type": "dropout", "drop_rate": 0.3}
    return [dropout, {"type": "dense", "features": len(folder.classes)}]


def _commented(folder: Folder, text: str) -> str:
    """Put before each table what one would want to know when changing it."""
    whose = f"{folder.count} {folder.kind} of {len(folder.classes)} classes"
    what = "images are cut to image_size" if folder.kind == "images" else "see docs for front_end"
    comments = {
        "[data]": f"# {whose} ({folder.splits}); {what}.",
        "[optimizer]": "# The rate rises over the first epoch and falls to 0 until the last one:"
        "\n# change decay_steps together with epochs. `jcnn optimizers`, `jcnn schedules`.",
        "[training]": "# More epochs, and [[training.augment]], where the training loss is far "
        "below the test loss.",
        "[[layers]]": "# `jcnn layers` lists what there is; `jcnn summary FILE` shows the shapes.",
    }
    for table, comment in comments.items():
        text = text.replace(f"\n{table}", f"\n{comment}\n{table}", 1)
    name = "".join(c if c.isprintable() else "?" for c in folder.path.resolve().name)
    head = f"# A first experiment on {name}, proposed by `jcnn init`."
    return f"{head}\n{text}"
