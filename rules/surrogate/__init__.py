"""Surrogate gradients: a spike is a step forward and a bump backward.

    forward   S = 1 where the membrane is beyond threshold, else 0
    backward  dS/dx = h(x),   x = distance to threshold, in units of the model's spike_scale

A surrogate is its h: `surrogate(h)` makes a differentiable spike function of it, so a new one is

    spike = surrogate("1/(1 + abs(x))")

An expression of x is compiled into the training kernels. A function of a tensor does as well, where h cannot be
written so; the kernels then leave h to torch.

    spike.py     the step with a bump for a gradient; `surrogate(h)`
    shapes.py    the h of the literature, and SURROGATES, all of them by name
    compose.py   other surrogates made of one: shifted, centred, scaled, damped
    drawing.py   `draw`: forward and backward in a figure

Source: Zenke & Ganguli 2018, SuperSpike, eq. 7 (fast sigmoid); Neftci, Mostafa & Zenke 2019, Surrogate gradient learning in SNNs.
"""

from spiketwin.rules.surrogate.compose import centred, damped, scaled, shifted
from spiketwin.rules.surrogate.drawing import draw
from spiketwin.rules.surrogate.shapes import (
    SURROGATES,
    arctan,
    exponential,
    fast_sigmoid,
    gaussian,
    multi_gaussian,
    sigmoid,
    slayer,
    straight_through,
    triangle,
)
from spiketwin.rules.surrogate.spike import Surrogate, surrogate

__all__ = [
    "SURROGATES",
    "Surrogate",
    "arctan",
    "centred",
    "damped",
    "draw",
    "exponential",
    "fast_sigmoid",
    "gaussian",
    "multi_gaussian",
    "scaled",
    "shifted",
    "sigmoid",
    "slayer",
    "straight_through",
    "surrogate",
    "triangle",
]
