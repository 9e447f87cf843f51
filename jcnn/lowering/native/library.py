"""The compiled library, loaded once and made known to XLA."""

from __future__ import annotations

import ctypes
import os
import warnings
from functools import cache
from itertools import product
from pathlib import Path

import jax

from jcnn.errors import UserError
from jcnn.lowering.native.building import WINDOWS, digest, library_path, located
from jcnn.lowering.switches import is_on

SWITCH = "JCNN_NATIVE"
# Each has a correlation and a kernel gradient.
KINDS = (
    *(f"winograd_{window}{dtype}" for window in WINDOWS for dtype in ("", "_bfloat16")),
    "winograd_3_pairs", "winograd_3_bfloat16_pairs", "patches", "depthwise",
)  # fmt: skip
OPERATIONS = ("correlate", "kernel_gradient")
# A max pool and its adjoint for each dtype of winners, a correlation of few features, and into
# parts of images.
OTHERS = (
    *product(("max_pool", "scatter"), ("uint8", "uint16", "uint32")),
    ("few", "correlate"), ("patches", "correlate_into"), ("depthwise", "correlate_into"),
)  # fmt: skip
LOOPS = (*product(KINDS, OPERATIONS), *OTHERS)


def ready() -> bool:
    """Whether the library was built for this machine and loads, and JCNN_NATIVE is not 0."""
    return permitted() and _usable(digest())


def permitted() -> bool:
    """Whether there is a library that this user alone has written, and JCNN_NATIVE is not 0."""
    if not is_on(SWITCH):
        return False
    try:
        return _trusted(located())
    except OSError:  # the sources, whose digest is in its name, are not on the disk
        return False


def load() -> None:
    """Load the library.

    Raises:
        UserError: It is damaged, or of another system.
    """
    _loaded(digest())


def target(kind: str, operation: str) -> str:
    """What XLA knows an operation by: a program compiled for another library is another."""
    return f"jcnn_{digest()}_{kind}_{operation}"


def lanes() -> int:
    """Elements of a vector."""
    return _loaded(digest()).lanes()


def rows() -> int:
    """Tiles that a matrix product computes together."""
    return _loaded(digest()).rows()


def pairs() -> bool:
    """Whether minimal filtering takes bfloat16 in pairs."""
    return bool(_loaded(digest()).pairs())


def rounds() -> bool:
    """Whether products of bfloat16 are to be had: the library, on a processor that has them."""
    return ready() and pairs()


@cache
def _usable(digest: str) -> bool:
    """Whether it loads; what can't be loaded is said once, and everything goes on without it."""
    try:
        _loaded(digest)
    except UserError as error:
        warnings.warn(str(error), RuntimeWarning, stacklevel=2)
        return False
    return True


@cache
def _loaded(digest: str) -> ctypes.CDLL:
    """Load the library; XLA calls it by the names of its targets from then on."""
    names = {f"{kind}_{operation}": (kind, operation) for kind, operation in LOOPS}
    path = library_path()
    try:
        if _is_cut_off(path):
            raise OSError(f"{path}: it is cut off")
        library = ctypes.CDLL(str(path))
        functions = {name: getattr(library, name) for name in ("lanes", "rows", "pairs", *names)}
    except (OSError, AttributeError) as error:  # no library, or none of these loops
        raise UserError(
            f"the compiled loops can't be loaded ({error}): `jcnn native --remove` removes them, "
            f"and {SWITCH}=0 does without"
        ) from error
    for name, (kind, operation) in names.items():
        handler = jax.ffi.pycapsule(functions[name])
        jax.ffi.register_ffi_target(target(kind, operation), handler, platform="cpu")
    return library


def _is_cut_off(path: Path) -> bool:
    """Whether an ELF file of 64 bits ends before its last table, that of its sections.

    A process that maps what is not there is ended by the system, with no error that it could catch.
    """
    with path.open("rb") as file:
        header = file.read(64)
    if not header.startswith(b"\x7fELF\x02\x01"):
        return False
    start, each, count = (
        int.from_bytes(header[a:b], "little") for a, b in ((40, 48), (58, 60), (60, 62))
    )
    return path.stat().st_size < start + each * count


def _trusted(path: str) -> bool:
    """Whether there is a file that this user, and nobody else, has written.

    It will run as this user, and the folder may be among the temporary ones of all.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 (in a microsecond)
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return True
    return found.st_uid in (0, os.getuid()) and not found.st_mode & 0o022
