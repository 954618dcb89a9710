"""The trained network through the levels: the same in Brian2 at its own step, and what finer steps change.

At the training step Brian2 must reproduce every prediction and every spike of the float64 network. At dt/2 to
dt/16 the same weights and input times are run again: does the accuracy rest on the step it was trained at?
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spiketwin.experiments.crosscheck.checks import Check
from spiketwin.experiments.crosscheck.consequence import at_step_end
from spiketwin.experiments.studies.ttfs import HIDDEN, INPUT, OUTPUT, Trained, decide, percent
from spiketwin.models.distances import coincidence_factor, first_spike_shift, van_rossum_distance
from spiketwin.models.engines import get_engine
from spiketwin.models.recording import Recording
from spiketwin.models.spikes import Spikes

FACTORS = (1, 2, 4, 8, 16)
TAU_MS = 10.0  # kernel of the van Rossum distance
WINDOW_MS = 2.0  # precision of a coincidence


def check(trained: Trained, *, samples: int = 1000, factors: tuple[int, ...] = FACTORS, progress: Callable[[float], None] | None = None):
    """Rows and curves for the first `samples` test samples of a trained network."""
    chosen = slice(0, samples)
    spikes = trained.inputs[INPUT].trials(chosen)
    labels, predictions = trained.labels[chosen], trained.predictions[chosen]
    model = f"trained_{trained.experiment.removesuffix('_ttfs')}"
    torch_run = run("torch", trained, spikes, 1)
    rows: list[Check] = []
    curves: dict = {
        "dt_ms": [],
        "accuracy": [],
        "agreement": [],
        "reference": percent(predictions == labels),
        "label": "torch at the training step",
    }
    distance: dict = {HIDDEN: {"dt_ms": [], "van_rossum": [], "coincidence": []}}
    coarse = at_step_end(torch_run.spikes[HIDDEN])
    total = sum(factors)
    for index, factor in enumerate(factors):
        done = sum(factors[:index])
        fine = run("brian", trained, spikes, factor, progress and (lambda share, d=done, f=factor: progress((d + f * share) / total)))
        voted = decide(fine.states[OUTPUT]["v"])
        dt_ms = trained.dt_ms / factor
        accuracy, agreement = percent(voted == labels), percent(voted == predictions)
        if factor == 1:
            rows += _identity(model, trained, torch_run, fine, agreement)
        times = at_step_end(fine.spikes[HIDDEN])
        apart = van_rossum_distance(coarse, times, tau_ms=TAU_MS)
        gamma = coincidence_factor(coarse, times, delta_ms=WINDOW_MS)
        shift = first_spike_shift(coarse, times)
        shift = float(np.median(np.abs(shift[np.isfinite(shift)])))
        what = f"Brian2 at {dt_ms:g} ms: {{}}"
        # at the training step everything is equal; at finer ones the spikes must be nearer than none would be
        nothing = float(np.mean(van_rossum_distance(coarse, _silence(coarse), tau_ms=TAU_MS)))
        more = len(fine.spikes[HIDDEN]) / max(1, len(torch_run.spikes[HIDDEN]))
        # quantity, value, bound at a finer step, bound at the training step, unit
        measured = (
            ("accuracy", accuracy, (curves["reference"] - 5, 100.0), (curves["reference"], 100.0), "percent"),
            ("same prediction as torch", agreement, (90.0, 100.0), (100.0, 100.0), "percent"),
            ("hidden layer, spikes per spike of torch", more, (0.75, 1.25), (1.0, 1.0), "1"),
            ("hidden layer, van Rossum distance to torch", float(np.mean(apart)), (0, nothing), (0, 0), "1"),
            ("hidden layer, coincidence with torch", float(np.nanmean(gamma)), (0.5, 1.0), (1.0, 1.0), "1"),
            ("hidden layer, median shift of first spikes", shift, (0, 2 * trained.dt_ms), (0, 0), "ms"),
        )
        for quantity, value, finer, at_training, unit in measured:
            rows.append(Check(model, "consequence", what.format(quantity), value, at_training if factor == 1 else finer, unit))
        for key, value in (("dt_ms", dt_ms), ("accuracy", accuracy), ("agreement", agreement)):
            curves[key].append(value)
        for key, value in (("dt_ms", dt_ms), ("van_rossum", np.asarray(apart).tolist()), ("coincidence", np.asarray(gamma).tolist())):
            distance[HIDDEN][key].append(value)
    rows.append(_converges(model, trained, curves))
    return rows, {"accuracy": curves, "distance": distance}


def run(engine: str, trained: Trained, spikes: Spikes, factor: int, progress=None) -> Recording:
    """The trained network on `spikes` at a `factor` times finer step, arrivals at the same times."""
    refined = spikes if factor == 1 else spikes.refined(factor)
    return get_engine(engine).run(
        trained.network, {INPUT: refined}, dt_ms=trained.dt_ms / factor, scheme=trained.scheme, record={OUTPUT: ("v",)}, progress=progress
    )


def _silence(like: Spikes) -> Spikes:
    none = np.zeros(0, dtype=int)
    return Spikes(none, none, none, like.shape, like.dt_ms)


def _identity(model: str, trained: Trained, ours: Recording, brian: Recording, agreement: float) -> list[Check]:
    sets = [
        set(zip(s.step.tolist(), s.batch.tolist(), s.neuron.tolist(), strict=True)) for s in (ours.spikes[HIDDEN], brian.spikes[HIDDEN])
    ]
    x, y = ours.states[OUTPUT]["v"], brian.states[OUTPUT]["v"]
    what = f"{trained.scheme} at {trained.dt_ms:g} ms: {{}}, torch against brian"
    return [
        Check(model, "identity", what.format("hidden spikes"), float(len(sets[1])), (1, None), "spikes"),
        Check(model, "identity", what.format("hidden spikes that differ"), float(len(sets[0] ^ sets[1])), (0, 0), "spikes"),
        Check(model, "identity", what.format("read-out difference over scale"), float(np.abs(x - y).max() / np.ptp(y)), (0, 1e-9)),
        Check(model, "identity", what.format("same prediction"), agreement, (100.0, 100.0), "percent"),
    ]


def _converges(model: str, trained: Trained, curves: dict) -> Check:
    """Whether refining ever further changes ever fewer predictions: the last halving against the step from training to dt/2."""
    agreement = curves["agreement"]
    change = abs(agreement[-1] - agreement[-2])
    return Check(model, "convergence", "change of the agreement over the last halving of dt", change, (0, 2.0), "percentage points")
