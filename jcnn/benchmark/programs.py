"""Compiled programs: how long they took to compile, and the memory they need."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax

from jcnn.lowering import compiler_options


@dataclass(frozen=True)
class Program:
    """A function compiled for fixed shapes.

    Attributes:
        call: The compiled function.
        compile_seconds: Tracing, lowering and compiling.
        temporary_bytes: What it allocates beside arguments and results; None where XLA can't say.
    """

    call: Callable[..., Any]
    compile_seconds: float
    temporary_bytes: int | None


def compile_program(
    function: Callable[..., Any], arguments: Sequence[Any], *, donate: Sequence[int] = ()
) -> Program:
    """Compile from nothing: what JAX has traced and compiled before is forgotten first."""
    jax.clear_caches()
    gc.collect()  # which would otherwise come at some point of what is timed
    start = time.perf_counter()
    options = compiler_options()
    jitted = jax.jit(function, donate_argnums=tuple(donate), compiler_options=options)
    compiled = jitted.lower(*arguments).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    temporary = getattr(memory, "temp_size_in_bytes", None)
    return Program(compiled, seconds, temporary)


@contextmanager
def no_compilation_cache() -> Iterator[None]:
    """Within the context, no compiled program is read from disk or written there."""
    before = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
