"""Several processes that train together: what they agree on, and how one learns that others fail.

Each runs the same program on the same global arrays. What a process decides by its own clock, or
because of a signal, is decided by process 0 and told to the others, through the key-value store of
JAX's coordination service: no device waits for it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from jcnn.config import Distributed
from jcnn.errors import Elsewhere, UserError

T = TypeVar("T")
LEAVING_SECONDS = 10
# Rounds that no process is behind: of two dispatches, since a third one waits for the first.
_BEHIND = 32
# Until process 0 answers: `check_same` gathers facts, then mistakes, then waits.
_MOST_ROUNDS = 3
STUCK = 5  # what a process ends with where nothing moves any more


class Alone:
    """The only process."""

    index, count = 0, 1

    @property
    def writes(self) -> bool:
        """Whether this process writes the run's folder, and the logs."""
        return self.index == 0

    def agree(self, own: T) -> T:
        """Return what process 0 gave."""
        return own

    def holds_in_all(self, own: bool) -> bool:
        """Return whether something holds in every process."""
        return own

    def clock(self) -> float:
        """Return the seconds of process 0's clock."""
        return self.agree(time.perf_counter())

    def any_signal(self, number: int | None) -> int | None:
        """Return the signal that one of the processes has got."""
        return number

    def everyone(self, action: Callable[[], T]) -> T:
        """Do something in every process; where it fails in one, it ends all.

        Args:
            action: What to do; nothing that the processes agree on, since one of them may fail
                before that.

        Raises:
            UserError: It is a mistake here, and in no process before this.
            Elsewhere: It has failed in another process.
            Exception: What else has failed here, and in no process before this.
        """
        return action()

    def meet(self) -> None:
        """Wait until all are here; from one thread of each, which does nothing else with them."""

    def check_same(self, facts: dict[str, Any]) -> None:
        """Compare what must be the same in all processes."""

    def failed(self, message: str) -> None:
        """Tell the others that this process ends, and why."""

    def leave(self) -> None:
        """Go when the others go."""


ALONE = Alone()


