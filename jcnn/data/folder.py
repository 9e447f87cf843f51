"""Where data sets lie on this machine, and the bytes of their files."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

from jcnn.errors import UserError
from jcnn.folders import cache_folder


def data_folder() -> Path:
    """The folder that JCNN_DATA names, else :func:`cache_folder`; it need not exist."""
    named = os.environ.get("JCNN_DATA")
    return expanded(named).absolute() if named else cache_folder()


def expanded(path: str | os.PathLike[str]) -> Path:
    """Put the home folder in the place of a leading ``~``.

    Raises:
        UserError: there is no such user, or none with a home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path} begins with the home folder of a user who has none") from None


def find_file(folder: Path, stem: str) -> Path | None:
    """Find ``stem.gz`` or ``stem`` in a folder, the compressed one first; None where neither is."""
    return next((p for p in (folder / f"{stem}.gz", folder / stem) if p.exists()), None)


def missing(name: str, path: Path, alternative: str = "") -> UserError:
    """Say that a published file is not there, and how to get it.

    Args:
        name: the data set.
        path: the file that was looked for.
        alternative: an ending that its name may have as well.
    """
    ending = f" (or {path.name}{alternative})" if alternative else ""
    return UserError(
        f"data set '{name}': {path}{ending} does not exist; `jcnn data fetch {name}` downloads it, "
        "or set JCNN_DATA to the folder that has the data"
    )


def read_content(path: Path) -> bytes:
    """Read a file, through gzip where its name ends in ``.gz``.

    Raises:
        UserError: it cannot be read, or its compression is damaged.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except EOFError:
        raise UserError(
            f"{path} is cut short: its gzip stream ends after {len(raw)} bytes without its end mark"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is not an intact gzip file: {error}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
