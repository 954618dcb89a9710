"""Reading a published pickle without running what it says.

A pickle is a program: it may name any function and call it. This reader knows the three names with which an array of
numbers is rebuilt, gives each a meaning of its own, and refuses all others before anything is called. Lists, dicts,
tuples, strings and numbers need no name.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np

from spiketwin.experiments.data.errors import DataError

# To a pickle the class is only a word: called with a buffer, np.ndarray would make arrays of forged pointers.
_NDARRAY = "numpy.ndarray"


def _reconstruct(kind, shape, typecode) -> np.ndarray:
    """An empty array; the pickle then sets its shape, type and values."""
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError(f"it rebuilds {kind!r} as if it were an array")
    return np.empty(0, dtype=np.uint8)


def _dtype(text, *_) -> np.dtype:
    """The type of plain numbers; arrays of objects are no data."""
    # a copy: the pickle goes on to set its byte order, and numpy itself uses the original
    found = np.dtype(str(text), copy=True)
    if found.kind not in "biufc":
        raise pickle.UnpicklingError(f"it holds an array of {found}, not of numbers")
    return found


ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _dtype,
}


def unpickle(raw: bytes, path: Path | str):
    """What a pickle of numeric arrays and plain containers holds; `path` is what an error calls it.

    Raises DataError naming the file and the name that was refused, or how the pickle is damaged.
    """
    try:
        return _Reader(io.BytesIO(raw), path).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(f"{path} is no whole pickle of arrays ({type(error).__name__}: {error}); fetch it again") from None


class _Reader(pickle.Unpickler):
    def __init__(self, file, path: Path | str) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str):
        if (module, name) not in ADMITTED:
            raise DataError(
                f"{self.path} wants to use {module}.{name}; a data file may hold only numpy arrays and plain containers. "
                "Nothing was run. Delete it and fetch it from its publisher"
            )
        return ADMITTED[module, name]
