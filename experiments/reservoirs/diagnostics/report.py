"""All diagnostics of a liquid, as numbers in a table and as one page of figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spiketwin.experiments.reservoirs.diagnostics.activity import Activity, activity
from spiketwin.experiments.reservoirs.diagnostics.avalanches import Avalanches, PowerLaw, avalanches, fit_power_law
from spiketwin.experiments.reservoirs.diagnostics.branching import Branching, branching_ratio, population_activity
from spiketwin.experiments.reservoirs.diagnostics.degrees import Degrees, degrees
from spiketwin.experiments.reservoirs.diagnostics.memory import Memory, memory_capacity
from spiketwin.experiments.reservoirs.diagnostics.perturbations import Divergence, fading_memory, lyapunov_exponent, perturbation_growth
from spiketwin.experiments.reservoirs.diagnostics.probe import Probe, membranes, read_spikes
from spiketwin.experiments.reservoirs.diagnostics.ranks import Rank, generalisation_rank, kernel_quality
from spiketwin.experiments.reservoirs.diagnostics.separation import Separation, separation
from spiketwin.models.reservoirs import Liquid, check_alive
from spiketwin.models.spikes import Spikes, timestep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEADY_MS, SETTLE_MS, BIN_MS = 5000.0, 300.0, 4.0


class Number(NamedTuple):
    """One line of the report. unit: '' for none.  meaning: how to read it."""

    name: str
    value: float
    unit: str
    meaning: str


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What was measured, each as its module describes it. str() is a table, numbers() its lines, figure() a page.

    spikes: of the neurons that are read, for the samples [T, B, N].  steady: for a long, stationary Poisson input.
    size_law, duration_law: of avalanches; None where there are too few.
    """

    liquid: Liquid
    probe: Probe
    spikes: Spikes
    activity: Activity
    degrees: Degrees
    separation: Separation
    kernel: Rank
    generalisation: Rank
    memory: Memory
    fading: Divergence
    growth: Divergence
    lyapunov_per_s: float
    branching: Branching
    avalanches: Avalanches
    size_law: PowerLaw | None
    duration_law: PowerLaw | None

    def numbers(self) -> list[Number]:
        a, s, nan = self.activity, self.separation, float("nan")
        cv = a.cv[np.isfinite(a.cv)]
        size_law, duration_law = self.size_law, self.duration_law
        return [
            Number("rate", float(a.rate_hz.mean()), "Hz", "mean over neurons and samples"),
            Number("silent", 100 * a.silent, "%", "neurons that never fired"),
            Number("cv", float(np.median(cv)) if cv.size else nan, "", "of intervals, median: 0 clock, 1 Poisson"),
            Number("chi", a.chi, "", "synchrony of membranes: 0 none, 1 full"),
            Number("fano", a.fano, "", "of the population's spikes: 1 independent"),
            Number("fan_in", float(self.degrees.fan_in.mean()), "", "recurrent synapses of a neuron"),
            Number("effective_in", float(self.degrees.effective_in.mean()), "", "of these, how many count"),
            Number("separation", float(s.late()[-1]), "", f"state distance at input distance {s.input_distance[-1]:.2f}"),
            Number("zero_distance", s.late_zero(), "", "the same for equal inputs from two starting states"),
            Number("kernel_quality", self.kernel.rank, f"of {self.kernel.most}", "rank for different inputs: high is good"),
            Number("generalisation_rank", self.generalisation.rank, f"of {self.generalisation.most}", "for versions of one: low is good"),
            Number("linear_memory", self.memory.linear, f"of {self.memory.rank}", f"inputs of {self.memory.step_ms:g} ms recalled"),
            Number("nonlinear_memory", self.memory.nonlinear, f"of {self.memory.rank}", f"degrees 2 … {len(self.memory.by_degree)}"),
            Number("start_left", 100 * self.fading.left, "%", "of a difference in starting states, at the end"),
            Number("growth", self.growth.exponent_per_s, "1/s", "after one input spike more: negative forgets"),
            Number("lyapunov", self.lyapunov_per_s, "1/s", "finite size, 5 % of the way to threshold"),
            Number("branching", self.branching.m, "", f"multistep, per {self.branching.bin_ms:g} ms: 1 is critical"),
            Number("branching_naive", self.branching.naive, "", "too small where few neurons are seen"),
            Number(
                "avalanches",
                len(self.avalanches.sizes),
                "",
                f"of more than {self.avalanches.threshold:g} spikes in {self.avalanches.bin_ms:g} ms",
            ),
            Number(
                "size_exponent",
                size_law.exponent if size_law else nan,
                "",
                f"of avalanche sizes from {size_law.minimum if size_law else 1} on, if a power law",
            ),
            Number("size_power_law", size_law.against_exponential if size_law else nan, "σ", "over an exponential: > 2 yes, < -2 no"),
            Number("duration_exponent", duration_law.exponent if duration_law else nan, "", "of avalanche durations"),
        ]

    def as_dict(self) -> dict[str, float]:
        """name -> value, as result files have it."""
        return {n.name: float(n.value) for n in self.numbers()}

    def figure(self) -> Figure:
        """One page: raster and rates, separation, ranks, memory, perturbations, branching, avalanches."""
        from spiketwin.experiments.reservoirs.diagnostics.figure import page

        return page(self)

    def __str__(self) -> str:
        lines = [(n.name.replace("_", " "), _shown(n.value), n.unit, n.meaning) for n in self.numbers()]
        widths = [max(len(line[k]) for line in lines) for k in range(3)]
        head = f"{self.liquid.size} neurons, {self.liquid.inputs} inputs at {self.probe.rate_hz:.3g} Hz, dt {self.probe.dt_ms:g} ms"
        return "\n".join([head, *(f"{a:<{widths[0]}}  {b:>{widths[1]}} {c:<{widths[2]}}  {d}" for a, b, c, d in lines)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(n.name.replace('_', ' '))}</td><td style='text-align:right'>{_shown(n.value)}</td>"
            f"<td style='text-align:left'>{escape(n.unit)}</td><td style='text-align:left'>{escape(n.meaning)}</td></tr>"
            for n in self.numbers()
        )
        return f"<table><caption>{escape(str(self).splitlines()[0])}</caption>{rows}</table>"


