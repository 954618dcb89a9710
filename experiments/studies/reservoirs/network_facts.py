"""Published networks at full size: rates of CUBA and COBA, rates and rhythms of Brunel's four states.

    cuba, coba     Vogels & Abbott 2005: 4,000 neurons, rates after the first tenth of the time, CV of the intervals
    STATE_rate     Brunel 2000, figure 8: 12,500 neurons; STATE_rhythm is where the spectrum of the population's activity peaks;
                   STATE_mean_field what the theory says of the rate, which is exact for asynchronous firing alone
    synchronous_regular_rate_at_DT_ms
                   that rate in finer steps. All neurons fire together every 3 ms there, and thresholds are crossed and refractory
                   periods end on whole steps, of which one of 0.1 ms is a thirtieth of the rate

The paper simulated rates of 60.7, 37.7 and 5.5 Hz in the fast, asynchronous and slow state, and rhythms of 180 and 22 Hz in
the fast and the slow one; its theory gives 55.8, 38.0 and 6.5 Hz, 190 and 29 Hz (table 1). It draws the synchronous regular state without
numbers; an independent simulation in finer steps gives about 335 Hz.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.network import Network
from spiketwin.models.reservoirs.published import CELLS, STATES, brunel_network, coba_network, cuba_network, mean_field_rate_hz
from spiketwin.models.spikes import Spikes

QUESTION = "Do the networks of Vogels & Abbott and of Brunel fire at the rates, and with the rhythms, that are published?"
OBJECTIVE = None  # nothing is learned
SPLIT = "none: nothing is fitted"
LOWEST_RHYTHM_HZ = 10.0  # below it the spectrum of a second holds the drift of the rate
CHUNK_MS = 100.0  # the noise of so long a stretch is drawn at once
REGULAR = "synchronous_regular"


@dataclass(frozen=True)
class Config:
    """How large and how long."""

    dt_ms: float = 0.1
    """Time step in ms."""
    warm_up_ms: float = 200.0
    """What is left out at the start, in ms."""
    duration_ms: float = 800.0
    """What is measured after that, in ms."""
    excitatory: int = 10_000
    """Excitatory neurons of Brunel's network; there are a quarter as many inhibitory ones."""
    size: int = 4_000
    """Neurons of CUBA and COBA."""
    finer_dt_ms: tuple[float, ...] = (0.05, 0.025, 0.0125)
    """Finer time steps of the synchronous regular state, for 100 ms each; none to leave them out."""

    def __post_init__(self) -> None:
        if not self.duration_ms > 0 or self.duration_ms % CHUNK_MS:
            raise ValueError(
                f"duration_ms = {self.duration_ms} must be a positive multiple of {CHUNK_MS:g} ms, as long as each stretch of a run is"
            )


def run(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False) -> Result:
    """Metrics in Hz, and the CVs; curves: the spectrum of each of Brunel's states."""
    metrics: dict[str, float] = {}
    curves: dict[str, dict[str, list[float]]] = {}
    with measured(seed=seed, split=SPLIT) as provenance, progress(f"network_facts, seed {seed}", 2 + len(STATES), quiet=quiet) as show:
        # as many synapses per neuron in a smaller network, which would fall silent otherwise
        connectivity = min(1.0, 80 / config.size)
        for k, (name, network, scheme) in enumerate(
            [
                ("cuba", cuba_network(config.size, connectivity, seed=seed), "exact"),
                ("coba", coba_network(config.size, connectivity, seed=seed), "exponential_euler"),
            ]
        ):
            spikes = simulate(network, config, scheme, seed)
            metrics[name] = float(spikes.rates_hz().mean())
            metrics[f"{name}_cv"] = cv(spikes)
            show.update(k + 1)
        scaled = {"excitatory": config.excitatory, "j_mv": 0.1 * 10_000 / config.excitatory}
        for k, (name, state) in enumerate(STATES.items()):
            spikes = simulate(brunel_network(state, seed=seed, **scaled), config, "euler_maruyama", seed)
            frequency, power = spectrum(spikes)
            metrics[f"{name}_rate"] = float(spikes.rates_hz().mean())
            metrics[f"{name}_rhythm"] = float(frequency[power.argmax()])
            metrics[f"{name}_cv"] = cv(spikes)
            metrics[f"{name}_mean_field"] = mean_field_rate_hz(state, **scaled)
            curves[name] = {"frequency_hz": frequency.round(2).tolist(), "power": (power / power.max()).round(4).tolist()}
            show.update(3 + k)
        for dt_ms in config.finer_dt_ms:
            finer = replace(config, dt_ms=dt_ms, warm_up_ms=CHUNK_MS, duration_ms=CHUNK_MS)
            spikes = simulate(brunel_network(STATES[REGULAR], seed=seed, **scaled), finer, "euler_maruyama", seed)
            metrics[f"{REGULAR}_rate_at_{dt_ms:g}_ms"] = 1000 / mean_interval_ms(spikes)
    return single(sys.modules[__name__], config, seed, metrics, curves=curves, provenance=provenance)


