"""What becomes of a small difference: fading memory, growth of a perturbation, Lyapunov exponents.

    D(t) = sqrt(1/N Σ_n ((v_n(t) - v'_n(t)) / theta)²)     distance of two runs, theta from rest to threshold
    fading memory     two starting states, the same input: D falls to 0 (Maass 2002; the echo-state property, Jaeger 2001)
    growth            one input spike more or less: D(t) ∝ exp(lambda t)   (Legenstein & Maass 2007)
    renormalised      lambda = 1/(K dt) Σ_k ln(D_k / d), after each interval set back to d   (Benettin et al. 1980)

Integrate-and-fire networks are stable against infinitesimal differences on a grid, which a step absorbs, and may be chaotic against
finite ones: spikes that appear or vanish (Monteforte & Wolf 2012). Exponents here are of a stated, finite size.

Source: as named; Legenstein & Maass 2007, Neural Networks 20:323; Benettin, Galgani, Giorgilli & Strelcyn 1980, Meccanica 15:9.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spiketwin.experiments.reservoirs.diagnostics.probe import Probe, membranes, restarted, together, toggled
from spiketwin.models.encoders.shared import positive, whole
from spiketwin.models.reservoirs import INPUT, Liquid
from spiketwin.models.reservoirs.response import threshold_distance
from spiketwin.models.spikes import timestep

# a difference below this share of the way to threshold is rounding
GONE = 1e-12


@dataclass(frozen=True, eq=False)
class Divergence:
    """time_ms: [K] since the runs began to differ.  distance: D [K], geometric mean over trials.  trials: D of each [K, B].
    exponent_per_s: slope of ln D within window_ms.
    """

    time_ms: np.ndarray
    distance: np.ndarray
    trials: np.ndarray
    window_ms: tuple[float, float]

    @property
    def exponent_per_s(self) -> float:
        return growth_exponent(self.time_ms, self.distance, window_ms=self.window_ms)

    @property
    def left(self) -> float:
        """D over the last tenth of the run, as a share of its start."""
        return float(self.distance[-max(len(self.distance) // 10, 1) :].mean() / self.distance[0])


def fading_memory(
    liquid: Liquid, probe: Probe | None = None, *, trials: int = 20, window_ms: tuple[float, float] = (5.0, 100.0)
) -> Divergence:
    """Distance between two starting states under the same Poisson input. left near 0: the liquid forgets where it began."""
    probe = probe or Probe()
    spikes = probe.poisson(liquid.inputs, trials)
    one, other = (membranes(probe.run(restarted(liquid, probe.seed + k), spikes, record="v"), liquid) for k in (0, 1))
    return _divergence(one, other, probe, window_ms)


def perturbation_growth(
    liquid: Liquid, probe: Probe | None = None, *, at_ms: float = 100.0, trials: int = 20, window_ms: tuple[float, float] = (5.0, 50.0)
) -> Divergence:
    """Distance after one input spike more, or less, at at_ms on one channel. Positive exponent: chaos; negative: forgotten.

    The clock begins when the perturbation has reached a neuron in every trial.
    Raises ValueError when it never does, or at_ms is too late.
    """
    probe = probe or Probe()
    at = int(timestep(at_ms, probe.dt_ms))
    if not 0 <= at < probe.steps - 1:
        raise ValueError(f"at_ms = {at_ms} must lie within the trial; lengthen duration_ms = {probe.duration_ms:g}")
    spikes = probe.poisson(liquid.inputs, trials)
    other = toggled(spikes, at, probe.rng(4).choice(_heard(liquid), trials))
    v = membranes(probe.run(liquid, together([spikes, other]), record="v"), liquid)
    moved = np.abs(v[at:, :trials] - v[at:, trials:]).max(axis=2) > 0
    if not moved.any(axis=0).all():
        raise ValueError(
            f"a spike more or less moved no neuron in {np.count_nonzero(~moved.any(axis=0))} of {trials} trials; raise input_scale, or make the trial longer than {probe.duration_ms:g} ms"
        )
    start = at + int(moved.argmax(axis=0).max())
    return _divergence(v[start:, :trials], v[start:, trials:], probe, window_ms)


def growth_exponent(time_ms: np.ndarray, distance: np.ndarray, *, window_ms: tuple[float, float]) -> float:
    """Slope of ln distance over time by least squares, per second; nan where fewer than two distances within the window are above 0."""
    time_ms, distance = np.asarray(time_ms, float), np.asarray(distance, float)
    within = (time_ms >= window_ms[0]) & (time_ms <= window_ms[1]) & (distance > GONE)
    if np.count_nonzero(within) < 2:
        return float("nan")
    return float(1e3 * np.polyfit(time_ms[within], np.log(distance[within]), 1)[0])


def renormalised_exponent(
    advance: Callable[[np.ndarray], np.ndarray], start: np.ndarray, *, intervals: int, interval_ms: float, discard: int = 0
) -> float:
    """Largest Lyapunov exponent per second: how a difference of the size of `start` grows, set back to that size after each interval.

    advance: of the difference it is given, what is left of it one interval later; it keeps the reference.
    discard: intervals before counting, while the difference turns to the direction that grows.
    -inf when a difference vanishes.
    """
    whole(1, intervals=intervals)
    whole(0, discard=discard)
    positive(interval_ms=interval_ms)
    size = float(np.linalg.norm(start))
    if not size > 0:
        raise ValueError("the difference to begin with is 0; nothing can be seen to grow")
    difference, total = np.asarray(start, float), 0.0
    for k in range(discard + intervals):
        difference = advance(difference)
        now = float(np.linalg.norm(difference))
        if now == 0:
            return float("-inf")
        total += np.log(now / size) if k >= discard else 0.0
        difference = difference * (size / now)
    return total / (intervals * interval_ms * 1e-3)


def lyapunov_exponent(
    liquid: Liquid,
    probe: Probe | None = None,
    *,
    distance: float = 0.05,
    interval_ms: float = 20.0,
    intervals: int = 50,
    discard: int = 5,
) -> float:
    """Finite-size exponent per second of a liquid under Poisson input, for differences D = `distance` in all v.

    A distance well below what a neuron moves in one step measures the grid rather than the network; 0 is what neurons that fire on their
    own have, each by itself. After each interval currents and spikes on their way are those of the reference again: choose interval_ms above synaptic times.
    """
    positive(distance=distance, interval_ms=interval_ms)
    whole(1, intervals=intervals)
    whole(0, discard=discard)
    probe = probe or Probe()
    each = int(timestep(interval_ms, probe.dt_ms))
    if each < 1:
        raise ValueError(f"interval_ms = {interval_ms} is shorter than dt_ms = {probe.dt_ms}; lengthen it")
    long = replace(probe, duration_ms=(discard + intervals) * each * probe.dt_ms)
    spikes = long.poisson(liquid.inputs, 1, stream=5)
    one, other = (probe.engine.start(liquid.network, dt_ms=probe.dt_ms, scheme=probe.scheme) for _ in range(2))
    sizes = [liquid.network.population(name).size for name in liquid.read]
    theta = np.repeat([threshold_distance(liquid.network.population(name).neuron) for name in liquid.read], sizes)
    done = 0

    def potentials(session) -> np.ndarray:
        return np.concatenate([np.asarray(session.state(name, "v"), float) for name in liquid.read]) / theta

    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "reference.npz"

        def advance(difference: np.ndarray) -> np.ndarray:
            nonlocal done
            other.load(one.save(kept))
            for name, part in zip(liquid.read, np.split(difference * theta, np.cumsum(sizes)[:-1])):
                other.state(name, "v")[:] += part
            shown = {INPUT: spikes.during(done * each, (done + 1) * each)}
            for session in (one, other):
                session.run(shown, duration_ms=each * probe.dt_ms)
            done += 1
            return potentials(other) - potentials(one)

        start = probe.rng(6).standard_normal(liquid.size)
        start *= distance * np.sqrt(liquid.size) / np.linalg.norm(start)
        return renormalised_exponent(advance, start, intervals=intervals, interval_ms=each * probe.dt_ms, discard=discard)


def _heard(liquid: Liquid) -> np.ndarray:
    """Channels of the input that have a synapse."""
    pre = [p.synapses()[0][p.synapse_values() != 0] for p in liquid.network.projections if p.source == INPUT]
    if not (channels := np.unique(np.concatenate(pre))).size:
        raise ValueError("no channel of the input has a synapse that is not 0; raise input_scale")
    return channels


def _divergence(a: np.ndarray, b: np.ndarray, probe: Probe, window_ms: tuple[float, float]) -> Divergence:
    distance = np.sqrt(np.mean((a - b) ** 2, axis=2))
    typical = np.exp(np.log(np.maximum(distance, GONE)).mean(axis=1))
    return Divergence(np.arange(len(a)) * probe.dt_ms, typical, distance, window_ms)
