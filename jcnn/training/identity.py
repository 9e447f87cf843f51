"""What data a run learned from: its classes, their order and counts, and a fingerprint."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from jcnn.config import Experiment
from jcnn.data import Dataset, Split, StreamingDataset
from jcnn.errors import UserError
from jcnn.runs.files import write_text, writing
from jcnn.runs.run import Run

SPLITS = ("train", "validation", "test")
# So much of a split's examples is hashed, evenly spread: a tenth of a second.
HASHED_BYTES = 64 << 20


def open_data(experiment: Experiment) -> Dataset | StreamingDataset:
    """Open the data: a stream where they are too large for memory, else read."""
    return experiment.data.stream() or experiment.data.load()


def close_data(opened: Dataset | StreamingDataset) -> None:
    """End what reads ahead: before Python ends, which frees its memory with a complaint."""
    close = getattr(opened, "close", None)  # beyond the protocol: not every stream has processes
    if close is not None:
        close()


def identity(opened: Dataset | StreamingDataset) -> dict[str, Any]:
    """Return the classes, how many examples of each there are, and a fingerprint.

    The fingerprint of data in memory is of their labels and of up to 64 MB of their values; that of
    a folder is of its files' names and sizes.
    """
    counts = {}
    for split in SPLITS:
        labels = labels_of(opened, split)
        if labels is not None:
            numbers = np.bincount(labels, minlength=len(opened.classes)).tolist()
            counts[split] = dict(zip(opened.classes, numbers, strict=True))
    return {"classes": list(opened.classes), "counts": counts, "fingerprint": _fingerprint(opened)}


def labels_of(opened: Dataset | StreamingDataset, split: str) -> np.ndarray | None:
    """Return the classes of a split's examples; None where there is no such split."""
    if isinstance(opened, Dataset):
        part = getattr(opened, split)
        return None if part is None else part.y
    return opened.labels(split)


def train_count(opened: Dataset | StreamingDataset) -> int:
    """Return how many training examples there are."""
    return len(opened.train) if isinstance(opened, Dataset) else opened.train_count


def write_identity(run: Run, found: dict[str, Any]) -> None:
    """Keep it in the run's folder.

    Raises:
        UserError: It can't be written.
    """
    with writing(f"'{run.data_file}'"):
        write_text(run.data_file, json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def check_identity(run: Run, found: dict[str, Any]) -> None:
    """Refuse other data than the run learned from, naming what differs.

    Raises:
        UserError: They differ.
    """
    if different := difference(run, found):
        raise UserError(f"--resume: {different}; bring them back, or start a new run")


def difference(run: Run, found: dict[str, Any]) -> str:
    """Say in what data differ from those that a run learned from; "" where they are the same.

    Raises:
        UserError: What the run keeps of them is damaged.
    """
    if not run.data_file.exists():  # a run made of a file of weights has learned from none yet
        return ""
    try:
        different = _difference(json.loads(run.data_file.read_text(encoding="utf-8")), found)
    except OSError as error:
        raise UserError(f"'{run.data_file}' can't be read: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UserError(
            f"'{run.data_file}' is damaged: expected the classes and the counts of each split; "
            "where the data are surely the same, delete it, and --resume writes it again"
        ) from None
    if not different:
        return ""
    return f"the data are not those that run '{run.folder}' learned from: {different}"


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    if before["classes"] != now["classes"]:
        pairs = zip(before["classes"], now["classes"], strict=False)
        changed = next((k for k, (a, b) in enumerate(pairs) if a != b), None)
        if changed is None:
            return f"it has {len(before['classes'])} classes, they have {len(now['classes'])}"
        return (
            f"its class {changed} is '{before['classes'][changed]}', theirs is "
            f"'{now['classes'][changed]}'"
        )
    for split in SPLITS:
        old, new = (each["counts"].get(split) for each in (before, now))
        if old != new:
            for name in now["classes"]:
                a, b = ((each or {}).get(name, 0) for each in (old, new))
                if a != b:
                    return f"'{name}' had {a} examples for {split}, now it has {b}"
    if before["fingerprint"] != now["fingerprint"]:
        return "classes and counts are the same, but not the files or their contents"
    return ""


def _fingerprint(opened: Dataset | StreamingDataset) -> str:
    digest = hashlib.sha256()
    if not isinstance(opened, Dataset):
        listed = getattr(opened, "digest", None)  # beyond the protocol: not every stream has files
        digest.update(listed().encode() if listed else b"")
    else:
        for split in filter(None, (opened.train, opened.validation, opened.test)):
            _update(digest, split)
    return digest.hexdigest()


def _update(digest: Any, split: Split) -> None:
    digest.update(np.ascontiguousarray(split.y).tobytes())
    each = max(split.x[:1].nbytes, 1)
    step = -(-split.x.nbytes // HASHED_BYTES) or 1
    for start in range(0, len(split.x), step * max(1, (1 << 20) // each)):
        chunk = split.x[start : start + step * max(1, (1 << 20) // each) : step]
        digest.update(np.ascontiguousarray(chunk).tobytes())
