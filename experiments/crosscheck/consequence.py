"""Level 3, consequence, for every model: the float32 network at its training step against the fine ODE.

Neurons under five constant currents. Deterministic models are held against the adaptive truth, spike by
spike; models with noise against themselves at a sixteenth of the step, in distribution.
"""

from __future__ import annotations

import numpy as np

from spiketwin.experiments.crosscheck import cases
from spiketwin.experiments.crosscheck.checks import Check
from spiketwin.models.engines import get_engine
from spiketwin.models.engines.scipy import ScipyEngine
from spiketwin.models.network import Network, Population
from spiketwin.models.neurons import neuron
from spiketwin.models.neurons.stimuli import stimulus
from spiketwin.models.recording import Recording
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import quantity

LEVEL = "consequence"
NAME = "neurons"


def check(name: str) -> tuple[list[Check], dict]:
    """Rows for one model with the scheme it is normally run with."""
    spec = neuron(name)
    scheme = cases.schemes(spec)[0]
    dt_ms = cases.dt_ms(spec, scheme)
    if spec.is_noisy or spec.has_random_threshold:
        return _in_distribution(spec, scheme, dt_ms), {}
    network = Network((_population(spec, 5),))
    record = {NAME: (spec.states[0],)}
    duration_ms = 100.0 if spec.name.startswith("hh") else 300.0
    coarse = _float32(network, scheme, dt_ms, duration_ms, record)
    truth = ScipyEngine(rtol=1e-9).run(network, dt_ms=dt_ms, duration_ms=duration_ms, record=record)
    if not spec.threshold:
        x, y = coarse.states[NAME][spec.states[0]], truth.states[NAME][spec.states[0]]
        return [
            Check(
                name,
                LEVEL,
                f"{scheme} at {dt_ms:g} ms, float32: state difference over scale",
                float(np.abs(x - y).max() / np.ptp(y)),
                (0, 1e-5),
            )
        ], {}
    return _against_truth(spec, scheme, dt_ms, coarse, truth), {}


def _population(spec: NeuronSpec, size: int, low: float = 0.9, high: float = 1.5) -> Population:
    drives = {d: quantity(text)[0] * np.linspace(low, high, size) for d, text in stimulus(spec.name)["drive"].items()}
    return Population(NAME, spec, size, drives=drives)


def _float32(network: Network, scheme: str, dt_ms: float, duration_ms: float, record: dict) -> Recording:
    import torch

    from spiketwin.models.engines.torch import TorchEngine

    return TorchEngine(dtype=torch.float32).run(network, dt_ms=dt_ms, scheme=scheme, duration_ms=duration_ms, record=record)


def _against_truth(spec: NeuronSpec, scheme: str, dt_ms: float, coarse: Recording, truth: Recording) -> list[Check]:
    """First and later spikes. Each interval is rounded up to the grid and begins at a rounded reset: two steps at most,
    and the scheme's own error, five percent at most, may come on top."""
    ours, theirs = at_step_end(coarse.spikes[NAME]), truth.spikes[NAME]
    what = f"{scheme} at {dt_ms:g} ms, float32: {{}}"
    first, later = [], []
    for n in range(theirs.shape[2]):
        a, b = (np.sort(s.times_ms()[s.neuron == n]) for s in (ours, theirs))
        if len(a) and len(b):
            k = np.arange(1, min(len(a), len(b)) + 1)
            drift = np.abs(a[: len(k)] - b[: len(k)])
            first.append((drift[0], 2 * dt_ms + 0.05 * b[0]))
            later.append((np.max(drift / k), 2 * dt_ms + 0.05 * b[-1] / len(b)))
    fired = (theirs.counts()[0] > 0) & (ours.counts()[0] > 0)
    rows = [Check(spec.name, LEVEL, what.format("share of neurons that spike"), float(fired.mean()), (1.0, 1.0))]
    for name, pairs in (("shift of the first spike", first), ("drift of spike times per interval", later)):
        value, allowed = max(pairs, key=lambda pair: pair[0] / pair[1], default=(np.nan, 0.0))
        rows.append(Check(spec.name, LEVEL, what.format(name), float(value), (0, float(allowed)), "ms"))
    return rows


def _in_distribution(spec: NeuronSpec, scheme: str, dt_ms: float) -> list[Check]:
    network = Network((_population(spec, 500, 1.0, 1.0),))
    engine = get_engine("compiled")
    coarse, fine = (
        engine.run(network, dt_ms=step, scheme=scheme, duration_ms=1000.0, seed=seed).spikes[NAME].rates_hz()[0]
        for step, seed in ((dt_ms, 1), (dt_ms / 16, 2))
    )
    spread = float(np.hypot(coarse.std(ddof=1), fine.std(ddof=1)) / np.sqrt(coarse.size))
    # A diffusion that is looked at once per step misses the crossings in between: the threshold acts as if it
    # were .58 sigma sqrt(2 dt/tau) higher (Broadie, Glasserman & Kou 1997), some percent of the rate at these steps.
    bound = 0.15 * fine.mean() + 4 * spread if spec.is_noisy else 4 * spread + 0.02 * fine.mean()
    what = f"{scheme} at {dt_ms:g} ms: difference of the mean rate from a sixteenth of the step"
    return [
        Check(spec.name, LEVEL, f"{scheme}: mean rate at {dt_ms / 16:g} ms", float(fine.mean()), (1.0, None), "Hz"),
        Check(spec.name, LEVEL, what, float(abs(coarse.mean() - fine.mean())), (0, float(bound)), "Hz"),
    ]


def at_step_end(spikes: Spikes) -> Spikes:
    """The same events timed at the end of their step, where the threshold was met; labels name its start."""
    return Spikes(spikes.step, spikes.batch, spikes.neuron, spikes.shape, spikes.dt_ms, (spikes.step + 1) * spikes.dt_ms)
