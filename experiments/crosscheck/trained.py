"""A trained network through the levels: the same in Brian2 at its own step, and what finer steps change.

At the training step Brian2 must reproduce every prediction and every spike of the float64 network. At dt/2 to
dt/16 the same weights and inputs are run again: does the accuracy rest on the step it was trained at?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spiketwin.experiments.crosscheck.checks import Check
from spiketwin.experiments.crosscheck.consequence import at_step_end
from spiketwin.experiments.crosscheck.subjects import Subject, subject
from spiketwin.experiments.studies.gradients.ttfs import INPUT, OUTPUT, Trained, percent
from spiketwin.models.distances import coincidence_factor, first_spike_shift, van_rossum_distance
from spiketwin.models.engines import get_engine
from spiketwin.models.recording import Recording
from spiketwin.models.spikes import Spikes

FACTORS = (1, 2, 4, 8, 16)
TAU_STEPS = 10.0  # kernel of the van Rossum distance, in steps of training
WINDOW_STEPS = 2.0  # precision of a coincidence, likewise
AT_ONCE = 100  # samples that are held in memory together, at most
ENTRIES = 20_000_000  # of their currents and recorded states, at most, unless one sample alone has more


def check(
    trained: Any,
    *,
    samples: int = 1000,
    factors: tuple[int, ...] = FACTORS,
    name: str = "",
    progress: Callable[[float], None] | None = None,
):
    """Rows and curves for the first `samples` test samples of a trained network, as subjects.subject() takes it.

    factors: how many times finer than the step of training each step is; the first is 1.
    """
    if not factors or factors[0] != 1 or sorted(set(factors)) != list(factors):
        raise ValueError(f"factors {factors} must begin with 1, the step of training, and rise")
    if samples < 1:
        raise ValueError(f"samples = {samples} must be at least 1")
    network = subject(trained, name)
    labels = network.labels[:samples]
    at_once = max(1, min(AT_ONCE, ENTRIES // _entries(network, factors[-1])))
    chunks = [np.arange(first, min(first + at_once, len(labels))) for first in range(0, len(labels), at_once)]
    total, done = len(chunks) * sum(factors), 0
    expected, tallies = [], [Tally(network) for _ in factors]
    for index in chunks:
        reference = network.reference(index)
        expected.append(network.decide(reference))
        for factor, tally in zip(factors, tallies, strict=True):
            shown = progress and (lambda share, d=done, f=factor: progress((d + f * share) / total))
            tally.add(network.run("brian", index, factor, shown), reference)
            done += factor
    predictions = np.concatenate(expected)
    curves: dict = {"label": "torch at the training step", "reference": percent(predictions == labels), "samples": len(labels)}
    trains = tallies[0].layers.values()
    curves |= {"spikes": sum(t.theirs for t in trains), "differing_spikes": sum(t.differ for t in trains)}
    curves |= {"dt_ms": [network.dt_ms / f for f in factors], "accuracy": [percent(t.votes() == labels) for t in tallies]}
    curves["agreement"] = [percent(t.votes() == predictions) for t in tallies]
    rows = _identity(network, tallies[0], curves["agreement"][0])
    for tally, dt_ms, accuracy, agreement in zip(tallies, curves["dt_ms"], curves["accuracy"], curves["agreement"], strict=True):
        what = f"Brian2 at {dt_ms:g} ms: {{}}"
        # quantity, value, bound at a finer step, bound at the training step, unit
        measured = [
            ("accuracy", accuracy, (curves["reference"] - 5, 100.0), (curves["reference"], 100.0), "percent"),
            ("same prediction as torch", agreement, (90.0, 100.0), (100.0, 100.0), "percent"),
        ]
        for layer in network.layers:
            measured += tally.layers[layer].rows(layer, network.dt_ms)
        for quantity, value, finer, exact, unit in measured:
            rows.append(Check(network.name, "consequence", what.format(quantity), value, exact if tally is tallies[0] else finer, unit))
    if len(factors) > 1:
        rows.append(_converges(network.name, curves))
    distance = {layer: {"dt_ms": curves["dt_ms"], **_drawn([t.layers[layer] for t in tallies])} for layer in network.layers}
    return rows, {"accuracy": curves, "distance": distance}


def run(engine: str, trained: Trained, spikes: Spikes, factor: int, progress=None) -> Recording:
    """A time-to-first-spike network on `spikes` at a `factor` times finer step, arrivals at the same times."""
    refined = spikes if factor == 1 else spikes.refined(factor)
    return get_engine(engine).run(
        trained.network, {INPUT: refined}, dt_ms=trained.dt_ms / factor, scheme=trained.scheme, record={OUTPUT: ("v",)}, progress=progress
    )


@dataclass(eq=False)
class Layer:
    """How the spikes of one layer compare, over all samples seen. Lists have an array per chunk: by sample, or by neuron."""

    ours: int = 0
    theirs: int = 0
    differ: int = 0
    dense: int = 0  # spikes in torch whose neuron also fired one step of training before
    coincides: float = 0.0  # sum of the coincidence factors of all pairs of trains that have one
    pairs: int = 0
    apart: list[np.ndarray] = field(default_factory=list)
    silence: list[np.ndarray] = field(default_factory=list)
    gamma: list[np.ndarray] = field(default_factory=list)
    shift: list[np.ndarray] = field(default_factory=list)

    def add(self, found: Spikes, reference: Spikes) -> None:
        self.ours, self.theirs = self.ours + len(found), self.theirs + len(reference)
        if found.dt_ms == reference.dt_ms:
            self.differ += _differ(found, reference)
        self.dense += _in_a_row(reference)
        fine, coarse = at_step_end(found), at_step_end(reference)
        self.apart.append(van_rossum_distance(coarse, fine, tau_ms=TAU_STEPS * reference.dt_ms))
        self.silence.append(van_rossum_distance(coarse, _silence(coarse), tau_ms=TAU_STEPS * reference.dt_ms))
        gamma = coincidence_factor(coarse, fine, delta_ms=WINDOW_STEPS * reference.dt_ms)
        known = np.isfinite(gamma)
        self.coincides, self.pairs = self.coincides + float(gamma[known].sum()), self.pairs + int(known.sum())
        self.gamma.append(_mean(gamma))
        shift = np.abs(first_spike_shift(coarse, fine))
        self.shift.append(shift[np.isfinite(shift)])

    def rows(self, layer: str, dt_ms: float):
        """quantity, value, bound at a finer step, bound at the training step, unit."""
        shift = np.concatenate(self.shift)
        # at finer steps the spikes must be nearer than none would be
        nothing = float(np.mean(np.concatenate(self.silence)))
        found = [
            ("spikes per spike of torch", self.ours / max(1, self.theirs), (0.75, 1.25), (1.0, 1.0), "1"),
            ("van Rossum distance to torch", float(np.mean(np.concatenate(self.apart))), (0, nothing), (0, 0), "1"),
        ]
        if self.pairs:  # else all fire so often that chance explains any coincidence
            found.append(("coincidence with torch", round(self.coincides / self.pairs, 12), (0.5, 1.0), (1.0, 1.0), "1"))
        if len(shift):
            found.append(("median shift of first spikes", float(np.median(shift)), (0, 2 * dt_ms), (0, 0), "ms"))
        return [(f"{layer} layer, {quantity}", *rest) for quantity, *rest in found]


class Tally:
    """All that is kept of the runs at one step, chunk after chunk."""

    def __init__(self, network: Subject) -> None:
        self.network = network
        self.layers = {layer: Layer() for layer in network.layers}
        self.decided: list[np.ndarray] = []
        self.low, self.high, self.off = np.inf, -np.inf, 0.0  # of torch's membranes that are read out, and how far off these are

    def add(self, found: Recording, reference: Recording) -> None:
        self.decided.append(self.network.decide(found))
        for layer, tally in self.layers.items():
            tally.add(found.spikes[layer], reference.spikes[layer])
        for population, states in self.network.record.items():
            x, y = reference.states[population][states[0]], found.states[population][states[0]]
            self.low, self.high = min(self.low, x.min()), max(self.high, x.max())
            if x.shape == y.shape:
                self.off = max(self.off, float(np.abs(x - y).max()))

    def votes(self) -> np.ndarray:
        return np.concatenate(self.decided)


def _entries(network: Subject, factor: int) -> int:
    """Numbers that a run of one sample holds at least."""
    inputs = network.inputs(np.arange(1), factor)
    steps = max(v.shape[0] for v in inputs.values())
    recorded = sum(len(states) * network.network.population(name).size for name, states in network.record.items())
    return 1 + steps * recorded + sum(v.size for v in inputs.values() if isinstance(v, np.ndarray))


def _differ(a: Spikes, b: Spikes) -> int:
    """How many events are in one and not in the other."""
    sets = [set(zip(s.step.tolist(), s.batch.tolist(), s.neuron.tolist(), strict=True)) for s in (a, b)]
    return len(sets[0] ^ sets[1])


def _in_a_row(spikes: Spikes) -> int:
    """Spikes whose neuron also fired in the step before: it may fire once a step, and would fire more often in a finer one."""
    _, B, N = spikes.shape
    key = (spikes.batch * N + spikes.neuron) * (spikes.shape[0] + 1) + spikes.step
    return int(np.isin(key - 1, key).sum())


def _mean(gamma: np.ndarray) -> np.ndarray:
    """Mean over the neurons [B]; NaN where no neuron has a value."""
    known = np.isfinite(gamma)
    return np.where(known.any(1), np.where(known, gamma, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def _silence(like: Spikes) -> Spikes:
    none = np.zeros(0, dtype=int)
    return Spikes(none, none, none, like.shape, like.dt_ms)


def _identity(network: Subject, brian: Tally, agreement: float) -> list[Check]:
    what = f"{network.scheme} at {network.dt_ms:g} ms: {{}}, torch against brian"
    found = [(f"{layer} spikes", float(t.ours), (1, None), "spikes") for layer, t in brian.layers.items()]
    found += [(f"{layer} spikes that differ", float(t.differ), (0, 0), "spikes") for layer, t in brian.layers.items()]
    if network.record:
        scale = brian.high - brian.low
        if scale:
            found.append(("read-out difference over scale", brian.off / scale, (0, 1e-9), "1"))
        else:  # all are silent, and to agree on that says nothing
            found.append(("read-outs that move", 0.0, (1, None), "1"))
    found += [
        (f"{layer}, share of spikes a step after another", t.dense / max(1, t.theirs), (0, 1), "1") for layer, t in brian.layers.items()
    ]
    found.append(("same prediction", agreement, (100.0, 100.0), "percent"))
    return [Check(network.name, "identity", what.format(quantity), value, bound, unit) for quantity, value, bound, unit in found]


def _converges(name: str, curves: dict) -> Check:
    """Whether refining ever further changes ever fewer predictions: the last halving against the step from training to dt/2."""
    agreement = curves["agreement"]
    change = abs(agreement[-1] - agreement[-2])
    return Check(name, "convergence", "change of the agreement over the last halving of dt", change, (0, 2.0), "percentage points")


def _drawn(layers: list[Layer]) -> dict:
    """Curves of a layer: a list per step, one value per sample."""
    return {
        "van_rossum": [np.concatenate(t.apart).tolist() for t in layers],
        "coincidence": [np.concatenate(t.gamma).tolist() for t in layers],
    }
