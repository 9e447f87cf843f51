"""`jcnn train --distributed`: one of several processes, of which the first one alone speaks."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from jcnn.cli import mistakes, process, streams, supervision
from jcnn.cli.options import say
from jcnn.errors import UserError

if TYPE_CHECKING:
    from jcnn.config import Distributed, Experiment
    from jcnn.training.processes import Cluster

# What JAX and Gloo raise where the other end of a collective is gone.
_GONE = ("Gloo", "Connection reset", "Connection closed", "UNAVAILABLE", "Socket closed")


def check_options(distributed: bool, *given: str | int | None) -> None:
    """Refuse the others' place without ``--distributed``."""
    if not distributed and any(value is not None for value in given):
        raise UserError(
            "--coordinator, --processes and --process-index are for several processes: expected "
            "--distributed too"
        )


def train(
    experiment: Experiment,
    out: Path | None,
    joins: dict[str, Any],
    run: Callable[..., None],
    **how: Any,
) -> NoReturn:
    """Join the others, see that all mean the same, and train with them."""
    supervision.end_with_parent()
    _keep_output_clean()
    from jcnn.config import Distributed, Mesh
    from jcnn.runs import unused_folder
    from jcnn.training.processes import Cluster

    settings = settings_of(experiment.distributed or Distributed(), joins)
    cluster = Cluster(settings)
    logging.getLogger("jcnn").disabled = not cluster.writes
    # the run keeps how long a process waits, and not where the processes are today
    elsewhere = {"coordinator": None, "processes": None, "process_index": None}
    kept = experiment.distributed and experiment.distributed.model_copy(update=elsewhere)
    mesh = experiment.mesh or Mesh()
    experiment = experiment.model_copy(update={"mesh": mesh, "distributed": kept})

    def whole() -> None:
        cluster.check_same(_facts(experiment, how["resume"]))
        folder = cluster.agree(str(out or unused_folder(experiment.name)))
        supervision.say_run(folder)
        run(experiment, Path(folder), processes=cluster, **how)

    process.end(_code(cluster, whole, settings.lost_after_seconds))


def settings_of(written: Distributed, joins: dict[str, Any]) -> Distributed:
    """What the file says, and the command line before it.

    Raises:
        UserError: A value can't be; the option is named.
    """
    from pydantic import ValidationError

    from jcnn.config import Distributed
    from jcnn.validation import explain

    given = {key: value for key, value in joins.items() if value is not None}
    both = {**written.model_dump(), **given}
    try:
        return Distributed.model_validate(both)
    except ValidationError as error:
        key, reason = explain(error, Distributed, both)
        raise UserError(f"--{key.replace('_', '-') or 'distributed'}: {reason}") from None


def _keep_output_clean() -> None:
    """Let what Gloo writes to the standard output go where the supervisor leaves it out."""
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(output, "w", buffering=1, encoding="utf-8", errors="replace")


def _facts(experiment: Experiment, resume: bool) -> dict[str, Any]:
    """What must be the same in all processes; names and values."""
    from jcnn.runs.environment import versions
    from jcnn.runs.resumption import leaves

    keys = dict(leaves(experiment.resolved().model_dump(mode="json")))
    elsewhere = ("data.folder", "data.worker_count")  # each machine has its own
    same = {key: value for key, value in keys.items() if key not in elsewhere}
    named = {f"the version of {name}": value for name, value in versions().items()}
    return {**named, "--resume": resume, **same}


def _code(cluster: Cluster, whole: Callable[[], None], patience: int) -> int:
    """Do it; return the exit code when the others know why, too."""
    from jcnn.errors import Elsewhere

    try:
        whole()
        code = 0
    except typer.Exit as end:
        code = end.exit_code
    except Elsewhere:
        code = 2
    except Exception as error:
        if (known := _told(cluster, error)) is not None:
            cluster.leave()
            return known
        if not any(word in str(error) for word in _GONE):
            traceback.print_exc()
            return 1
        # JAX's coordination service will soon know who it is, and end this process
        time.sleep(2 * patience)
        say(f"jcnn: another process can't be reached: {str(error).splitlines()[0]}", error=True)
        return supervision.LOST
    cluster.leave()
    return code


def _told(cluster: Cluster, error: Exception) -> int | None:
    """Say a mistake in one sentence, to the others too; return its exit code, None for others."""
    sentence = mistakes.sentence_of(error)
    if sentence is None:
        return None
    if mistakes.is_unread(error):
        code = mistakes.leave_unread()
    else:
        if isinstance(error, OSError) and error.filename is None:
            streams.silence(sys.stdout)  # see `app`
        say(f"jcnn: {mistakes.shortened(sentence)}", error=True)
        code = 2
    cluster.failed(sentence)
    return code
