"""What the study of biosignals compares: the same spikes read by the same read-out, from the front end alone and after a liquid.

    front_end   the input's spikes              layer   those of the liquid's neurons, without connections between them
    liquid      those of the liquid             both    front end and liquid side by side

Each system chooses, for itself and by the validation part, the filter of its spikes, when it is read, and the read-out's penalty; layer
and liquid also the strength of their input, the liquid that of its connections, the front end the sizes of moves. Nothing is chosen or
fitted by the test part.
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
FRONT_END, LAYER, LIQUID, BOTH = SYSTEMS = ("front_end", "layer", "liquid", "both")
AT_ONCE = 64
# a liquid that forgets its input within some 100 ms; the default one is chaotic
calm = partial(liquid, background=uniform(0.0, 0.5))


class Task(NamedTuple):
    """Parts without a subject in common, how they come onto the grid, and what is to be high: score(labels, predictions).

    deltas: sets of moves that cost a spike. Liquids hear the first; the front end alone, which costs little, chooses one.
    """

    train: Windows
    validation: Windows
    test: Windows
    dt_ms: float
    deltas: tuple[tuple[float, ...], ...]
    score: Callable[[np.ndarray, np.ndarray], float]

    @property
    def parts(self) -> tuple[Windows, Windows, Windows]:
        return self.train, self.validation, self.test


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
    """Each of SYSTEMS, and the rate of the chosen liquid in Hz. done: called with how many of `steps` are done.

    Raises LiquidError where the liquid that is best in validation is silent or saturated.
    """
    features = Together(grid.features)
    senses = [Delta(deltas).fit(task.train.signals) for deltas in task.deltas]
    heard_by = [Rows(*(features.apart(_heard(s, features, task, part), s.inputs_) for part in task.parts)) for s in senses]
    alone = [choose(task, grid, rows, {"deltas": k}) for k, rows in enumerate(heard_by)]
    sense, heard = senses[0], heard_by[0]
    found, count = {FRONT_END: max(alone, key=lambda chosen: chosen.validation)}, 1
    done(count)
    for system, connections in ((LAYER, (0.0,)), (LIQUID, grid.connection_scales)):
        best: tuple[float, Liquid, Rows, dict[str, float]] | None = None
        for input_scale, connection_scale in product(grid.input_scales, connections):
            made = calm(sense.inputs_, size, input_scale=input_scale, connection_scale=connection_scale, seed=seed)
            seen = Rows(*(_answers(made, sense, features, task, part) for part in task.parts[:2]))
            score = choose(task, grid, seen).validation
            if best is None or score > best[0]:
                best = score, made, seen, {"input_scale": input_scale, "connection_scale": connection_scale}
            count += 1
            done(count)
        assert best is not None
        _, made, seen, scales = best
        seen = seen._replace(test=_answers(made, sense, features, task, task.test))
        found[system] = choose(task, grid, seen, scales)
        if system == LIQUID:
            beside = Rows(*([np.hstack(pair) for pair in zip(a, b, strict=True)] for a, b in zip(seen, heard, strict=True)))
            found[BOTH] = choose(task, grid, beside, scales)
            rate_hz = _rate_hz(made, sense, task)
    return found, rate_hz


def steps(grid: Grid) -> int:
    return 1 + len(grid.input_scales) * (1 + len(grid.connection_scales))


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
