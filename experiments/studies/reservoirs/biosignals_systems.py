"""What the study of biosignals compares: the same spikes read by the same read-out, from the front end alone and after a liquid.

Each system chooses, for itself and by the validation part, the filter of its spikes, when it is read, and the read-out's penalty; the
liquid also the strength of its input and of its connections. Nothing is chosen or fitted by the test part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from spiketwin.experiments.data.biosignals.windows import Windows
from spiketwin.experiments.reservoirs.senses import Delta
from spiketwin.experiments.reservoirs.states import respond
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.recording import Recording
from spiketwin.models.reservoirs import INPUT, Liquid, check_alive, liquid
from spiketwin.models.stacks.heterogeneity import uniform
from spiketwin.rules.readouts.features import Features, FilteredSpikes

ALPHAS = (1.0, 10.0, 100.0, 1e3, 1e4)
FRONT_END, LIQUID, BOTH = "front_end", "liquid", "both"
SYSTEMS = (FRONT_END, LIQUID, BOTH)
AT_ONCE = 64
# a liquid that forgets its input within some 100 ms; the default one is chaotic
calm = partial(liquid, background=uniform(0.0, 0.5))


class Task(NamedTuple):
    """Parts without a subject in common, how they come onto the grid, and what is to be high: score(labels, predictions)."""

    train: Windows
    validation: Windows
    test: Windows
    dt_ms: float
    deltas: tuple[float, ...]
    score: Callable[[np.ndarray, np.ndarray], float]


class Chosen(NamedTuple):
    """Of a system: its validation score, what it chose, and its predictions for the test part."""

    validation: float
    settings: dict[str, float]
    predictions: np.ndarray


class Rows(NamedTuple):
    """What a read-out sees of each part: for each of a grid's features, rows [samples, width]."""

    train: list[np.ndarray]
    validation: list[np.ndarray]
    test: list[np.ndarray] = []


@dataclass(frozen=True)
class Grid:
    """What is chosen from."""

    taus_ms: tuple[float, ...]
    reads: tuple[int, ...]
    input_scales: tuple[float, ...]
    connection_scales: tuple[float, ...]

    @property
    def features(self) -> list[FilteredSpikes]:
        return [FilteredSpikes(tau, reads) for tau, reads in product(self.taus_ms, self.reads)]


class Together(BaseEstimator):
    """Several features of one run, side by side."""

    record: tuple[str, ...] = ()

    def __init__(self, features: Sequence[Features]) -> None:
        self.features = features

    def width(self, neurons: int) -> int:
        return sum(f.width(neurons) for f in self.features)

    def read(self, recording: Recording, populations: Sequence[str], ends: np.ndarray) -> np.ndarray:
        return np.concatenate([f.read(recording, populations, ends) for f in self.features], axis=1)

    def apart(self, rows: np.ndarray, neurons: int) -> list[np.ndarray]:
        """The rows of each."""
        return np.split(rows, np.cumsum([f.width(neurons) for f in self.features])[:-1], axis=1)


def compare(
    task: Task, grid: Grid, size: int, seed: int, *, done: Callable[[int], None] = lambda n: None
) -> tuple[dict[str, Chosen], float]:
    """Each of SYSTEMS, and the rate of the chosen liquid in Hz. done: called with how many steps of the work of `steps` are."""
    sense = Delta(task.deltas).fit(task.train.signals)
    features = Together(grid.features)
    parts = (task.train, task.validation, task.test)
    heard = Rows(*(features.apart(_heard(sense, features, task, part), sense.inputs_) for part in parts))
    found = {FRONT_END: choose(task, grid, heard)}
    done(1)
    best: Chosen | None = None
    kept: tuple[Liquid, Rows] | None = None
    for k, (input_scale, connection_scale) in enumerate(product(grid.input_scales, grid.connection_scales)):
        made = calm(sense.inputs_, size, input_scale=input_scale, connection_scale=connection_scale, seed=seed)
        seen = Rows(*(_answers(made, sense, features, task, part) for part in parts[:2]))
        here = choose(task, grid, seen, {"input_scale": input_scale, "connection_scale": connection_scale})
        if best is None or here.validation > best.validation:
            best, kept = here, (made, seen)
        done(2 + k)
    assert best is not None and kept is not None
    made, seen = kept
    seen = seen._replace(test=_answers(made, sense, features, task, task.test))
    scales = {name: best.settings[name] for name in ("input_scale", "connection_scale")}
    found[LIQUID] = choose(task, grid, seen, scales)
    beside = Rows(*([np.hstack(pair) for pair in zip(a, b, strict=True)] for a, b in zip(seen, heard, strict=True)))
    found[BOTH] = choose(task, grid, beside, scales)
    return found, _rate_hz(made, sense, task)


def steps(grid: Grid) -> int:
    return 1 + len(grid.input_scales) * len(grid.connection_scales)


def choose(task: Task, grid: Grid, rows: Rows, settings: dict[str, float] | None = None) -> Chosen:
    """The best of all filters, reads and penalties on the validation part. Predictions are empty where there are no test rows."""
    best: tuple[float, int, Pipeline, dict[str, float]] | None = None
    for k, (feature, alpha) in _candidates(grid):
        readout = make_pipeline(StandardScaler(), RidgeClassifier(alpha, class_weight="balanced")).fit(rows.train[k], task.train.labels)
        score = task.score(task.validation.labels, readout.predict(rows.validation[k]))
        if best is None or score > best[0]:
            best = score, k, readout, {"tau_ms": feature.tau_ms, "reads": feature.reads, "alpha": alpha, **(settings or {})}
    assert best is not None
    score, k, readout, chosen = best
    return Chosen(score, chosen, readout.predict(rows.test[k]) if rows.test else np.empty(0, int))


def _candidates(grid: Grid) -> Iterator[tuple[int, tuple[FilteredSpikes, float]]]:
    for k, feature in enumerate(grid.features):
        for alpha in ALPHAS:
            yield k, (feature, alpha)


def _heard(sense: Delta, features: Together, task: Task, part: Windows) -> np.ndarray:
    """What features see of the input's spikes, as they would of a population's."""
    rows = []
    for start in range(0, len(part), AT_ONCE):
        spikes, ends = sense.spikes(part.signals[start : start + AT_ONCE], dt_ms=task.dt_ms, duration_ms=part.duration_ms)
        recording = Recording("none", "none", task.dt_ms, {INPUT: spikes}, {})
        rows.append(features.read(recording, [INPUT], ends))
    return np.concatenate(rows)


def _answers(made: Liquid, sense: Delta, features: Together, task: Task, part: Windows) -> list[np.ndarray]:
    engine = CompiledEngine(dtype="float32", threads=1)
    rows = respond(
        made, sense, features, part.signals, dt_ms=task.dt_ms, duration_ms=part.duration_ms, engine=engine, at_once=AT_ONCE, check=False
    )
    return features.apart(rows, made.size)


def _rate_hz(made: Liquid, sense: Delta, task: Task) -> float:
    """Of a neuron in the first windows. Raises LiquidError where the liquid is silent or saturated."""
    spikes, _ = sense.spikes(task.train.signals[:AT_ONCE], dt_ms=task.dt_ms, duration_ms=task.train.duration_ms)
    answer = CompiledEngine(dtype="float32", threads=1).run(made.network, {INPUT: spikes}, dt_ms=task.dt_ms, scheme="exact")
    return check_alive(answer, made)