def smoke() -> Result:
    """Small and short: seconds."""
    return run(Config(warm_up_ms=100.0, duration_ms=200.0, excitatory=1000, size=1000, finer_dt_ms=(0.05,)), seed=0, quiet=True)


def simulate(network: Network, config: Config, scheme: str, seed: int) -> Spikes:
    """The spikes after the warm-up, of one trial."""
    session = CompiledEngine(threads=1).start(network, dt_ms=config.dt_ms, scheme=scheme, seed=seed)
    session.run(duration_ms=config.warm_up_ms)
    parts = [session.run(duration_ms=CHUNK_MS).spikes[CELLS] for _ in range(round(config.duration_ms / CHUNK_MS))]
    starts = np.cumsum([0, *(p.shape[0] for p in parts)])
    step = np.concatenate([p.step + start for p, start in zip(parts, starts)])
    neuron = np.concatenate([p.neuron for p in parts])
    return Spikes(step, np.zeros_like(step), neuron, (int(starts[-1]), 1, parts[0].shape[2]), config.dt_ms)


def intervals(spikes: Spikes) -> tuple[np.ndarray, np.ndarray]:
    """Each interval between two spikes of a neuron, in steps, and which neuron's it is."""
    order = np.lexsort((spikes.step, spikes.neuron))
    neuron, interval = spikes.neuron[order], np.diff(spikes.step[order])
    inside = neuron[1:] == neuron[:-1]
    return interval[inside].astype(float), neuron[1:][inside]


def mean_interval_ms(spikes: Spikes) -> float:
    """Mean interval between two spikes of a neuron; infinite where none fires twice."""
    interval, _ = intervals(spikes)
    return float(interval.mean() * spikes.dt_ms) if len(interval) else float("inf")


def cv(spikes: Spikes) -> float:
    """Mean coefficient of variation of the intervals, over neurons with four spikes or more; 0 where there are none."""
    interval, which = intervals(spikes)
    size = spikes.shape[2]
    many = np.bincount(which, minlength=size)
    total, squares = (np.bincount(which, interval**power, size) for power in (1, 2))
    enough = many >= 3
    mean = total[enough] / many[enough]
    return float(np.mean(np.sqrt(np.maximum(squares[enough] / many[enough] - mean**2, 0)) / mean)) if enough.any() else 0.0


def spectrum(spikes: Spikes) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz, above 10, and the power of the population's activity there, smoothed over three of them."""
    activity = np.bincount(spikes.step, minlength=spikes.shape[0]).astype(float)
    windowed = (activity - activity.mean()) * np.hanning(len(activity))
    power = np.convolve(np.abs(np.fft.rfft(windowed)) ** 2, [0.25, 0.5, 0.25], mode="same")
    frequency = np.fft.rfftfreq(len(activity), spikes.dt_ms * 1e-3)
    kept = (frequency > LOWEST_RHYTHM_HZ) & (frequency < 500)
    return frequency[kept], power[kept]
