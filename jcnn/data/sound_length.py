"""Whether a file of sound holds all that it announces, which libsndfile does not insist on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, NoReturn

from jcnn.errors import UserError

# What writers announce that cannot know how long a recording in a pipe will be: SoX this many bytes
# in AIFF, less a part of a sample, and 0x7FFFF000 in WAV; others all bits.
ENDLESS = 0x7F000000 - 1024
# Samples of a frame of MP3: writers count their frames one more or less.
FRAME = 1152
# What libsndfile writes into its log where a chunk of sound, or a whole W64, is not there.
_LOGGED = re.compile(
    r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE
)
# The first frame of an MP3 by LAME and others: flags, then how many frames and bytes there are.
_INFO = re.compile(rb"\xff[\xe0-\xff].{7,36}?(?:Xing|Info)\0\0\0(.)(.{4})(.{4})", re.DOTALL)
_HEAD = 4096


def check_bytes(path: Path) -> bool:
    """Refuse a file that ends before its own count of bytes does.

    Returns:
        Whether it is an MP3 that says how long it is, so that libsndfile's count is no guess.

    Raises:
        UserError: the file is cut short.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = _after_tags(file)
        file.seek(start)
        head = file.read(_HEAD)
        if info := _INFO.search(head):
            return _check_info(path, info, size - start - info.start())
    return False


def check_samples(path: Path, log: str, announced: int, found: int) -> None:
    """Refuse a recording of which less is there than was announced.

    Args:
        path: the file.
        log: what libsndfile says of it.
        announced: samples per channel at least.
        found: samples per channel that were read.

    Raises:
        UserError: the file is cut short.
    """
    for chunk in _LOGGED.finditer(log):
        if int(chunk[2]) < int(chunk[1]) < ENDLESS:
            _refuse(path, "header", f"{chunk[1]} bytes of sound", int(chunk[2]))
    if found < announced:
        _refuse(path, "header", f"{announced} samples or more", found)


def _refuse(path: Path, what: str, announced: str, found: int) -> NoReturn:
    raise UserError(f"{path} is cut short: its {what} announces {announced}, found {found}")


def _after_tags(file: IO[bytes]) -> int:
    """Where the sound begins behind titles and pictures (ID3), which may be there several times."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            return start
        size = sum(
            (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
        )
        start += 10 + size + (10 if head[5] & 0x10 else 0)


def _check_info(path: Path, info: re.Match[bytes], found: int) -> bool:
    """Look at an MP3's own counts; without them libsndfile guesses its length, and may be wrong."""
    flags = info[1][0]
    has_frames, has_bytes = bool(flags & 1), bool(flags & 2)
    announced = int.from_bytes(info[3 if has_frames else 2])
    # as much as another program may have taken off the end: titles, of 128 bytes
    slack = max(announced // 100, 256)
    if has_bytes and found < announced - slack:
        _refuse(path, "header", f"{announced} bytes of sound", found)
    return has_frames
