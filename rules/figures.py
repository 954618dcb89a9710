"""The two figures by which learning rules are known: the window, and the change against the rate of pairs.

Both are measured from the running rule, also from a user's own. Source: Bi & Poo 1998 for the window; Sjöström, Turrigiano & Nelson 2001
for the rate of pairing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.rules.protocols import is_of_events, pairs, weight_changes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DELTAS_MS = np.concatenate([-np.geomspace(100, 1, 30), np.geomspace(1, 100, 30)])
RATES_HZ = np.array([0.1, 1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50])


class Curve(NamedTuple):
    """x [P], and the change of the weight at each [P] (frequency_curve: [deltas, P])."""

    x: np.ndarray
    change: np.ndarray


def window(
    rule: PlasticityRule, deltas_ms: Sequence[float] | np.ndarray = DELTAS_MS, *, ax: Axes | None = None, count: int = 60, **options
) -> Curve:
    """Change of the weight by `count` pairs at 1 Hz against the time from pre to post in ms; drawn where `ax` is given.

    A stochastic rule gives the mean over 200 synapses, or over 10 where it goes on between spikes.  options: those of weight_changes().
    """
    deltas = np.ravel(np.asarray(deltas_ms, dtype=float))
    copies = _copies(rule)
    protocols = [pairs(float(d), count=count) for d in deltas for _ in range(copies)]
    change = weight_changes(rule, protocols, **options).reshape(len(deltas), copies).mean(axis=1)
    if ax is not None:
        for side in (deltas < 0, deltas >= 0):
            ax.plot(deltas[side], change[side], ".-", color="C0")
        ax.axhline(0, color="0.8", lw=0.8, zorder=0)
        ax.axvline(0, color="0.8", lw=0.8, zorder=0)
        ax.set(xlabel="from pre to post (ms)", ylabel="change of weight", title=rule.name)
    return Curve(deltas, change)


def frequency_curve(
    rule: PlasticityRule,
    rates_hz: Sequence[float] | np.ndarray = RATES_HZ,
    *,
    deltas_ms: Sequence[float] = (10.0, -10.0),
    count: int = 60,
    ax: Axes | None = None,
    **options,
) -> Curve:
    """Change of the weight by `count` pairs against their rate in Hz, [deltas, rates], for each time from pre to post.

    options: those of weight_changes().
    """
    rates = np.ravel(np.asarray(rates_hz, dtype=float))
    copies = _copies(rule)
    protocols = [pairs(float(d), count=count, rate_hz=float(r)) for d in deltas_ms for r in rates for _ in range(copies)]
    change = weight_changes(rule, protocols, **options).reshape(len(deltas_ms), len(rates), copies).mean(axis=2)
    if ax is not None:
        for delta, row in zip(deltas_ms, change, strict=True):
            ax.plot(rates, row, ".-", label=f"{delta:+g} ms")
        ax.axhline(0, color="0.8", lw=0.8, zorder=0)
        ax.set(xlabel="rate of pairs (Hz)", ylabel="change of weight", title=rule.name)
        ax.legend(frameon=False, title="from pre to post")
    return Curve(rates, change)


def _copies(rule: PlasticityRule) -> int:
    """Synapses that a point is the mean of: what goes on between spikes is stepped through minutes for each of them."""
    if not rule.draws:
        return 1
    return 200 if is_of_events(rule) else 10
