"""Dropout of spikes that is held over time: a synapse that is gone stays gone for the whole trial.

A mask drawn anew at each step would average out over the steps and regularise nothing (Lee et al. 2020, Front. Neurosci. 14:119,
"Dropout"; Srivastava et al. 2014 for the scale 1/(1 - p)).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HeldDropout(nn.Module):
    """x [T, B, …] -> x times a mask [B, …] of 0 and 1/(1 - p), drawn at each call in training; x itself in evaluation.

    Raises ValueError unless 0 <= p < 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p = {p} is the probability to drop an input; it lies from 0 to below 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask(x)
        return x if mask is None else self.held(x, mask)

    def mask(self, x: Tensor) -> Tensor | None:
        """A new mask [1, B, …] for x; None in evaluation."""
        if not self.training or self.p == 0:
            return None
        return torch.empty_like(x[:1]).bernoulli_(1 - self.p).div_(1 - self.p)

    @staticmethod
    def held(x: Tensor, mask: Tensor) -> Tensor:
        """x times the mask at every step."""
        if len(x) > 1 and x.stride(0) == 0:  # the same at every step, and so is the result
            return (x[:1] * mask).expand(x.shape)
        return x * mask

    def extra_repr(self) -> str:
        return f"p={self.p}"
