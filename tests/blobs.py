"""Three classes of bright spots on 8 x 8 pixels, for tests of networks that learn without labels."""

from __future__ import annotations

import numpy as np

from spiketwin.experiments.data import Dataset, Samples

SIDE = 8


def blobs(count: int, seed: int) -> Samples:
    """Spots at three places, a little off each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    centre = np.array([(1.5, 1.5), (5.5, 3), (2, 6)])[labels] + rng.normal(0, 0.3, (count, 2))
    y, x = np.mgrid[:SIDE, :SIDE].reshape(2, 1, -1)
    images = 255 * np.exp(-((x - centre[:, :1]) ** 2 + (y - centre[:, 1:]) ** 2) / 3)
    return Samples(images.astype(np.uint8), labels, 255)


def blob_data() -> Dataset:
    return Dataset("blobs", blobs(50, 0), blobs(10, 1), blobs(40, 2), (SIDE, SIDE), tuple("abc"), "", "")
