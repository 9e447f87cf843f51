"""Files are written whole or not at all, and are on the disk when a function returns."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jcnn.errors import Elsewhere, UserError, system_words
from jcnn.remains import cleared

_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # as safetensors writes it


def _mode() -> int:
    """Return how a new file may be used, as the user's mask says; it can be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


MODE = _mode()


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` through a temporary file beside it: no half is ever seen.

    A link stays one, and so does a pipe or a device (``/dev/stdout``, ``/dev/null``), which is
    written to: a file put in its place would be missed by all others who use it.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(data)
        return
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    # the name itself may be as long as a name can be
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:32]}.")
    try:
        with cleared(lambda: Path(temporary).unlink(missing_ok=True)):
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(MODE)
            Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync(path.parent)


def check_place(path: Path) -> None:
    """See before long work that a file can be written to ``path``, by another one beside it.

    Raises:
        OSError: It is a folder, or that beside it can't be written.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():  # a pipe or a device
        return
    with tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent):
        pass


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8; see :func:`write_bytes`."""
    write_bytes(path, text.encode())


def append_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add a line of JSON per row, and wait until they are on the disk."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in rows))
        stream.flush()
        os.fsync(stream.fileno())


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folder, and keeps names by itself
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_figure(path: Path, figure: Any) -> None:
    """Draw one of Matplotlib's figures, in the format that the path's ending names.

    Raises:
        UserError: It can't be written.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.removeprefix("."))
    with writing(f"'{path}'"):
        write_bytes(path, drawn.getvalue())


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Say in one sentence that ``what`` can't be written, and why.

    Raises:
        UserError: The disk is full, the folder is gone or may not be written, …
    """
    try:
        yield
    except (UserError, Elsewhere):
        raise
    except Exception as error:
        # safetensors' own is no OSError, but has its number; another one is a fault of the code.
        if not (isinstance(error, OSError) or _OS_ERROR.search(str(error))):
            raise
        raise UserError(f"{what} can't be written: {reason(error)}") from error


def with_nulls(value: Any) -> Any:
    """Put null in the place of infinities and of what is no number: JSON has neither.

    >>> with_nulls({"loss": float("inf"), "epochs": [1, 2]})
    {'loss': None, 'epochs': [1, 2]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: with_nulls(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [with_nulls(entry) for entry in value]
    return value


def reason(error: BaseException) -> str:
    """Return the system's own words for an error, or the error's first line.

    >>> reason(ValueError("I/O error: No space left on device (os error 28)"))
    'No space left on device'
    """
    if isinstance(error, OSError) and error.strerror:
        return system_words(error)
    text = str(error).strip()
    if number := _OS_ERROR.search(text):
        return os.strerror(int(number[1]))
    return (text or type(error).__name__).splitlines()[0][:200]
