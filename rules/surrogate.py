"""Surrogate gradients: a spike is a step forward and a bump backward.

    forward   S = 1 where the membrane is beyond threshold, else 0
    backward  dS/dx = h(x),   x = distance to threshold, in units of the model's spike_scale

A surrogate is its h: `surrogate(h)` makes a differentiable spike function of it, so a new one is

    def bump(x):
        return 1 / (1 + x.abs())
    spike = surrogate(bump)

Source: Zenke & Ganguli 2018, SuperSpike, eq. 7 (fast sigmoid); Neftci, Mostafa & Zenke 2019, Surrogate gradient learning in SNNs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Surrogate = Callable[..., Tensor]


class _Spike(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, spiked, derivative):
        return (x > 0 if spiked is None else spiked).to(x.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, _, ctx.derivative = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * ctx.derivative(x), None, None


def surrogate(derivative: Callable[[Tensor], Tensor]) -> Surrogate:
    """A spike function whose gradient is `derivative(x)`.

    Returns spike(x, spiked=None) -> 0 or 1 in the dtype and shape of x.  Without `spiked` a spike is x > 0;
    the engine gives `spiked` (bool), because there the model's own comparison (> or >=) decides.
    """

    def spike(x: Tensor, spiked: Tensor | None = None) -> Tensor:
        return _Spike.apply(x, spiked, derivative)

    return spike


def fast_sigmoid(scale: float = 100.0) -> Surrogate:
    """h = 1/(scale |x| + 1)², the derivative of x/(1 + scale |x|)."""
    scale = _positive(scale, "scale")
    return surrogate(lambda x: (x.abs() * scale + 1).pow(-2))


def sigmoid(scale: float = 10.0) -> Surrogate:
    """h = scale σ(scale x) σ(-scale x), the derivative of the logistic function: an area of 1, a peak of scale/4."""
    scale = _positive(scale, "scale")
    return surrogate(lambda x: scale * torch.sigmoid(scale * x) * torch.sigmoid(-scale * x))


def arctan(scale: float = 2.0) -> Surrogate:
    """h = (scale/2)/(1 + (π scale x/2)²), the derivative of arctan(π scale x/2)/π: an area of 1 (Fang et al. 2021)."""
    scale = _positive(scale, "scale")
    return surrogate(lambda x: scale / 2 / ((math.pi / 2 * scale * x).square() + 1))


def gaussian(width: float = 0.4) -> Surrogate:
    """h = the normal density of standard deviation `width`: an area of 1 (Yin et al. 2021)."""
    width = _positive(width, "width")
    return surrogate(lambda x: torch.exp(-0.5 * (x / width).square()) / (width * math.sqrt(2 * math.pi)))


def triangle(width: float = 1.0) -> Surrogate:
    """h = max(0, 1 - |x|/width)/width: an area of 1, and no gradient beyond `width` (Esser et al. 2016; Bellec et al. 2018)."""
    width = _positive(width, "width")
    return surrogate(lambda x: torch.relu(1 - x.abs() / width) / width)


def straight_through() -> Surrogate:
    """h = 1 everywhere: the gradient passes as if there were no threshold (Bengio et al. 2013)."""
    return surrogate(torch.ones_like)


SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "fast_sigmoid": fast_sigmoid,
    "sigmoid": sigmoid,
    "arctan": arctan,
    "gaussian": gaussian,
    "triangle": triangle,
    "straight_through": straight_through,
}


def _positive(value: float, name: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} = {value} of a surrogate gradient must be positive and finite, e.g. {name} = 1")
    return float(value)
