"""``[mesh]`` and ``[distributed]``: over which devices, and over which processes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from jcnn.fields import Count, Natural, Table, checked_size


def _devices(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and 0 != value >= -1:
        return checked_size(value)
    raise PydanticCustomError(
        "devices", "expected a positive number of devices, or -1 for the rest"
    )


def _address(value: Any) -> Any:
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if colon and host and port.isdecimal() and 0 < int(port) < 2**16:
        return value
    raise PydanticCustomError("address", 'expected an address with its port, such as "node0:1234"')


Devices = Annotated[int, BeforeValidator(_devices)]


class Mesh(Table):
    """``[mesh]``: devices along three axes; -1 stands for all that the others leave.

    Attributes:
        data: Parts that each batch is split into.
        model: Parts that pairs of dense layers are split into, the first by its columns and the
            second by its rows (Krizhevsky, 2014); for the other layers it splits the batch further.
        space: Parts that each image is split into along its height.
    """

    data: Devices = -1
    model: Devices = 1
    space: Devices = 1

    @model_validator(mode="after")
    def _check_rest(self) -> Mesh:
        rest = [name for name in ("data", "model", "space") if getattr(self, name) == -1]
        if len(rest) > 1:
            raise ValueError(f"expected -1 for one of its keys, found it for {' and '.join(rest)}")
        return self


class Distributed(Table):
    """``[distributed]``: how the processes of ``jcnn train --distributed`` find each other.

    What is not given is asked of the cluster: Slurm, Kubernetes, Open MPI, TPU pods.

    Attributes:
        coordinator: Where process 0 listens, ``"host:port"``.
        processes: How many there are.
        process_index: Which one this is, from 0; given to each by ``--process-index``.
        connect_seconds: How long a process waits for the coordinator, and this for the others.
        lost_after_seconds: How long nothing may be heard of a process; then the others end.
        stuck_after_seconds: How long no step may end; then all processes end. Compilation and
            evaluation count as steps.
    """

    coordinator: Annotated[str, BeforeValidator(_address)] | None = None
    processes: Count | None = None
    process_index: Natural | None = None
    connect_seconds: Count = 300
    lost_after_seconds: Annotated[Count, Field(ge=5)] = 30
    stuck_after_seconds: Annotated[Count, Field(ge=10)] = 1800

    @model_validator(mode="after")
    def _check_index(self) -> Distributed:
        index, count = self.process_index, self.processes
        if index is not None and count is not None and index >= count:
            raise ValueError(f"process_index is {index} of {count}: expected 0 to {count - 1}")
        return self
