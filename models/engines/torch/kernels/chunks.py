"""How much a torch operation is given at once: as much as stays in the cache.

A convolution of 50 steps at once writes its result to memory, where the pooling behind it has to fetch it, and in memory
that the system clears page by page first. A few steps at a time stay in the cache, and malloc gives the same pages again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

import torch

from spiketwin.models.engines.threads import threads

CPU = torch.device("cpu")
FALLBACK_BYTES = 1 << 20  # per core, where the system does not tell


@lru_cache(maxsize=1)
def _second_level() -> int:
    try:
        return os.sysconf("SC_LEVEL2_CACHE_SIZE") or FALLBACK_BYTES
    except (AttributeError, OSError, ValueError):
        return FALLBACK_BYTES


def cache_bytes() -> int:
    """Second-level cache of the cores that compute: 2 MB per thread on the machine of the benchmarks."""
    return max(_second_level(), 1) * threads()


def rows_per_call(bytes_per_row: int, rows: int, device: torch.device = CPU) -> int:
    """Rows whose inputs and outputs fit into the cache together, at least one, at most all; on a GPU, whose calls are dear, all."""
    if device.type != "cpu":
        return max(1, rows)
    return max(1, min(rows, cache_bytes() // max(bytes_per_row, 1)))


def images_per_call(bytes_per_image: int, images: int) -> Iterator[slice]:
    """The images in slices of `rows_per_call`."""
    size = rows_per_call(bytes_per_image, images)
    return (slice(first, first + size) for first in range(0, images, size))
