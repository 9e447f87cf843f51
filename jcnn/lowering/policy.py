"""What is asked of the lowerings where an operation is called: by name, without Winograd, or local.

It holds when the operation is compiled, which may be later.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from types import MappingProxyType
from typing import NamedTuple

import jax

from jcnn.geometry import Geometry

OPERATIONS = ("correlate", "input_gradient", "kernel_gradient")
NAMES = (
    "xla", "direct", "grouped", "patches", "transposed", "overlap_add", "fold", "fold_xla",
    "fold_overlap_add", "fold_winograd", "winograd", "depthwise",
)  # fmt: skip

_forced: ContextVar[Mapping[str, str]] = ContextVar("forced", default=MappingProxyType({}))
_notes: ContextVar[list[tuple[str, Geometry, str]] | None] = ContextVar("notes", default=None)
_winograd: ContextVar[bool | None] = ContextVar("winograd", default=None)


@contextmanager
def forced(name: str | None = None, /, **operations: str) -> Iterator[None]:
    """Within the context, what is traced takes this lowering wherever it can serve.

    >>> from jcnn.lowering import choose
    >>> with forced("patches", input_gradient="xla"):
    ...     choose("correlate", Geometry((9, 9), (3, 3), (1, 1), ((0, 0),) * 2, (1, 1)), 8, 8).name
    'patches'

    What is asked is asked where an operation is called, which under ``jax.jit`` is where it is
    traced: a function that was compiled before keeps its lowerings (``jax.clear_caches()``
    forgets them).

    Raises:
        ValueError: There is no such lowering, or no such operation.
    """
    everywhere = dict.fromkeys(OPERATIONS, name) if name else {}
    for what, words, names in (
        ("operation", operations, OPERATIONS),
        ("lowering", {**everywhere, **operations}.values(), NAMES),
    ):
        for word in words:
            if word not in names:
                near = "".join(get_close_matches(word, names, 1))
                hint = f" (did you mean '{near}'?)" if near else f"; there are {', '.join(names)}"
                raise ValueError(f"forced: no {what} '{word}'{hint}")
    token = _forced.set({**_forced.get(), **everywhere, **operations})
    try:
        yield
    finally:
        _forced.reset(token)


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


@contextmanager
def allow_winograd(on: bool) -> Iterator[None]:
    """Within the context, Winograd's algorithm may (or may not) be chosen in what is traced."""
    token = _winograd.set(on)
    try:
        yield
    finally:
        _winograd.reset(token)


class Policy(NamedTuple):
    """What was asked for when an operation was called, and holds when it is compiled."""

    forced: tuple[tuple[str, str], ...]
    winograd: bool
    precision: str | None

    @classmethod
    def current(cls) -> Policy:
        """What is asked for here."""
        return cls(tuple(sorted(_forced.get().items())), winograd_allowed(), _precision())

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context, what is traced takes the lowerings that were asked for."""
        tokens = _forced.set(dict(self.forced)), _winograd.set(self.winograd)
        try:
            with jax.default_matmul_precision(self.precision):
                yield
        finally:
            _forced.reset(tokens[0])
            _winograd.reset(tokens[1])


def asked_for(operation: str) -> str | None:
    """The lowering that an operation is to take where it can serve."""
    return _forced.get().get(operation)


def winograd_allowed() -> bool:
    """Whether Winograd's algorithm may be chosen."""
    on = _winograd.get()
    return os.environ.get("JCNN_WINOGRAD", "1") != "0" if on is None else on


def only_local() -> bool:
    """Whether the precision asked for is the highest, where every window is kept apart."""
    return _precision() in ("highest", "float32")


def _precision() -> str | None:
    return jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
