"""Everything that is wrong with a folder of own files, found in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from jcnn.data.folder_scan import TABLES, describe, walk
from jcnn.data.image import ENDINGS as IMAGES
from jcnn.data.image import open_image, opened
from jcnn.data.preparation import check_shape
from jcnn.data.sound import ENDINGS as SOUNDS
from jcnn.data.sound import read_sound
from jcnn.errors import UserError

TINY_PIXELS = 16
ANY_RATE = 8000
# What an ending says that Pillow's name of a format does not.
_SAME = {"JPG": "JPEG", "JFIF": "JPEG", "TIF": "TIFF", "PGM": "PPM", "HEIC": "HEIF"}
_OWN_NAME = {"MPO": "JPEG"}


class Finding(NamedTuple):
    """One thing that is wrong: where, of which kind, and in words."""

    path: Path
    kind: str
    message: str


class _Content(NamedTuple):
    findings: list[Finding]
    digest: str


def check_folder(
    folder: Path, track: Callable[[Iterable[Any], int], Iterable[Any]] | None = None
) -> tuple[int, list[Finding]]:
    """Read every file under a folder, and return how many images and recordings there are.

    Kinds of findings: "unreadable", "mislabelled" (another format than the name's ending says),
    "tiny" (a side under 16 pixels), "narrow" (a line of pixels, which training refuses),
    "duplicate" (the very same bytes), "stray", "broken link", "empty".

    Args:
        folder: the folder.
        track: is given what is found in each file, as it comes, and the number of files; shows how
            far it has come, and gives the same on.

    Raises:
        UserError: the folder does not exist or cannot be read.
    """
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {found}: expected a folder of images or recordings")
    files: list[Path] = []
    findings: list[Finding] = []
    for path, entry in walk(folder, IMAGES + SOUNDS):
        if entry is None:
            findings.append(Finding(path, "empty", f"{path} is a folder without any file"))
        elif not path.exists():
            findings.append(Finding(path, "broken link", f"{path} is {describe(entry)}"))
        elif path.suffix.lower() in IMAGES + SOUNDS and path.is_file():
            files.append(path)
        elif path.suffix.lower() not in TABLES:
            findings.append(Finding(path, "stray", f"{path} is {describe(entry)}"))
    with ThreadPoolExecutor() as pool:
        coming = pool.map(_check_file, files)
        contents: list[_Content] = list(track(coming, len(files)) if track else coming)
    for content in contents:
        findings += content.findings
    findings += _duplicates(files, [content.digest for content in contents])
    return len(files), sorted(findings)


def _check_file(path: Path) -> _Content:
    findings = []
    try:
        if path.suffix.lower() in SOUNDS:
            read_sound(path, ANY_RATE)
        else:
            findings += _check_image(path)
        return _Content(findings, hashlib.sha256(path.read_bytes()).hexdigest())
    except UserError as error:
        return _Content([Finding(path, "unreadable", str(error))], "")
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        return _Content([Finding(path, "unreadable", message)], "")


def _check_image(path: Path) -> Iterator[Finding]:
    image = open_image(path, channels=3)
    size = image.size
    if min(size) < TINY_PIXELS:
        message = (
            f"{path} is an image of {size[0]}x{size[1]} pixels: expected {TINY_PIXELS} per side"
        )
        yield Finding(path, "tiny", message)
    try:
        check_shape(path, image)
    except UserError as error:
        yield Finding(path, "narrow", str(error))
    with opened(path) as file:
        found = _OWN_NAME.get(file.format or "", file.format)
    said = path.suffix[1:].upper()
    if found != _SAME.get(said, said):
        yield Finding(path, "mislabelled", f"{path} is a {found} file, whatever its name says")


def _duplicates(files: list[Path], digests: list[str]) -> Iterator[Finding]:
    first: dict[str, Path] = {}
    for path, digest in zip(files, digests, strict=True):
        if digest and first.setdefault(digest, path) != path:
            other = first[digest]
            where = "" if other.parent == path.parent else ", and lies in another folder"
            message = f"{path} has the same bytes as {other}{where}"
            yield Finding(path, "duplicate", message)
