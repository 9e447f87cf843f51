"""The process that runs PyTorch for :mod:`jcnn.benchmark.torch.peer`."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Callable
from typing import Any

import torch

from jcnn import processor
from jcnn.benchmark.torch import network, operations
from jcnn.benchmark.torch.optimizer import left_out
from jcnn.config import Experiment

Runnable = Callable[[], object]


class Worker:
    """Answers requests; every public method is one."""

    def __init__(self) -> None:
        self._built: dict[str, Runnable] = {}
        self._device = "cpu"

    def begin(self, *, gpu: bool, tf32: bool) -> dict[str, Any]:
        """Choose the device, and say which memory layouts are worth trying there."""
        layouts = ["contiguous", "channels_last"]
        if gpu and torch.cuda.is_available():
            self._device = "cuda"
            layouts.append("compiled")
            torch.backends.cudnn.benchmark = True
            network.allow_tf32(tf32)
        else:
            torch.set_num_threads(processor.cores())
        return {"version": torch.__version__, "layouts": layouts}

    def build_step(self, *, key: str, layout: str, experiment: str) -> dict[str, Any]:
        """Build an experiment's training step, and say what of jcnn's it lacks."""
        loaded = Experiment.model_validate(tomllib.loads(experiment))
        self._keep(key, layout, network.build_step(loaded, layout, self._device))
        return {"left_out": left_out(loaded)}

    def build_operation(self, *, key: str, layout: str, operation: dict) -> dict[str, Any]:
        """Build a single operation."""
        self._keep(key, layout, operations.build(operation, layout, self._device))
        return {}

    def forget(self) -> dict[str, Any]:
        """Free what was built."""
        self._built.clear()
        return {}

    def run(self, *, key: str, count: int) -> dict[str, Any]:
        """Run what was built under ``key``, and say how long it took."""
        runnable = self._built[key]
        self._wait()
        start = time.perf_counter()
        for _ in range(count):
            runnable()
        self._wait()
        return {"seconds": time.perf_counter() - start}

    def _keep(self, key: str, layout: str, runnable: Runnable) -> None:
        """Keep what was built, if it runs: its first run may compile it or choose algorithms."""
        if self._device == "cuda" or layout == "compiled":
            runnable()
            self._wait()
        self._built[key] = runnable

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def main() -> None:
    """Answer the requests on standard input, one per line, until it ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # the other process must be told whatever PyTorch refuses
            answer = {"error": " ".join(str(error).split()) or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
