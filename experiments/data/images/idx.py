"""The IDX format of MNIST and Fashion-MNIST: 4 bytes of magic, one size per dimension, then the values.

Source: LeCun, Cortes & Burges, "The MNIST database", section "File formats".
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.unpack import unpacked

UNSIGNED_BYTE = 0x08


def read_idx(path: Path | str, dimensions: int | None = None) -> np.ndarray:
    """The array of unsigned bytes in an IDX file; '.gz' files are unpacked.

    dimensions: how many the array must have (3 for images, 1 for labels); None for any.
    Raises DataError naming the file, what was expected and what was found.
    """
    return parse(unpacked(Path(path)), path, dimensions)


def parse(raw: bytes, path: Path | str, dimensions: int | None = None) -> np.ndarray:
    """The array in the bytes of an IDX file; `path` is what an error calls it."""
    if len(raw) < 4:
        raise DataError(f"{path} is not an IDX file: it holds {len(raw)} bytes, its header alone needs 4; fetch it again")
    zero, kind, found = struct.unpack(">HBB", raw[:4])
    if zero or kind != UNSIGNED_BYTE:
        raise DataError(f"{path} is not an IDX file of unsigned bytes: expected it to begin with 00 00 08, found {raw[:3].hex(' ')}")
    if dimensions is not None and found != dimensions:
        what = {1: "labels", 3: "images"}
        raise DataError(
            f"{path} has {found} dimensions ({what.get(found, 'something else')}), expected {dimensions} ({what.get(dimensions, 'other data')}); is it misnamed?"
        )
    start = 4 + 4 * found
    if len(raw) < start:
        raise DataError(f"{path} is truncated: expected a header of {start} bytes, found {len(raw)}; fetch it again")
    shape = struct.unpack(f">{found}I", raw[4:start])
    expected = start + int(np.prod(shape, dtype=np.int64))
    if len(raw) != expected:
        state = "truncated" if len(raw) < expected else "too long"
        raise DataError(
            f"{path} is {state}: its header announces {' x '.join(map(str, shape))}, {expected} bytes in all; found {len(raw)}; fetch it again"
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)
