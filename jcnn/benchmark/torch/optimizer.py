"""PyTorch's counterparts of Optax's optimizers, and what of an experiment's step they lack."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from jcnn.config import Experiment
from jcnn.optimizers import Optimizer

# What PyTorch's optimizers are given of Optax's arguments.
_TAKEN = {
    "sgd": {"momentum", "nesterov"},
    "adam": set(),
    "adamw": {"weight_decay", "mask"},
    "rmsprop": {"momentum", "centered"},
}
# Numbers of both formulas, whose values change no timing; small ones keep the numbers finite.
_VALUES = {"learning_rate", "b1", "b2", "eps", "eps_root", "eps_in_sqrt", "decay", "initial_scale"}
_RATE = _DECAY = 1e-3


def build_optimizer(experiment: Experiment, net: nn.Sequential) -> torch.optim.Optimizer:
    """Return the counterpart of the experiment's optimizer, of what learns of its network.

    Raises:
        ValueError: There is none, or nothing learns.
    """
    chosen = experiment.optimizer
    given, groups = chosen.arguments, _groups(experiment, net)
    if not groups:
        raise ValueError("it takes no step of a network of which nothing learns")
    momentum = given.get("momentum") or 0.0
    match chosen.name:
        case "sgd":
            nesterov = bool(momentum and given.get("nesterov"))
            return torch.optim.SGD(groups, lr=_RATE, momentum=momentum, nesterov=nesterov)
        case "adam":
            return torch.optim.Adam(groups, lr=_RATE)
        case "adamw":
            return torch.optim.AdamW(groups, lr=_RATE)
        case "rmsprop":
            centered = bool(given.get("centered"))
            return torch.optim.RMSprop(groups, lr=_RATE, momentum=momentum, centered=centered)
    raise ValueError(f"it has no counterpart of the optimizer '{chosen.name}'")


def _groups(experiment: Experiment, net: nn.Sequential) -> list[dict[str, Any]]:
    """What learns, by its layer's rate and by whether it decays."""
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, layer in zip(experiment.model.names, net.children(), strict=True):
        rate = experiment.optimizer.rate(name)
        for path, parameter in layer.named_parameters():
            if parameter.requires_grad:
                decays = _decays(experiment.optimizer, path.rpartition(".")[2])
                found.setdefault((rate, decays), []).append(parameter)
    return [
        {"params": parameters, "lr": _RATE * rate, "weight_decay": _DECAY * decays}
        for (rate, decays), parameters in found.items()
    ]


def _decays(chosen: Optimizer, parameter: str) -> bool:
    """Whether the optimizer itself lets a parameter of this name decay."""
    if chosen.name != "adamw" or chosen.arguments.get("weight_decay") == 0:
        return False
    mask = chosen.arguments.get("mask", True)
    return parameter == "w" if mask == "kernels" else mask


def left_out(experiment: Experiment) -> list[str]:
    """Name what jcnn's step does and PyTorch's does not, by the keys that ask for it."""
    chosen, training = experiment.optimizer, experiment.training
    known = _VALUES | _TAKEN.get(chosen.name, set())
    arguments = [key for key, value in chosen.arguments.items() if value and key not in known]
    found = [f"optimizer.{key}" for key in arguments]
    for key, parts in (("before", chosen.before), ("after", chosen.after)):
        found += [f"{part.name} in optimizer.{key}" for part in parts]
    if experiment.loss.class_weights:
        found.append("loss.class_weights")
    if training.accumulate_batches > 1:
        found.append("training.accumulate_batches")
    if training.on_nonfinite == "skip":
        found.append("training.on_nonfinite")
    return found