class Cluster(Alone):
    """Processes that JAX's coordination service connects."""

    _acting = False  # within an action of everyone's

    def __init__(self, settings: Distributed) -> None:
        """Join them: those that ``settings`` names, or those of the cluster that JAX finds.

        Raises:
            UserError: They can't be found, or are not there in time.
        """
        self._client = _connected(settings)
        self.index, self.count = jax.process_index(), jax.process_count()
        self._patience = settings.stuck_after_seconds
        self._round = self._meetings = 0
        self._moved = time.monotonic()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        """End this process where nothing moves any more: no error would ever be raised."""
        while (still := time.monotonic() - self._moved) < self._patience:
            time.sleep(min(1.0, self._patience - still + 0.01))
        line = (
            f"jcnn: process {self.index}: no step has ended for {self._patience} s "
            "(distributed.stuck_after_seconds), here or in another process"
        )
        os.write(2, f"{line}\n".encode())
        os._exit(STUCK)

    def _next(self) -> str:
        assert not self._acting, "nothing can be agreed on within an action of everyone's"
        self._round += 1
        self._moved = time.monotonic()
        return f"jcnn/{self._round}"

    def _set(self, key: str, value: Any) -> None:
        self._client.key_value_set(key, json.dumps(value))

    def _get(self, key: str) -> Any:
        # longer than the watch takes, which says what is wrong
        return json.loads(self._client.blocking_key_value_get(key, 2 * self._patience * 1000))

    def _of_all(self, key: str, own: Any) -> list[Any]:
        """Give process 0 what each process has; the others get nothing."""
        self._set(f"{key}/{self.index}", own)
        return [self._get(f"{key}/{index}") for index in range(self.count)] if self.writes else []

    def agree(self, own: T) -> T:
        """See :meth:`Alone.agree`; values of JSON."""
        key = self._next()
        if self.writes:
            self._set(key, {"value": own})
            if self._round > _BEHIND:
                self._client.key_value_delete(f"jcnn/{self._round - _BEHIND}")
            return own
        told = self._get(key)
        if "failed" in told:
            raise Elsewhere(told["failed"])
        return told["value"]

    def holds_in_all(self, own: bool) -> bool:
        """See :meth:`Alone.holds_in_all`."""
        return self.agree(all(self._of_all(self._next(), own)))

    def any_signal(self, number: int | None) -> int | None:
        """See :meth:`Alone.any_signal`."""
        if not self.writes and number is not None:
            self._client.key_value_set("jcnn-signal", json.dumps(number), allow_overwrite=True)
        if self.writes and number is None:
            told = dict(self._client.key_value_dir_get("jcnn-signal"))
            number = next((json.loads(value) for value in told.values()), None)
        return self.agree(number)

    def everyone(self, action: Callable[[], T]) -> T:
        """See :meth:`Alone.everyone`."""
        result, failure = None, None
        self._acting = True
        try:
            result = action()
        except Exception as error:  # whatever it is, the others would wait
            failure = error
        finally:
            self._acting = False
        failed = self._of_all(self._next(), failure is not None)
        first = self.agree(next((index for index, each in enumerate(failed) if each), None))
        if first is not None and first != self.index:
            raise Elsewhere(f"process {first} has a mistake to report")
        if isinstance(failure, UserError):
            raise UserError(f"process {first}: {failure}" if first else str(failure))
        if failure is not None:
            raise failure
        return result  # pyright: ignore[reportReturnType]

    def meet(self) -> None:
        """See :meth:`Alone.meet`.

        Raises:
            Elsewhere: One of them is gone.
        """
        self._meetings += 1
        try:
            self._client.wait_at_barrier(f"jcnn-meeting-{self._meetings}", self._patience * 1000)
        except Exception as error:  # of the coordination service, which says who
            raise Elsewhere(f"a process is gone: {error}") from error

    def check_same(self, facts: dict[str, Any]) -> None:
        """Compare what must be the same in all processes.

        Raises:
            UserError: It differs; one of the differences is named, by process 0.
            Elsewhere: The same, in the other processes.
        """
        all_facts = self._of_all(self._next(), facts)

        def compare() -> None:
            for index, other in enumerate(all_facts):
                for name in [*facts, *(name for name in other if name not in facts)]:
                    if other.get(name) != facts.get(name):
                        raise UserError(
                            f"{name} is {facts.get(name)!r} in process 0 and {other.get(name)!r} "
                            f"in process {index}: expected the same configuration and versions in "
                            "all processes"
                        )

        self.everyone(compare)

    def failed(self, message: str) -> None:
        """See :meth:`Alone.failed`; process 0's word reaches the others where they next agree."""
        if self.writes:
            for _ in range(_MOST_ROUNDS):  # the others may be within what takes several
                self._set(self._next(), {"failed": message})

    def leave(self) -> None:
        """See :meth:`Alone.leave`."""
        try:
            self._client.wait_at_barrier("jcnn-leave", LEAVING_SECONDS * 1000)
            jax.distributed.shutdown()
        except Exception:  # the others are gone
            return


def _connected(settings: Distributed) -> Any:
    """Join the processes, and return the client of the coordination service."""
    address, index = settings.coordinator, settings.process_index
    if address is not None and index:
        _wait_for(address, settings.connect_seconds)
    try:
        jax.distributed.initialize(
            address,
            settings.processes,
            index,
            initialization_timeout=settings.connect_seconds,
            heartbeat_timeout_seconds=settings.lost_after_seconds,
            shutdown_timeout_seconds=LEAVING_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        where = f"the processes at {address}" if address else "a cluster's processes"
        raise UserError(
            f"--distributed: JAX can't join {where} ({reason[:200]}): expected a cluster that it "
            "knows (Slurm, Kubernetes, Open MPI, a TPU pod), or --coordinator HOST:PORT, "
            "--processes N and --process-index K"
        ) from None
    from jax._src import distributed  # JAX's store of keys and values has no public name

    return distributed.global_state.client


def _wait_for(address: str, seconds: int) -> None:
    """Wait until the coordinator answers: JAX itself ends the process where it doesn't."""
    host, _, port = address.rpartition(":")
    began, reason = time.monotonic(), "no answer"
    while (left := seconds - (time.monotonic() - began)) > 0:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=left).close()
        except OSError as error:
            reason = error.strerror or str(error)
            time.sleep(min(0.2, max(0.0, left)))
        else:
            return
    raise UserError(
        f"the coordinator at {address} can't be reached ({reason}), tried for {seconds} s "
        "(distributed.connect_seconds): expected process 0 to listen there"
    )
