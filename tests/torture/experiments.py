"""The experiment whose trainings are disturbed: a little of everything that a state is made of."""

from __future__ import annotations

from pathlib import Path

LIVELY = """
name = "lively"
[data]
name = "digits"
train_count = 600
[optimizer]
name = "adam"
learning_rate = {schedule = "cosine_decay_schedule", init_value = 3e-3, decay_steps = "200 epochs"}
[training]
epochs = 200
batch_size = 32
average_decay = 0.99
keep_best = true
augment = [{name = "shift", pixels = 1}, {name = "cutout", size = 2}]
[[layers]]
type = "conv"
features = 8
window = 3
[[layers]]
type = "batch_norm"
[[layers]]
type = "relu_max_pool"
window = 2
[[layers]]
type = "flatten"
[[layers]]
type = "dropout"
drop_rate = 0.2
[[layers]]
type = "dense"
features = 10
"""


def written(folder: Path) -> Path:
    """Write it for one process."""
    config = folder / "lively.toml"
    config.write_text(LIVELY)
    return config


def written_together(folder: Path, epochs: int) -> Path:
    """Write it for several processes."""
    kept = f"epochs = {epochs}\ncheckpoint_every_seconds = 1.0"
    text = LIVELY.replace("\nepochs = 200\n", f"\n{kept}\n")
    config = folder / "lively.toml"
    config.write_text(text + "\n[mesh]\n\n[distributed]\nlost_after_seconds = 15\n")
    return config
