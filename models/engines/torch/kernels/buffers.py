"""Memory that training steps use again: fresh pages cost a large part of a step, the system clears each of them.

A tensor from here is an ordinary tensor; its memory comes back when nobody holds it or a view of it any more.
"""

from __future__ import annotations

import threading
import weakref

import numpy as np
import torch
from torch import Tensor

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.uint8: np.uint8, torch.int32: np.int32, torch.int64: np.int64}
PAGE = 4096


class Pool:
    """Keeps memory that was given back, at most as much as was ever in use at once."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}
        self._lock = threading.RLock()  # a collection may give memory back while some is being taken
        self.used = self.peak = self.idle = 0  # bytes

    def empty(self, shape: tuple[int, ...], dtype) -> Tensor:
        """A tensor with arbitrary values; dtype: torch's or numpy's."""
        return torch.from_numpy(self.array(shape, _NUMPY.get(dtype, dtype)))

    def array(self, shape: tuple[int, ...], dtype) -> np.ndarray:
        """As empty(), a numpy array."""
        need = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if need < 16 * PAGE:
            return np.empty(shape, dtype)
        size = _rounded(need)
        with self._lock:
            free = self._free.get(size)
            memory = free.pop() if free else None
            self.idle -= size if memory is not None else 0
            self.used += size
            self.peak = max(self.peak, self.used)
        if memory is None:
            memory = np.empty(size, np.uint8)
        # an array over a buffer, not over an array, is what all its views refer to: it lives as long as any of them
        loan = np.frombuffer(memory.data, dtype, need // np.dtype(dtype).itemsize)
        weakref.finalize(loan, self._back, memory).atexit = False
        return loan.reshape(shape)

    def _back(self, memory: np.ndarray) -> None:
        with self._lock:
            self.used -= memory.size
            if self.idle + memory.size <= self.peak:
                self.idle += memory.size
                self._free.setdefault(memory.size, []).append(memory)


def _rounded(size: int) -> int:
    """The next of eight sizes per power of two, so that batches of nearly equal size share memory."""
    step = max(PAGE, 1 << max(size.bit_length() - 4, 0))
    return -(-size // step) * step


POOL = Pool()
