"""What is asked of the lowerings: by name, without Winograd, local, and for which machine.

It takes part in what JAX compiles: a function that was compiled under one policy is traced again
under another, as it is for another ``jax.default_matmul_precision``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import jax

from jcnn.geometry import Geometry
from jcnn.lowering import native
from jcnn.lowering.machine import Machine, this_machine
from jcnn.lowering.problem import CORRELATIONS, POOLS
from jcnn.lowering.switches import is_on

NAMES = (
    "xla", "direct", "grouped", "patches", "transposed", "overlap_add", "fold", "fold_xla",
    "fold_overlap_add", "fold_winograd", "winograd", "depthwise", "native_winograd",
    "fold_native_winograd", "native_patches", "native_grouped", "native_depthwise",
)  # fmt: skip
POOL_NAMES = ("views", "doubling", "spread", "overlap_add", "placed", "native")

_notes: ContextVar[list[tuple[str, Geometry, str]] | None] = ContextVar("notes", default=None)


@dataclass(frozen=True)
class Policy:
    """What was asked for where an operation was called, and holds when it is compiled.

    Attributes:
        forced: Pairs of an operation and the lowering that it takes wherever that can serve.
        winograd: Whether Winograd's algorithm may be chosen; None: as JCNN_WINOGRAD says.
        native: Whether compiled loops may be chosen; None: where they were built.
        precision: ``jax.default_matmul_precision``.
        machine: Whose rates predict what a lowering costs; None: those of this machine.
    """

    forced: tuple[tuple[str, str], ...] = ()
    winograd: bool | None = None
    native: bool | None = None
    precision: str | None = None
    machine: Machine | None = None

    @classmethod
    def current(cls) -> Policy:
        """What is asked for here."""
        policy = _asked()
        return replace(
            policy,
            winograd=is_on("JCNN_WINOGRAD") if policy.winograd is None else policy.winograd,
            native=native.ready() if policy.native is None else policy.native,
            precision=jax.config.jax_default_matmul_precision,  # pyright: ignore[reportAttributeAccessIssue]
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context, what is traced takes the lowerings that were asked for."""
        with _context(self), jax.default_matmul_precision(self.precision):
            yield

    @property
    def on(self) -> Machine:
        """The machine that lowerings are chosen for."""
        return self.machine or this_machine()

    @property
    def local(self) -> bool:
        """Whether the precision asked for is the highest, where every window is kept apart."""
        return self.precision in ("highest", "float32")

    @property
    def rounded(self) -> bool:
        """Whether the factors of products may be rounded to bfloat16; sums are of float32."""
        return self.precision in ("bfloat16", "BF16_BF16_F32")

    def wanted(self, operation: str) -> str | None:
        """The lowering that an operation is to take where it can serve."""
        return dict(self.forced).get(operation)


# Part of what JAX's caches are asked for, so that no compiled program outlives its policy.
_context = jax.make_user_context()


def _asked() -> Policy:
    return _context.value or Policy()


@contextmanager
def forced(name: str | None = None, /, **operations: str) -> Iterator[None]:
    """Within the context, operations take this lowering wherever it can serve.

    >>> from jcnn.lowering import choose
    >>> with forced("patches", input_gradient="xla"):
    ...     choose("correlate", Geometry((9, 9), (3, 3), (1, 1), ((0, 0),) * 2, (1, 1)), 8, 8).name
    'patches'

    A name alone is asked of the three correlations; a pool's lowering is asked for by the pool's
    name, as in ``forced(scatter="overlap_add")``. Functions that ``jax.jit`` has compiled are
    compiled anew within the context; what was compiled before serves again after it.

    Raises:
        ValueError: There is no such lowering, or no such operation.
    """
    everywhere = dict.fromkeys(CORRELATIONS, name) if name else {}
    _check("operation", operations, (*CORRELATIONS, *POOLS))
    for operation, wanted in {**everywhere, **operations}.items():
        _check("lowering", [wanted], POOL_NAMES if operation in POOLS else NAMES)
    before = _asked()
    pairs = {**dict(before.forced), **everywhere, **operations}
    with _context(replace(before, forced=tuple(sorted(pairs.items())))):
        yield


def _check(what: str, words: Any, names: tuple[str, ...]) -> None:
    for word in words:
        if word not in names:
            near = "".join(get_close_matches(word, names, 1))
            hint = f" (did you mean '{near}'?)" if near else f"; there are {', '.join(names)}"
            raise ValueError(f"forced: no {what} '{word}'{hint}")


@contextmanager
def allow_winograd(on: bool) -> Iterator[None]:
    """Within the context, Winograd's algorithm may (or may not) be chosen."""
    with _context(replace(_asked(), winograd=on)):
        yield


@contextmanager
def allow_native(on: bool) -> Iterator[None]:
    """Within the context, compiled loops may (or may not) be chosen, where they were built."""
    with _context(replace(_asked(), native=on and native.ready())):
        yield


@contextmanager
def on_machine(machine: Machine) -> Iterator[None]:
    """Within the context, lowerings are chosen, and blocks sized, as on this machine."""
    with _context(replace(_asked(), machine=machine)):
        yield


@contextmanager
def noted() -> Iterator[list[tuple[str, Geometry, str]]]:
    """Within the context, what is compiled adds operation, geometry and lowering to the list.

    A program that was compiled before adds nothing: an operation called by itself is one as well.
    """
    notes: list[tuple[str, Geometry, str]] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def note(operation: str, g: Geometry, name: str) -> None:
    """Tell who listens which lowering is being compiled."""
    if (notes := _notes.get()) is not None:
        notes.append((operation, g, name))
