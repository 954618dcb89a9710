"""Fully connected with a delay per synapse that is learned: a spike arrives spread out in time while training, then as one.

    y_i[t] = sum_j w_ij sum_k g_ij[k] x_j[t - k],    g_ij[k] = exp(-((k dt - d_ij)/sigma)²/2) / sum of these over k = 0 … K

The width sigma falls from half the longest delay to dt/2 in training (`anneal_`), so that the gradient of d_ij first feels far taps, then
near ones. In evaluation each spike arrives whole after the delay rounded to steps: the layer is a Projection with `delay_ms`.

Source: Hammouamri, Khalfaoui-Hassani & Masquelier 2024, ICLR (arXiv:2306.17670). They anneal in the first quarter of the epochs, keep
delays in bounds by clamping, and give them, counted in steps, a learning rate 100 times that of the weights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spiketwin.models.engines.torch.stacks.event_delays import EVENT_DENSITY, delayed_sum
from spiketwin.models.engines.torch.state import check_inputs, fitted
from spiketwin.models.network import Projection
from spiketwin.models.units import positive


class DelayedLinear(nn.Module):
    """x [T, B, N_pre] -> [T, B, N_post]. weight and delay_ms are Parameters [N_post, N_pre], delays in 0 … max_delay_ms.

    max_delay_ms: rounded to whole steps.  bias: [N_post], at every step; a Projection has none.
    Raises ValueError when max_delay_ms is shorter than one step, and for times that are not positive and finite.
    """

    sigma_ms: Tensor

    def __init__(self, inputs: int, outputs: int, *, max_delay_ms: float, dt_ms: float, bias: bool = False) -> None:
        super().__init__()
        positive(max_delay_ms=max_delay_ms, dt_ms=dt_ms)
        self.taps = int(np.floor(max_delay_ms / dt_ms + 0.5))
        if self.taps < 1:
            raise ValueError(f"max_delay_ms = {max_delay_ms} is shorter than a step of {dt_ms} ms: there is no delay to learn")
        self.dt_ms, self.max_delay_ms = dt_ms, self.taps * dt_ms
        plain = nn.Linear(inputs, outputs, bias=bias)  # initial values as torch gives them
        self.weight, self.bias = plain.weight, plain.bias
        self.delay_ms = nn.Parameter(self.max_delay_ms * torch.rand(outputs, inputs))
        self.register_buffer("sigma_ms", torch.tensor(self.max_delay_ms / 2))

    def anneal_(self, share: float) -> None:
        """Set sigma for the share of the annealing that is done: max_delay/2 at 0, falling exponentially, dt/2 from 1 on."""
        if not share >= 0:
            raise ValueError(f"share = {share} is how much of the annealing is done, from 0 to 1")
        start, end = self.max_delay_ms / 2, self.dt_ms / 2
        self.sigma_ms.fill_(start * (end / start) ** min(share, 1.0))

    def retime_(self, dt_ms: float) -> None:
        """Count the same delays in steps of dt_ms, as many as the longest needs. Raises ValueError where that is none, and for no step."""
        positive(dt_ms=dt_ms)
        taps = int(np.ceil(self.max_delay_ms / dt_ms - 1e-9))
        if self.max_delay_ms < dt_ms / 2:
            raise ValueError(f"max_delay_ms = {self.max_delay_ms} is less than half a step of {dt_ms} ms: all delays would be gone")
        self.taps, self.dt_ms, self.max_delay_ms = taps, dt_ms, taps * dt_ms
        self.sigma_ms.clamp_(min=dt_ms / 2)

    def kernel(self) -> Tensor:
        """What a spike gives at each step after it, [N_post, N_pre, K + 1]; spread in training, whole in evaluation."""
        with torch.no_grad():
            self.delay_ms.clamp_(0, self.max_delay_ms)
        if not self.training:
            return self.weight[..., None] * functional.one_hot(self._steps(), self.taps + 1).to(self.weight)
        time = self.dt_ms * torch.arange(self.taps + 1, device=self.weight.device, dtype=self.weight.dtype)
        # softmax is the normalised Gaussian, without underflow where sigma is small
        spread = torch.softmax(-0.5 * ((time - self.delay_ms[..., None]) / self.sigma_ms) ** 2, dim=-1)
        return self.weight[..., None] * spread

    def forward(self, x: Tensor) -> Tensor:
        return self.carry(x)[0]

    def carry(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(y, the latest inputs [taps, B, N_pre], which have still to arrive), behind such inputs of an earlier run.

        Raises ValueError for another shape.
        """
        check_inputs(x, self.weight.shape[1])
        together = x if past is None else torch.cat([past, x])
        y = delayed_sum(together, self.kernel())[len(together) - len(x) :]
        return y if self.bias is None else y + self.bias, fitted(together, self.taps, x, tuple(x.shape[1:]))

    def _steps(self) -> Tensor:
        """As the engines round: floor(delay/dt + 1/2)."""
        return torch.floor(self.delay_ms.detach().double() / self.dt_ms + 0.5).long()

    def to_delays(self) -> np.ndarray:
        """The delays of evaluation in ms, [N_post, N_pre], whole steps."""
        return self._steps().cpu().numpy() * self.dt_ms

    def to_projection(self, source: str, target: str, receptor: str, *, unit: str = "") -> Projection:
        """The layer in evaluation as a Projection for any engine. Raises ValueError where the layer has a bias."""
        if self.bias is not None:
            raise ValueError("a Projection has no bias; make the layer with bias=False, or give the bias as a drive of the target")
        weights = self.weight.detach().double().cpu().numpy()
        return Projection(source, target, weights, receptor, unit, delay_ms=self.to_delays())

    def extra_repr(self) -> str:
        post, pre = self.weight.shape
        return f"{pre} -> {post}, delays 0…{self.max_delay_ms:g} ms in steps of {self.dt_ms:g} ms, sigma {float(self.sigma_ms):g} ms, by events up to a density of {EVENT_DENSITY:.0%}"
