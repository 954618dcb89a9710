"""The surrogate gradients of the literature. SURROGATES: all of them, by name.

    h(x)                                        area   smooth step             source
    fast sigmoid    1/(scale |x| + 1)²          2/scale  x/(1 + scale |x|)     Zenke & Ganguli 2018, SuperSpike
    sigmoid         scale σ(scale x) σ(-scale x)  1    σ(scale x)
    arctan          (scale/2)/(1 + (π scale x/2)²) 1   arctan(π scale x/2)/π   Fang et al. 2021
    gaussian        N(x; width)                   1    Φ(x/width)              Yin et al. 2021
    multi-Gaussian  three of them                 .85                          Yin et al. 2021
    triangle        max(0, 1 - |x|/width)/width   1    two parabolas           Esser et al. 2016; Bellec et al. 2018
    exponential     (scale/2) exp(-scale |x|)     1    two exponentials
    SLAYER's        exp(-beta |x|)/alpha          2/(alpha beta)               Shrestha & Orchard 2018
    straight-through  1                           ∞    x                       Bengio et al. 2013

x is the distance to threshold in units of the model's spike_scale, so a width or 1/scale is in units of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from spiketwin.rules.surrogate.spike import Surrogate, positive, surrogate


def fast_sigmoid(scale: float = 100.0) -> Surrogate:
    """h = 1/(scale |x| + 1)², the derivative of x/(1 + scale |x|)."""
    scale = positive(scale, "scale")
    return surrogate(f"1/({scale!r}*abs(x) + 1)**2", f"0.5 + x/({scale!r}*abs(x) + 1)")


def sigmoid(scale: float = 10.0) -> Surrogate:
    """h = scale σ(scale x) σ(-scale x), the derivative of the logistic function: an area of 1, a peak of scale/4."""
    scale = positive(scale, "scale")
    return surrogate(f"{scale!r}*exp(-{scale!r}*abs(x))/(1 + exp(-{scale!r}*abs(x)))**2", f"0.5 + 0.5*tanh({scale / 2!r}*x)")


def arctan(scale: float = 2.0) -> Surrogate:
    """h = (scale/2)/(1 + (π scale x/2)²), the derivative of arctan(π scale x/2)/π: an area of 1 (Fang et al. 2021)."""
    scale = positive(scale, "scale")
    steep = math.pi / 2 * scale
    return surrogate(f"{scale / 2!r}/(({steep!r}*x)**2 + 1)", f"0.5 + {1 / math.pi!r}*arctan({steep!r}*x)")


def gaussian(width: float = 0.4) -> Surrogate:
    """h = the normal density of standard deviation `width`: an area of 1 (Yin et al. 2021)."""
    width = positive(width, "width")
    return surrogate(_bell(0, width), lambda x: _normal(x, 0, width))


def multi_gaussian(width: float = 0.5, height: float = 0.15, spread: float = 6.0) -> Surrogate:
    """A Gaussian between two shallow, wide and negative ones: h dips below 0 on both sides. Its area is 1 - height.

    h = (1 + height) N(x; 0, width) - height N(x; width, spread width) - height N(x; -width, spread width),
    with N(x; mean, deviation). Source: Yin, Corradi & Bohté 2021, Nature Machine Intelligence 3, methods; their values
    are the defaults, and their factor of .5 on all of it is damped(multi_gaussian(), 0.5).
    """
    width, height, spread = positive(width, "width"), positive(height, "height"), positive(spread, "spread")
    wide = spread * width
    left, right = f"{height!r}*{_bell(-width, wide)}", f"{height!r}*{_bell(width, wide)}"

    def smooth(x: Tensor) -> Tensor:
        sides = _normal(x, width, wide) + _normal(x, -width, wide)
        return height / 2 + (1 + height) * _normal(x, 0, width) - height * sides

    return surrogate(f"{1 + height!r}*{_bell(0, width)} - {left} - {right}", smooth)


def triangle(width: float = 1.0) -> Surrogate:
    """h = max(0, 1 - |x|/width)/width: an area of 1, and no gradient beyond `width` (Esser et al. 2016; Bellec et al. 2018)."""
    width = positive(width, "width")

    def smooth(x: Tensor) -> Tensor:
        inside = (x / width).clamp(-1, 1)
        return 0.5 + inside - inside * inside.abs() / 2

    return surrogate(f"(1 - abs(x)/{width!r} + abs(1 - abs(x)/{width!r}))/{2 * width!r}", smooth)


def exponential(scale: float = 2.0) -> Surrogate:
    """h = (scale/2) exp(-scale |x|), the Laplace density: an area of 1. SLAYER's with alpha = 2/scale, beta = scale."""
    scale = positive(scale, "scale")
    return _two_sided(scale / 2, scale)


def slayer(alpha: float = 1.0, beta: float = 1.0) -> Surrogate:
    """h = exp(-beta |x|)/alpha, the chance that a small change of the membrane makes or removes the spike.

    Its area 2/(alpha beta) is chosen, with alpha, so that gradients neither vanish nor explode over the layers.
    Source: Shrestha & Orchard 2018, SLAYER, section 3.1, the probability density of the change of state.
    """
    return _two_sided(1 / positive(alpha, "alpha"), positive(beta, "beta"))


def straight_through() -> Surrogate:
    """h = 1 everywhere: the gradient passes as if there were no threshold (Bengio et al. 2013)."""
    return surrogate("1", "0.5 + x")


SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "fast_sigmoid": fast_sigmoid,
    "sigmoid": sigmoid,
    "arctan": arctan,
    "gaussian": gaussian,
    "multi_gaussian": multi_gaussian,
    "triangle": triangle,
    "exponential": exponential,
    "slayer": slayer,
    "straight_through": straight_through,
}


def _two_sided(peak: float, decay: float) -> Surrogate:
    def smooth(x: Tensor) -> Tensor:
        return 0.5 - peak / decay * x.sign() * torch.expm1(-decay * x.abs())

    return surrogate(f"{peak!r}*exp(-{decay!r}*abs(x))", smooth)


def _bell(mean: float, deviation: float) -> str:
    """The normal density as an expression of x."""
    x = f"(x - {float(mean)!r})" if mean else "x"
    return f"{1 / (deviation * math.sqrt(2 * math.pi))!r}*exp(-0.5*({x}/{deviation!r})**2)"


def _normal(x: Tensor, mean: float, deviation: float) -> Tensor:
    """The integral of the normal density from -∞ to x."""
    return 0.5 + 0.5 * torch.erf((x - mean) / (deviation * math.sqrt(2)))
