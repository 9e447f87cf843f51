"""IDX files, the format of MNIST: a magic number, the sizes, then bytes; gzipped or not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from jcnn.data.folder import read_content
from jcnn.errors import UserError

UNSIGNED_BYTE = 0x08


def read_idx(path: Path, rank: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes with ``rank`` axes.

    Raises:
        UserError: it is not such a file, or has fewer or more bytes than its header announces.
    """
    content = read_content(path)
    header = 4 + 4 * rank
    if len(content) < header:
        raise UserError(
            f"{path} is cut short: expected an IDX header of {header} bytes, found {len(content)}"
        )
    magic, expected = int.from_bytes(content[:4], "big"), UNSIGNED_BYTE << 8 | rank
    if magic != expected:
        raise UserError(
            f"{path} is not an IDX file of {rank} axes of bytes: expected magic number {expected}, "
            f"found {magic}"
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", rank, 4))
    if len(content) != header + math.prod(shape):
        kind = "cut short" if len(content) < header + math.prod(shape) else "too long"
        sizes = " x ".join(map(str, shape))
        raise UserError(
            f"{path} is {kind}: its header announces {sizes} = {math.prod(shape)} bytes of data, "
            f"found {len(content) - header}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
