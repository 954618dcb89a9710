"""Which channels of the input reach which neurons: functions of a generator and of both sizes, to adjacency bool [size, inputs]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse

from spiketwin.models.units import whole

Wiring = Callable[[np.random.Generator, int, int], scipy.sparse.csr_array]


def listens_to(channels: int) -> Wiring:
    """Every neuron hears so many different channels, all of them where there are fewer: its drive does not grow with the input's size."""
    whole(1, channels=channels)

    def connect(rng: np.random.Generator, size: int, inputs: int) -> scipy.sparse.csr_array:
        heard = [rng.choice(inputs, min(channels, inputs), replace=False) for _ in range(size)]
        return _matrix(np.repeat(np.arange(size), min(channels, inputs)), np.concatenate(heard), (size, inputs))

    return connect


def reaches(share: float, *, heard: float = np.inf) -> Wiring:
    """Every channel reaches the same share of the neurons, drawn anew for each channel, one at least.

    heard: how many channels a neuron hears at most, on average; where there are more, each reaches fewer neurons.
    """
    if not (0 < share <= 1 and heard > 0):
        raise ValueError(
            f"share = {share} of the neurons that a channel reaches must lie within 0 … 1, and both it and heard = {heard} above 0"
        )

    def connect(rng: np.random.Generator, size: int, inputs: int) -> scipy.sparse.csr_array:
        many = max(1, round(min(share, heard / inputs) * size))
        reached = [rng.choice(size, many, replace=False) for _ in range(inputs)]
        return _matrix(np.concatenate(reached), np.repeat(np.arange(inputs), many), (size, inputs))

    return connect


def sees(width: int, channels: int, *, side: int) -> Wiring:
    """Every neuron hears so many channels of one square of width x width pixels, of an image of side x side that is read row by row.

    Raises ValueError when the square is larger than the image, holds fewer channels, or the input is no such image.
    """
    whole(1, width=width, channels=channels, side=side)
    if not (width <= side and channels <= width**2):
        raise ValueError(f"a square of width = {width} must fit an image of side = {side} and hold channels = {channels} pixels")

    def connect(rng: np.random.Generator, size: int, inputs: int) -> scipy.sparse.csr_array:
        if inputs != side**2:
            raise ValueError(f"the input has {inputs} channels, but an image of side = {side} has {side**2}; set side to that of the image")
        corner = rng.integers(0, side - width + 1, (size, 2))
        pixel = np.stack([rng.permutation(width**2)[:channels] for _ in range(size)])
        row, column = corner[:, :1] + pixel // width, corner[:, 1:] + pixel % width
        return _matrix(np.repeat(np.arange(size), channels), (row * side + column).ravel(), (size, inputs))

    return connect


def _matrix(post: np.ndarray, pre: np.ndarray, shape: tuple[int, int]) -> scipy.sparse.csr_array:
    matrix = scipy.sparse.csr_array((np.ones(len(pre), dtype=bool), (post, pre)), shape=shape)
    matrix.sort_indices()
    return matrix
