"""Damages to the files of checkpoints, and what becomes of them."""

from __future__ import annotations

import random
import shutil
import traceback
from collections import Counter
from pathlib import Path

import jax
import numpy as np

from jcnn.errors import UserError
from jcnn.runs import Run
from jcnn.training import load_trained, train

KINDS = ("cut", "bit", "zeros", "deleted", "emptied", "grown")


def bits(folder: Path) -> tuple[int, list[bytes]]:
    """Return the step and the bits of the state that a run is taken to have."""
    trained = load_trained(folder)
    return trained.step, [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(trained.state)]


def harm(file: Path, kind: str, draw: random.Random) -> None:
    """Damage one file."""
    data = bytearray(file.read_bytes())
    at = draw.randrange(len(data)) if data else 0
    match kind:
        case "deleted":
            return file.unlink()
        case "cut":
            data = data[:at]
        case "bit" if data:
            data[at] ^= 1 << draw.randrange(8)
        case "zeros":
            data[at : at + 64] = bytes(len(data[at : at + 64]))
        case "emptied":
            data.clear()
        case "grown":
            data += draw.randbytes(7)
    file.write_bytes(data)


def checkpoint_bits(run: Path, folder: Path) -> dict[int, list[bytes]]:
    """Return the bits of each checkpoint of a run, by step."""
    known = {}
    names = [path.name for path in Run(run).checkpoints_folder.iterdir()]
    for name in names:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run, folder)
        for other in set(names) - {name}:
            shutil.rmtree(Run(folder).checkpoints_folder / other)
        step, state = bits(folder)
        known[step] = state
    shutil.rmtree(folder)
    return known


class Judge:
    """Damages copies of a run, and sees to it that no wrong state is ever taken.

    Attributes:
        met: How often which kind of damage was done, and what came of it.
    """

    def __init__(self, run: Path, folder: Path, *, seed: int = 0) -> None:
        """Take the run's checkpoints as they are for right."""
        self._run, self._folder = run, folder
        self._known = checkpoint_bits(run, folder / "one")
        self._draw = random.Random(seed)
        self.met: Counter[str] = Counter()

    def damaged(self) -> tuple[Path, str]:
        """Copy the run and damage one to three files of its newest checkpoints."""
        copy = self._folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._run, copy)
        files = sorted(p for p in Run(copy).checkpoints_folder.rglob("*") if p.is_file())
        done = []
        for file in self._draw.sample(files, self._draw.choice((1, 1, 2, 3, len(files)))):
            kind = self._draw.choice(KINDS)
            harm(file, kind, self._draw)
            self.met[kind] += 1
            done.append(f"{file.relative_to(copy)} {kind}")
        return copy, ", ".join(done)

    def wrong(self) -> str | None:
        """Damage a copy, read it, and say what is wrong, or None."""
        copy, done = self.damaged()
        try:
            step, state = bits(copy)
        except UserError as error:
            self.met["one sentence"] += 1
            return None if len(str(error).splitlines()) == 1 else f"{done}: {error}"
        except Exception:
            return f"{done}: {traceback.format_exc()[-900:]}"
        self.met["an undamaged one taken"] += 1
        return None if self._known.get(step) == state else f"{done}: a wrong state was taken"

    def wrong_after_resumption(self, expected: list[bytes]) -> str | None:
        """Damage a copy, train it to its end, and compare with the bits of an undisturbed run."""
        copy, done = self.damaged()
        Run(copy).summary_file.unlink(missing_ok=True)
        try:
            train(Run(copy).experiment(), copy, resume=True)
            state = bits(copy)[1]
        except Exception:
            return f"{done}: {traceback.format_exc()[-900:]}"
        self.met["resumed"] += 1
        return None if state == expected else f"{done}: resumed to another state"
