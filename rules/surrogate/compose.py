"""Other surrogates made of one. Spikes stay where they are: only the bump moves, narrows or shrinks.

    shifted(s, by)      h(x - by)          the bump, and its smooth step, lie `by` beyond the threshold
    centred(s)          shifted back so that the smooth step has half its rise at the threshold
    scaled(s, scale)    scale h(scale x)   steeper, with the same area
    damped(s, factor)   factor h(x)        the same shape, a smaller gradient

Two words of the literature, made precise. *Threshold shifting*: a smooth step f is written of the membrane u itself,
and f(u - threshold) puts its bump on the threshold, as with arctan. Here x is u - threshold already, in units of the
spike_scale: every surrogate is shifted in that sense, and shifted(s, -1) puts the bump back to u = 0 where the
spike_scale is the threshold. *Centring*: f is 1/2 at the threshold, as the logistic function is at its 0. A bump that is
symmetric about the threshold is centred; a lopsided one is centred by its median, which is not its peak.

What comes out of an expression is an expression, and compiled like any other.

Source: Eshraghian et al. 2023, Training spiking neural networks, section IV, and snnTorch's tutorials 5 and 6, for the two
words; Bellec et al. 2018, LSNN, for the damping.
"""

from __future__ import annotations

import math
import re

import torch

from spiketwin.rules.surrogate.spike import Surrogate, positive, surrogate

FAR = 1e9  # where a smooth step has ended: the tails of arctan hold 1e-10 beyond


def shifted(spike: Surrogate, by: float) -> Surrogate:
    """h(x - by): the largest gradient at a distance `by` beyond the threshold, before it where `by` is negative.

    by: in units of the model's spike_scale.  Raises ValueError when it is not finite.
    """
    if not math.isfinite(by):
        raise ValueError(f"by = {by} of a shifted surrogate must be finite, e.g. by = -0.1 for a bump below the threshold")
    return _transformed(spike, f"(x - {float(by)!r})", 1.0, lambda x: x - by)


def centred(spike: Surrogate) -> Surrogate:
    """The same bump, moved so that its smooth step has half its rise at the threshold.

    A surrogate that is centred comes back as it is; a shifted one comes back from its shift.
    Raises ValueError without a smooth form, and where that rises without bound, as straight_through's.
    """
    low, high, further = (float(spike.smooth(torch.tensor(x, dtype=torch.float64))) for x in (-FAR, FAR, 10 * FAR))
    if not math.isclose(high, further, rel_tol=1e-6):
        raise ValueError(f"{spike!r} rises without bound, so it has no centre; take one whose area is finite, such as triangle()")
    return shifted(spike, -centre) if abs(centre := _crossing(spike, (low + high) / 2)) > 1e-9 else spike


def scaled(spike: Surrogate, scale: float) -> Surrogate:
    """scale h(scale x): `scale` times as narrow and as high, of the same area."""
    scale = positive(scale, "scale")
    return _transformed(spike, f"({scale!r}*x)", scale, lambda x: scale * x, rise=1.0)


def damped(spike: Surrogate, factor: float) -> Surrogate:
    """factor h(x): each spike on its way back multiplies the gradient by a smaller number, against explosion in time."""
    return _transformed(spike, "x", positive(factor, "factor"), lambda x: x)


def _transformed(spike: Surrogate, argument: str, factor: float, inner, rise: float | None = None) -> Surrogate:
    """factor · h(inner(x)), with smooth form 1/2 + rise · (smooth(inner(x)) - 1/2); rise = factor where not given."""
    up = factor if rise is None else rise
    smooth = (lambda x: 0.5 + up * (spike.smooth(inner(x)) - 0.5)) if spike.is_smooth else None
    if not spike.expression:
        return surrogate(lambda x: factor * spike.derivative(inner(x)), smooth)
    inside = re.sub(r"\bx\b", argument, spike.expression)
    return surrogate(inside if factor == 1 else f"{factor!r}*({inside})", smooth)


def _crossing(spike: Surrogate, level: float) -> float:
    """Where the smooth step passes `level`."""
    from scipy.optimize import brentq

    return float(brentq(lambda x: float(spike.smooth(torch.tensor(x, dtype=torch.float64))) - level, -FAR, FAR, xtol=1e-12, maxiter=500))
