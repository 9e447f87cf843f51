"""A first experiment for one's own folder: what is in it, and what one would try."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Literal

from jcnn.config.toml import to_toml
from jcnn.data.image import ENDINGS as IMAGES
from jcnn.data.sound import ENDINGS as RECORDINGS
from jcnn.errors import UserError

_TEST_FOLDERS = ("test", "val", "valid", "validation")
_SIDES = (16, 24, 32, 48, 64, 96, 128)
_LOOKED_AT = 200
_STEPS = 1500
_TEST_SHARE = 0.2

Kind = Literal["images", "recordings"]


@dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes:
        path: The folder.
        kind: Of what.
        classes: Names of the class folders, sorted.
        count: Training files, or all of them where there is no split.
        test_folder: The folder of the test files beside ``train``; None where there is no split.
        sides: Shorter sides of some images, in pixels; or lengths of some recordings, in seconds.
        sample_rate: Of most recordings; 0 of images.
    """

    path: Path
    kind: Kind
    classes: tuple[str, ...]
    count: int
    test_folder: str | None
    sides: tuple[float, ...]
    sample_rate: int = 0


def look(path: Path) -> Folder:
    """Look at a folder: ``CLASS/*``, or ``train/CLASS/*`` beside ``test/CLASS/*``.

    Raises:
        UserError: It does not hold two classes of images or of recordings.
    """
    if not path.is_dir():
        raise UserError(f"'{path}' is no folder: expected one with a folder of files per class")
    test = next((name for name in _TEST_FOLDERS if (path / name).is_dir()), None)
    parent = path / "train" if test and (path / "train").is_dir() else path
    classes = sorted(f.name for f in parent.iterdir() if f.is_dir() and f.name[0] not in "._")
    files = [file for name in classes for file in sorted((parent / name).iterdir())]
    by_kind = {
        kind: [file for file in files if file.suffix.lower() in endings]
        for kind, endings in (("images", IMAGES), ("recordings", RECORDINGS))
    }
    kind: Kind = "images" if len(by_kind["images"]) >= len(by_kind["recordings"]) else "recordings"
    found = by_kind[kind]
    held = sorted({file.parent.name for file in found})
    if len(held) < 2:
        raise UserError(
            f"'{path}' holds {len(held)} classes: expected two folders or more, one per class, "
            f"with images ({' '.join(IMAGES)}) or recordings ({' '.join(RECORDINGS)})"
        )
    some = found[:: max(1, len(found) // _LOOKED_AT)]
    sides, rates = _image_sides(some), 0
    if kind == "recordings":
        sides, rates = _lengths(some)
    split = test if parent != path else None
    return Folder(path, kind, tuple(held), len(found), split, sides, rates)


def _image_sides(files: Iterable[Path]) -> tuple[float, ...]:
    from PIL import Image

    sides = []
    for file in files:
        try:
            with Image.open(file) as image:
                sides.append(float(min(image.size)))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # training names the files that can't be read
    return tuple(sides)


def _lengths(files: Iterable[Path]) -> tuple[tuple[float, ...], int]:
    import soundfile

    lengths, rates = [], Counter[int]()
    for file in files:
        try:
            found = soundfile.info(file)
        except (soundfile.SoundFileError, OSError, ValueError):
            continue  # for training to name
        lengths.append(found.duration)
        rates[found.samplerate] += 1
    rate = rates.most_common(1)[0][0] if rates else 16000
    return tuple(lengths), min(rate, 16000)


def propose(folder: Folder) -> str:
    """Write a commented experiment for a folder, in TOML."""
    batch = 64 if folder.count >= 1280 else 32 if folder.count >= 320 else 16
    trained = folder.count if folder.test_folder else round(folder.count * (1 - _TEST_SHARE))
    epochs = min(60, max(8, round(_STEPS * batch / max(trained, 1))))
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


def _split(folder: Folder) -> dict[str, object]:
    if folder.test_folder:
        return {"test_folder": folder.test_folder}
    return {"test_share": _TEST_SHARE}


def _images(folder: Folder) -> tuple[dict[str, object], list[dict[str, object]]]:
    typical = statistics.median(folder.sides) if folder.sides else 64
    side = max((s for s in _SIDES if s <= typical), default=_SIDES[0])
    data = {
        "name": "image_folder",
        "folder": str(folder.path.resolve()),
        "classes": list(folder.classes),
        **_split(folder),
        "image_size": side,
        "resize": round(side * 9 / 8),
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
    split = "train" if folder.test_folder else "no split"
    what = "images are cut to image_size" if folder.kind == "images" else "see docs for front_end"
    comments = {
        "[data]": f"# {whose} ({split}); {what}."
        + ("" if folder.test_folder else f" {_TEST_SHARE:.0%} of each class are for testing."),
        "[optimizer]": "# The rate rises over the first epoch and falls to 0 until the last one:"
        "\n# change decay_steps together with epochs. `jcnn optimizers`, `jcnn schedules`.",
        "[training]": "# More epochs, and [[training.augment]], where the training loss is far "
        "below the test loss.",
        "[[layers]]": "# `jcnn layers` lists what there is; `jcnn summary FILE` shows the shapes.",
    }
    for table, comment in comments.items():
        text = text.replace(f"\n{table}", f"\n{comment}\n{table}", 1)
    head = f"# A first experiment on {folder.path.resolve().name}, proposed by `jcnn init`."
    return f"{head}\n{text}"
