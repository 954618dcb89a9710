"""Where arrays lie: at the beginning of a cache line, in lines of their own, in rows that do not drive each other out of the cache."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

CACHE_LINE = 64  # bytes


def aligned(array: np.ndarray, dtype) -> np.ndarray:
    """A copy that begins at a multiple of 64 bytes: a vector that straddles two cache lines costs twice."""
    array = np.asarray(array, dtype)
    room = np.empty(array.nbytes + 64, np.uint8)
    first = -room.ctypes.data % 64
    out = room[first : first + array.nbytes].view(dtype).reshape(array.shape)
    out[...] = array
    return out


def unshared(shape: tuple[int, ...], dtype: np.dtype, make: Callable = np.zeros) -> np.ndarray:
    """An array in cache lines in which nothing else lies: to write where another thread reads its own costs both a hundred nanoseconds.

    make: np.zeros, or np.empty for what is written before it is read. Memory that is never touched is never taken.
    """
    size = math.prod(shape) * dtype.itemsize
    room = make(-(-size // 128) * 128 + 128, np.uint8)
    first = -room.ctypes.data % 128
    return room[first : first + size].view(dtype).reshape(shape)


def spread_row(size: int, dtype: np.dtype) -> int:
    """Elements of a row that is an odd number of cache lines long, of a table whose rows are written to at random.

    A neuron's places in all rows would else fall into few sets of the cache, and drive each other out of it.
    """
    line = CACHE_LINE // dtype.itemsize
    return (-(-size // line) | 1) * line
