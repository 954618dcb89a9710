"""Criticality control: all recurrent weights grow or shrink by one factor until one spike is followed by as many as wanted.

    ln s <- ln s + gain (target - m)     s factor on the recurrent weights, m branching ratio as measured (diagnostics/branching.py)

The gain is halved when m jumps from one side of the target to the other. m is measured under steady Poisson input as fast as the spikes
given, since an input that changes would pass for branching; membranes and synapses remember, too, so that m of a liquid without
recurrence is above 0, and a target below that cannot be reached.

Source: Wilting & Priesemann 2018, Nature Communications 9:2325, for m; Zierenberg, Wilting & Priesemann 2018, Phys. Rev. X 8:031018, for
homeostatic control of how near to 1 it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spiketwin.experiments.reservoirs.diagnostics import Probe, branching_ratio, population_activity
from spiketwin.experiments.reservoirs.diagnostics.report import BIN_MS, steady_spikes
from spiketwin.models.encoders.shared import positive, whole
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.reservoirs import Liquid, LiquidError
from spiketwin.models.spikes import Spikes

TRIALS = 24  # of 5 s each: m of 135 neurons then varies by about .02 from one input to the next


@dataclass(frozen=True)
class Critical:
    """An adaptation that scales the recurrent weights until the branching ratio is `target`.

    target: per 4 ms, 0 … 1; near 1 is critical.  tolerance: how near is enough.  gain: of the controller.
    rounds: measurements after which it gives up.  seed: of the Poisson inputs.
    Raises LiquidError when the target cannot be reached, or the liquid stops being alive on the way.
    """

    target: float = 0.8
    tolerance: float = 0.02
    gain: float = 1.0
    rounds: int = 40
    seed: int = 0

    def __call__(self, liquid: Liquid, spikes: Spikes) -> Liquid:
        positive(tolerance=self.tolerance, gain=self.gain)
        whole(1, rounds=self.rounds)
        if not 0 < self.target < 1:
            raise ValueError(f"target = {self.target} of the branching ratio must lie between 0 and 1")
        check_heard(liquid, spikes)
        rate_hz = float(spikes.rates_hz().mean())
        log_scale, gain, before, seen = 0.0, self.gain, 0.0, []
        for _ in range(self.rounds):
            scaled = rescaled(liquid, float(np.exp(log_scale)))
            m = branching(scaled, rate_hz, dt_ms=spikes.dt_ms, seed=self.seed)
            seen.append(m)
            if not np.isfinite(m):
                raise LiquidError(
                    f"no branching ratio can be measured at {np.exp(log_scale):.2g} times the recurrent weights: the activity does not vary, or "
                    "repeats like a clock; start from a smaller connection_scale, or lower background"
                )
            error = self.target - m
            if abs(error) <= self.tolerance:
                return scaled
            gain *= 0.5 if error * before < 0 else 1.0
            before, log_scale = error, log_scale + gain * error
        raise LiquidError(
            f"the branching ratio came no nearer to target = {self.target} than {min(seen, key=lambda m: abs(m - self.target)):.3f} in "
            f"{self.rounds} rounds; choose a target between {min(seen):.2f} and {max(seen):.2f}, or change inhibition"
        )


def check_heard(liquid: Liquid, spikes: Spikes) -> None:
    """Raises ValueError for spikes that the liquid cannot hear, or none at all."""
    if spikes.shape[2] != liquid.inputs:
        raise ValueError(f"the spikes have {spikes.shape[2]} channels, but the liquid hears {liquid.inputs}; give what its sense makes")
    if not len(spikes):
        raise ValueError("the spikes to adapt to are none at all; give those of training samples")


def branching(liquid: Liquid, rate_hz: float, *, dt_ms: float = 1.0, seed: int = 0) -> float:
    """Multistep branching ratio per 4 ms under steady Poisson input of rate_hz in each channel; 0 for a silent liquid, nan where it is not known."""
    spikes = steady_spikes(liquid, Probe(rate_hz, dt_ms=dt_ms, engine=CompiledEngine(threads=1), seed=seed), trials=TRIALS)
    return branching_ratio(population_activity(spikes, bin_ms=BIN_MS), bin_ms=BIN_MS).m if len(spikes) else 0.0


def rescaled(liquid: Liquid, scale: float) -> Liquid:
    """The liquid with all weights between neurons that are read times `scale`."""
    inside = [
        replace(p, weights=p.weights * scale) if p.source in liquid.read and p.target in liquid.read else p
        for p in liquid.network.projections
    ]
    return replace(liquid, network=replace(liquid.network, projections=inside))
