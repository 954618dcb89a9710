"""Spiking LSTM: the gates of an LSTM are spikes.

    i, f, o = s1(W x_t + U h_{t-1} + b),   g = s2(W x_t + U h_{t-1} + b)       0 or 1 each
    c_t = min(f c_{t-1} + i g, 1),         h_t = o c_t

s1 and s2 spike where their argument is above 0; the thresholds of the paper are part of the biases. The cell is one of
steps, not of time: it has no time constant, and so no dt.

Source: Lotfi Rezaabad & Vishwanath 2020, ICONS (arXiv:2007.04779); c_t would be 2 where both terms are 1, and is 1 there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.population import check_surrogate
from spiketwin.models.engines.torch.state import check_inputs


def step_function(x: Tensor) -> Tensor:
    """Spikes without a gradient."""
    return (x > 0).to(x.dtype)


class SpikingLSTM(nn.Module):
    """x [T, B, inputs] -> h [T, B, size], 0 or 1, from h = c = 0.

    surrogate: spike function of the gates i, f, o; candidate_surrogate: of g, by default the same.
    Raises ValueError for what is no spike function.
    State dict as nn.LSTM has it, rows in the order i, f, g, o: input.weight [4 size, inputs], input.bias, recurrent.weight [4 size, size].
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        surrogate: Callable[[Tensor], Tensor] | None = None,
        candidate_surrogate: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.surrogate = surrogate or step_function
        self.candidate_surrogate = candidate_surrogate or self.surrogate
        for spike in (self.surrogate, self.candidate_surrogate):
            check_surrogate(spike, torch.zeros(1))
        self.input, self.recurrent = nn.Linear(inputs, 4 * size), nn.Linear(size, 4 * size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.carry(x)[0]

    def carry(self, x: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(h, the state [2, B, size] after the last step), from such a state. Raises ValueError for another shape."""
        check_inputs(x, self.input.in_features)
        drive = self.input(x)
        h, c = drive.new_zeros(2, x.shape[1], self.size) if start is None else start
        spikes = []
        for arriving in drive.unbind(0):
            i, f, g, o = (arriving + self.recurrent(h)).chunk(4, dim=-1)
            c = at_most_one(self.surrogate(f) * c + self.surrogate(i) * self.candidate_surrogate(g))
            h = self.surrogate(o) * c
            spikes.append(h)
        return torch.stack(spikes), torch.stack([h, c])


def at_most_one(c: Tensor) -> Tensor:
    """min(c, 1) with the gradient of c: a cell that is full must still be able to learn to be less so."""
    return c - (c.detach() - 1).clamp_min(0)