def diagnose(liquid: Liquid, spikes: Spikes, probe: Probe | None = None) -> Diagnosis:
    """Everything about a liquid. spikes: samples [T, B, inputs], of which activity and raster are taken.

    probe: how the rest is measured; None: Poisson inputs as long and, on average, as fast as the samples.
    Raises LiquidError when the samples leave the liquid silent or saturated, ValueError when they hold no spike.
    """
    steps, trials, channels = spikes.shape
    if channels != liquid.inputs:
        raise ValueError(f"the samples have {channels} channels, but the liquid hears {liquid.inputs}; build it with inputs={channels}")
    if not len(spikes):
        raise ValueError("no sample holds a spike; diagnose the liquid with samples that do")
    probe = probe or Probe(rate_hz=float(spikes.rates_hz().mean()), duration_ms=steps * spikes.dt_ms, dt_ms=spikes.dt_ms)
    answer = probe.run(liquid, spikes, record="v")
    check_alive(answer, liquid)
    seen = read_spikes(answer, liquid)
    steady = steady_spikes(liquid, probe)
    flow = population_activity(steady, bin_ms=BIN_MS)
    found = avalanches(steady)
    middle = 0.3 * probe.duration_ms
    return Diagnosis(
        liquid=liquid,
        probe=probe,
        spikes=seen,
        activity=activity(seen, membranes(answer, liquid)),
        degrees=degrees(liquid),
        separation=separation(liquid, probe),
        kernel=kernel_quality(liquid, probe),
        generalisation=generalisation_rank(liquid, probe),
        memory=memory_capacity(liquid, probe, steps=max(500, 2 * liquid.size)),
        fading=fading_memory(liquid, probe),
        growth=perturbation_growth(liquid, probe, at_ms=middle),
        lyapunov_per_s=lyapunov_exponent(liquid, probe),
        branching=branching_ratio(flow, lags=min(40, len(flow) // 4), bin_ms=BIN_MS),
        avalanches=found,
        size_law=_law(found.sizes),
        duration_law=_law(found.durations),
    )


def steady_spikes(liquid: Liquid, probe: Probe, *, trials: int = 4) -> Spikes:
    """Answers to a long Poisson input without their beginning: an input that changes would pass for branching."""
    long = replace(probe, duration_ms=STEADY_MS + SETTLE_MS)
    spikes = read_spikes(long.run(liquid, long.poisson(liquid.inputs, trials, stream=8)), liquid)
    return spikes.during(int(timestep(SETTLE_MS, probe.dt_ms)), spikes.shape[0])


def _law(x: np.ndarray) -> PowerLaw | None:
    try:
        # a tail of less than a tenth of the avalanches says nothing about them
        return fit_power_law(x, least=max(50, len(x) // 10))
    except ValueError:  # too few avalanches, or all alike: the report says nan
        return None


def _shown(value: float) -> str:
    if not np.isfinite(value):
        return "–" if np.isnan(value) else ("∞" if value > 0 else "-∞")
    return f"{value:.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"
