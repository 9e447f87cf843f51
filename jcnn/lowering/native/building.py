"""The library of compiled loops: its sources, its compiler, its place."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from hashlib import sha256
from pathlib import Path

import jax
from jaxlib.version import __version__ as jaxlib_version

from jcnn import processor
from jcnn.errors import UserError
from jcnn.folders import cache_folder
from jcnn.remains import child, temporary_folder

SOURCES = (
    "handlers.cc", "depthwise.h", "few.h", "half.h", "images.h", "parallel.h", "patches.h",
    "pools.h", "product.h", "seen.h", "tiles.h", "transforms.h", "winograd.h",
)  # fmt: skip
# Windows that minimal filtering is compiled for.
WINDOWS = (3, 5)
# GCC and Clang call this very processor so; on ARM not all of them know it as an architecture.
_THIS = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
FLAGS = (
    "-std=c++17", "-O3", _THIS, "-ffp-contract=fast", "-fno-signed-zeros",
    "-fno-trapping-math", "-fPIC", "-shared", "-w",
)  # fmt: skip
# Where XLA is held to less than the processor has, this is.
LIMITS = {"AVX2": ("-mno-avx512f",), "x86_64": ("-mno-avx",)}
COMPILERS = ("c++", "g++", "clang++")
_FOLDER = Path(__file__).parent
_untried: ContextVar[Path | None] = ContextVar("untried", default=None)
_SHOWN = 600  # characters of what a compiler says


def library_path() -> Path:
    """Return where the library for these sources, this JAX and this processor lies, or would."""
    return Path(located())


def located() -> str:
    """The same path, in a microsecond: every operation that is called asks for it."""
    if made := _untried.get():
        return str(made)
    return _located(cache_folder, os.environ.get("HOME"))


@contextmanager
def trying(made: Path) -> Iterator[None]:
    """Within the context, the library is this file, which has no place yet."""
    token = _untried.set(made)
    try:
        yield
    finally:
        _untried.reset(token)


@cache
def _located(folder: Callable[[], Path], home: str | None) -> str:
    """Where the library lies in what ``folder`` says of that home."""
    return str(folder() / "native" / f"{digest()}.so")


@cache
def digest() -> str:
    """What the library depends on: another of it is another library."""
    parts = [text for _, text in _sources()]
    parts += [
        *FLAGS,
        *_limits(),
        jaxlib_version,
        *platform.libc_ver(),
        processor.name(),
        processor.instructions(),
        processor.features(),
    ]
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


def build(check: Callable[[], None] = lambda: None) -> Path:
    """Compile the library, unless it is there, and return its path.

    It is written whole or not at all; ``CXX`` names another compiler.

    Args:
        check: Called while the library is the new one, which gets its place where this returns.

    Raises:
        UserError: There is no compiler, or it can't compile the library, or the folder can't be
            written.
    """
    path = library_path()
    if path.is_file():
        return path
    compiler = _compiler()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(path.parent) as folder:
            made = _compiled(compiler, folder)
            made.chmod(0o644)
            with trying(made):
                check()
            made.replace(path)
    except OSError as error:
        raise UserError(f"the compiled loops {path} can't be written: {error.strerror}") from error
    return path


def _compiled(compiler: Sequence[str], folder: Path) -> Path:
    for name, text in _sources():
        (folder / name).write_text(text, encoding="utf-8")
    made = folder / "library.so"
    include = f"-I{jax.ffi.include_dir()}"
    command = [*compiler, *FLAGS, *_limits(), include, f"{folder / SOURCES[0]}", "-o", f"{made}"]
    called = f"`{shlex.join(compiler)}`"
    try:
        ended, said = _run(command, folder)
    except OSError as error:
        raise UserError(
            f"the compiled loops can't be built: {called} can't be started ({error.strerror}); "
            "CXX names another compiler"
        ) from error
    if ended or not made.is_file():
        without = "" if ended else " and wrote no library"
        raise UserError(
            f"the compiled loops can't be built: {called} ended with {ended}{without}; CXX names "
            f"another compiler. It said: {said[:_SHOWN] or 'nothing'}"
        )
    return made


def _run(command: list[str], folder: Path) -> tuple[int, str]:
    """How a compiler ended, and what it said, in whatever encoding."""
    # its own temporary files lie in the folder too, so that they go when it is ended
    how = {"stderr": subprocess.PIPE, "env": {**os.environ, "TMPDIR": f"{folder}"}}
    with child(command, stdout=subprocess.DEVNULL, errors="backslashreplace", **how) as process:
        _, said = process.communicate()
    return process.returncode, said


def _compiler() -> tuple[str, ...]:
    """The system's compiler, or the one that the package ziglang brings."""
    if wanted := os.environ.get("CXX", "").strip():
        return _named(wanted)
    for name in COMPILERS:
        if found := shutil.which(name):
            return (found,)
    if importlib.util.find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "c++")
    raise UserError(
        f"a C++ compiler is needed: found none of {', '.join(COMPILERS)}; install your system's "
        "(Debian: apt install g++; macOS: xcode-select --install), or pip install 'jcnn[native]'"
    )


def _named(wanted: str) -> tuple[str, ...]:
    """What CXX says: a program, whose path may hold spaces, or a shell's words."""
    if shutil.which(wanted):
        return (wanted,)
    try:
        words = shlex.split(wanted)
    except ValueError:  # a quotation without end
        words = [wanted]
    if not words or shutil.which(words[0]) is None:
        raise UserError(f"CXX names the compiler '{(words or [wanted])[0]}', which there is not")
    return tuple(words)


def _limits() -> tuple[str, ...]:
    return LIMITS.get(processor.instructions(), ())


@cache
def _sources() -> tuple[tuple[str, str], ...]:
    """Names and texts of the sources: those that are written, and the matrices."""
    written = ((name, (_FOLDER / name).read_text(encoding="utf-8")) for name in SOURCES)
    return *written, ("matrices.h", _matrices())


def _matrices() -> str:
    """The matrices of :func:`jcnn.lowering.winograd.matrices`, as C++ has them."""
    from jcnn.lowering.winograd import ROUNDED, TILE, matrices

    names = ("Matrices", "MatricesOfPairs")
    lines = ["#pragma once", "namespace jcnn {", *(f"template <int R> struct {n};" for n in names)]
    made = [(names[0], window, matrices(TILE, window)) for window in WINDOWS]
    for name, window, (transposed, kernel, inputs) in [
        *made,
        (names[1], 3, matrices(TILE, 3, ROUNDED)),
    ]:
        powers = [list(column) for column in zip(*transposed, strict=True)]
        lines.append(f"template <> struct {name}<{window}> {{")
        for name, m in (("kPowers", powers), ("kKernel", kernel), ("kInput", inputs)):
            rows = ", ".join(
                "{" + ", ".join(f"{float(entry)!r}f" for entry in row) + "}" for row in m
            )
            lines.append(f"  static constexpr float {name}[{len(m)}][{len(m[0])}] = {{{rows}}};")
        lines.append("};")
    return "\n".join([*lines, "}  // namespace jcnn", ""])
