"""Reading a published pickle without running what it says.

A pickle is a program: it may name any function and call it. This reader knows four names, those that rebuild a numpy
array, and refuses all others before anything is called. Lists, dicts, tuples, strings and numbers need no name.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np

from spiketwin.experiments.data.errors import DataError

_RECONSTRUCT = np.ndarray.__reduce__(np.empty(0))[0]  # numpy's own, wherever this version keeps it
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def unpickle(raw: bytes, path: Path | str):
    """What a pickle of numpy arrays and plain containers holds; `path` is what an error calls it.

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
