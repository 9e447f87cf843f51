"""Run the command as a person would, and judge what it said."""

from __future__ import annotations

import contextlib
import io
import signal
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jcnn.cli import main
from jcnn.config import load_experiment
from jcnn.errors import UserError
from jcnn.training import Step
from jcnn.training.memory import check_fits
from tests.torture.alterations import Altered, names_a_key

SECONDS = 120


class TooLongError(Exception):
    """A command hangs."""


@contextlib.contextmanager
def limited(seconds: int = SECONDS) -> Iterator[None]:
    """Raise where something takes longer."""

    def ring(number: int, frame: Any) -> None:
        raise TooLongError(f"takes longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def command(arguments: Sequence[str]) -> tuple[int, str]:
    """Return exit code and what was said, errors first; 99 and a traceback where there is one."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with limited(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
    except BaseException:
        return 99, traceback.format_exc()
    return code, err.getvalue() or out.getvalue()


def judge_command(arguments: Sequence[str]) -> str | None:
    """Say what is wrong with how a command ended, or None."""
    code, said = command(arguments)
    if code not in (0, 2):
        return f"exit code {code}: {said[-600:]}"
    if code == 2 and not said.strip():
        return "exit code 2 without a word"
    return f"a traceback: {said[-600:]}" if "Traceback" in said else None


def judge_config(case: Altered, folder: Path) -> str | None:
    """Read an altered file and trace its training step; say what is wrong, or None."""
    path = folder / case.source
    path.write_text(case.text, encoding="utf-8")
    code, said = command(["summary", str(path)])
    if code == 2:
        if len(said.splitlines()) != 1 or not said.startswith("jcnn: "):
            return f"not one sentence: {said}"
        return None if names_a_key(said, case) else f"no key is named: {said}"
    if code != 0:
        return said[-600:]
    try:
        with limited():
            trace_step(path)
    except UserError as error:
        return None if names_a_key(str(error), case) else f"no key is named: {error}"
    except BaseException:
        return traceback.format_exc()[-900:]
    return None


def trace_step(path: Path) -> None:
    """Do all that training does before it allocates and compiles."""
    experiment = load_experiment(path)
    check_fits(experiment)
    step = Step(experiment, steps_per_epoch=10)
    state = jax.eval_shape(step.init)
    count = experiment.training.batch_size
    x = jax.ShapeDtypeStruct((count, *experiment.input_shape), jnp.float32)
    jax.eval_shape(step, state, x, jax.ShapeDtypeStruct((count,), jnp.int32), jax.random.key(0))
