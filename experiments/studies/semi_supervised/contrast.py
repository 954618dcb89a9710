"""Images as a retina sees them: where it is brighter than around, and where darker.

    c = x convolved with (g_1 - g_2),    g_s a Gaussian of spread s pixels on 7 x 7 pixels, of sum 1
    on = c above 0,  off = -c above 0,  both over the largest |c| of the image; what is below 0.06 of that is 0

Source: Kheradpisheh et al. 2018, Neural Netw. 99:56, section 2.1, with its spreads for MNIST; the cut at 0.06 is ours.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

REACH, CENTRE, SURROUND, FAINTEST = 3, 1.0, 2.0, 0.06


def on_and_off(samples, index, rng: np.random.Generator | None = None) -> Tensor:
    """Square images as [B, 2, side, side] in 0 … 1, on first: a feed of a Classifier; rng is not used."""
    pixels = samples.images[index]
    side = round(pixels.shape[1] ** 0.5)
    x = torch.tensor(pixels.reshape(-1, 1, side, side), dtype=torch.float32) / samples.maximum
    c = functional.conv2d(x, torch.from_numpy(difference_of_gaussians())[None, None], padding=REACH)
    c = c / c.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-6)  # an image without contrast stays dark
    c = c * (c.abs() >= FAINTEST)
    return torch.cat([c.relu(), (-c).relu()], dim=1)


def difference_of_gaussians() -> np.ndarray:
    """float32 [7, 7], of sum 0."""
    y, x = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]

    def gaussian(spread: float) -> np.ndarray:
        g = np.exp(-(x**2 + y**2) / (2 * spread**2))
        return g / g.sum()

    return (gaussian(CENTRE) - gaussian(SURROUND)).astype(np.float32)
