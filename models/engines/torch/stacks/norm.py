"""Batch normalisation of currents [T, B, C, …] in spiking networks: a statistic per step, or one for all steps.

    BNTT   y_t = gamma_t (x_t - mean_t)/sqrt(var_t + eps)         mean_t, var_t, gamma_t of each channel and step; no shift
    tdBN   y   = alpha v_threshold gamma (x - mean)/sqrt(var + eps) + shift     mean, var over steps and trials together

Source: Kim & Panda 2021, Front. Neurosci. 15:773954 (BNTT); Zheng et al. 2021, AAAI (tdBN).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class NormThroughTime(nn.Module):
    """BNTT for at most `steps` steps. weight [steps, C] is gamma; running_mean, running_var [steps, C] serve evaluation.

    A shorter run uses the first steps. The statistics of a step are those over trials and pixels.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, steps: int, *, eps: float = 1e-4, momentum: float = 0.1) -> None:
        super().__init__()
        if steps < 1 or channels < 1:
            raise ValueError(f"channels = {channels} and steps = {steps} must be at least 1")
        self.channels, self.steps, self.eps, self.momentum = channels, steps, eps, momentum
        self.weight = nn.Parameter(torch.ones(steps, channels))
        self.register_buffer("running_mean", torch.zeros(steps, channels))
        self.register_buffer("running_var", torch.ones(steps, channels))

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """x [T, B, C, …], from step `first` of a trial on. Raises ValueError for more steps than the norm has, another number of
        channels, or one value a channel."""
        if first + len(x) > self.steps:
            raise ValueError(
                f"the norm has statistics of {self.steps} steps, but {first + len(x)} come in; build the stack with steps={first + len(x)}"
            )
        _check(x, self.channels)
        T, B, C = x.shape[:3]
        mean, var, gamma = (a[first : first + T] for a in (self.running_mean, self.running_var, self.weight))
        if T > 1 and x.stride(0) == 0:
            return self._of_one_step(x[0], mean, var, gamma)
        # a step's channel is a channel: one call serves all steps
        together = x.transpose(0, 1).reshape(B, T * C, *x.shape[3:])
        y = functional.batch_norm(together, mean.flatten(), var.flatten(), gamma.flatten(), None, self.training, self.momentum, self.eps)
        return y.unflatten(1, (T, C)).transpose(0, 1).contiguous()

    def _of_one_step(self, x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor) -> Tensor:
        """The same of an input x [B, C, …] of all steps: normalised once, so that only gamma [T, C] tells steps apart."""
        gamma, over = gamma[:, None], [1] * (x.ndim - 2)
        if not self.training:  # the running mean, var [T, C] may differ from step to step
            factor = gamma * (var[:, None] + self.eps).rsqrt()
            shift = -mean[:, None] * factor
            return torch.addcmul(shift.view(*shift.shape, *over), x, factor.view(*factor.shape, *over))
        seen_mean, seen_var = torch.zeros_like(mean[0]), torch.ones_like(var[0])
        y = functional.batch_norm(x, seen_mean, seen_var, None, None, True, 1.0, self.eps)
        mean.lerp_(seen_mean, self.momentum)
        var.lerp_(seen_var, self.momentum)
        return y * gamma.view(*gamma.shape, *over)

    @torch.no_grad()
    def resample_(self, ratio: float) -> None:
        """Give each step what the step of the same time had. ratio: how many times finer the new steps are."""
        self.steps = max(1, round(self.steps * ratio))
        old = ((torch.arange(self.steps) + 0.5) / ratio).long().clamp(max=len(self.weight) - 1).to(self.weight.device)
        self.weight = nn.Parameter(self.weight[old].clone(), requires_grad=self.weight.requires_grad)
        self.running_mean, self.running_var = self.running_mean[old].clone(), self.running_var[old].clone()

    def extra_repr(self) -> str:
        return f"{self.channels} channels, {self.steps} steps, eps={self.eps}, momentum={self.momentum}"


class NormOverTime(nn.Module):
    """tdBN: weight, bias [C]; currents start with the spread alpha v_threshold. `steps` is not needed: it takes any number.

    alpha: 1 as usual, 1/sqrt(2) where two of these add up behind a residual block.
    """

    def __init__(self, channels: int, steps: int | None = None, *, v_threshold: float = 1.0, alpha: float = 1.0, eps: float = 1e-5) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels = {channels} must be at least 1")
        self.scale = alpha * v_threshold
        self.norm = nn.BatchNorm1d(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """x [T, B, C, …] -> the same shape. What is the same at all steps is normalised once, and is again the same at all.

        Raises ValueError for another number of channels, or one value a channel.
        """
        _check(x, self.norm.num_features)
        if len(x) > 1 and x.stride(0) == 0:
            return self(x[:1]).expand(x.shape)
        rows, norm = x.reshape(x.shape[0] * x.shape[1], x.shape[2], -1), self.norm
        y = functional.batch_norm(
            rows, norm.running_mean, norm.running_var, self.scale * norm.weight, norm.bias, self.training, norm.momentum or 0.0, norm.eps
        )
        return y.view(x.shape)


def _check(x: Tensor, channels: int) -> None:
    if x.ndim < 3 or x.shape[2] != channels:
        raise ValueError(f"x is [T, B, {channels}, …], got {tuple(x.shape)}")
