"""The liquids of the study of good ones, and what is measured of each: accuracy on digits that come row by row, and diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spiketwin.experiments.data import load
from spiketwin.experiments.data.dataset import Samples
from spiketwin.experiments.reservoirs.criticality import branching
from spiketwin.experiments.reservoirs.diagnostics import (
    Probe,
    generalisation_rank,
    kernel_quality,
    lyapunov_exponent,
    memory_capacity,
    perturbation_growth,
)
from spiketwin.experiments.reservoirs.senses import OnOff
from spiketwin.experiments.reservoirs.states import respond
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.neurons import cuba_lif
from spiketwin.models.reservoirs import Liquid, liquid
from spiketwin.models.stacks.heterogeneity import lognormal, uniform
from spiketwin.rules.readouts.features import FilteredSpikes, filtered, read_steps

READ_MS = 30.0  # time constant of the filter on the spikes that the read-out sees
ALPHAS = np.logspace(-1, 5, 13)  # of ridge regression, chosen by leaving out one training sample after the other


@dataclass(frozen=True)
class Point:
    """One liquid. spread: standard deviation of ln tau_mem over the neurons."""

    size: int
    connection_scale: float = 1.0
    inhibition: float = 1.0
    tau_mem_ms: float = 20.0
    spread: float = 0.0

    def build(self, inputs: int, seed: int) -> Liquid:
        """Neurons are held at rest to half of the way to threshold: what the liquid does is an answer."""
        spec = cuba_lif.with_defaults(tau_mem=self.tau_mem_ms)
        return liquid(
            inputs,
            self.size,
            neuron=spec,
            parameters={"tau_mem": lognormal(self.tau_mem_ms, self.spread)}
            if self.spread
            else {"tau_mem": np.full(self.size, self.tau_mem_ms)},
            background=uniform(0, 0.5),
            input_scale=2.0,
            connection_scale=self.connection_scale,
            inhibition=self.inhibition,
            seed=seed,
        )

    def __str__(self) -> str:
        return " ".join(f"{name}={value:g}" for name, value in asdict(self).items())


RANGES = {"connection_scale": (0.1, 4.0), "inhibition": (0.25, 4.0), "tau_mem_ms": (5.0, 80.0)}  # of random points, in equal ratios


def points(size: int, axes: dict[str, tuple], random: int) -> Iterator[tuple[str, Point]]:
    """Every axis alone, from Point(size); then points at random, the same for every seed, of that size. Gives (axis or 'random', point)."""
    base = Point(size)
    for axis, values in axes.items():
        for value in values:
            yield axis, replace(base, **{axis: value})
    rng = np.random.default_rng(6)
    for _ in range(random):
        drawn = {name: float(np.exp(rng.uniform(*np.log(ends)))) for name, ends in RANGES.items()}
        yield "random", replace(base, **drawn, spread=float(rng.uniform(0, 1)))


class Task:
    """Handwritten digits, one row of 8 pixels after the other: at the end a read-out must know what came first.

    samples: for training and validation, the first ones of the split.  row_ms: how long a row is shown.
    rate_hz: rate at one standard deviation.  dt_ms: time step.
    """

    def __init__(self, samples: int, row_ms: float, rate_hz: float, dt_ms: float) -> None:
        data = load("digits")
        images = np.concatenate([data.train.images, data.validation.images])[:samples]
        labels = np.concatenate([data.train.labels, data.validation.labels])[:samples]
        self.train, self.test = Samples(images, labels, data.train.maximum), data.test
        self.duration_ms, self.dt_ms = 8 * row_ms, dt_ms
        self.sense = OnOff(rate_hz).fit(rows(self.train))
        self.features = FilteredSpikes(READ_MS)
        self.engine = CompiledEngine(dtype="float32", threads=1)

    def probe(self, seed: int) -> Probe:
        """Poisson inputs of the same length, and as fast as the digits on average."""
        spikes, _ = self.sense.spikes(rows(self.train[:100]), dt_ms=self.dt_ms, duration_ms=self.duration_ms)
        engine = CompiledEngine(threads=1)
        return Probe(float(spikes.rates_hz().mean()), self.duration_ms, READ_MS, self.dt_ms, engine=engine, seed=seed)

    def front_end(self, part: Samples) -> np.ndarray:
        """What the read-out would see of the input's own spikes."""
        spikes, ends = self.sense.spikes(rows(part), dt_ms=self.dt_ms, duration_ms=self.duration_ms)
        return filtered(spikes, read_steps(ends, 1), READ_MS)[:, 0]

    def answers(self, made: Liquid, part: Samples) -> np.ndarray:
        return respond(
            made,
            self.sense,
            self.features,
            rows(part),
            dt_ms=self.dt_ms,
            duration_ms=self.duration_ms,
            engine=self.engine,
            at_once=256,
            check=False,
        )

    def accuracies(self, see: Callable[[Samples], np.ndarray], *before: BaseEstimator) -> dict[str, float]:
        """Percent right: of training samples that the read-out did not learn, in four folds, and of test samples when it has learnt all.

        before: transformers in front of the read-out.
        """
        states, labels = see(self.train), self.train.labels
        readout = make_pipeline(*before, StandardScaler(), RidgeClassifierCV(ALPHAS))
        folds = cross_val_score(readout, states, labels, cv=StratifiedKFold(4, shuffle=True, random_state=0))
        test = readout.fit(states, labels).score(see(self.test), self.test.labels)
        return {"validation": 100 * float(folds.mean()), "test": 100 * float(test)}


def rows(part: Samples) -> np.ndarray:
    """Images [B, 64] as [B, rows, columns]."""
    return part.intensities.reshape(-1, 8, 8)


def measure(point: Point, task: Task, seed: int) -> dict[str, Any]:
    """Accuracies and diagnostics of one liquid; None where a number does not exist, as the growth of what no neuron notices."""
    made, probe = point.build(task.sense.inputs_, seed), task.probe(seed)
    found: dict[str, Any] = {**asdict(point), **task.accuracies(lambda part: task.answers(made, part))}
    found["rate_hz"] = float(probe.run(made, probe.poisson(made.inputs, 20)).spikes["liquid"].rates_hz().mean())
    found["kernel"] = kernel_quality(made, probe).rank
    found["generalisation"] = generalisation_rank(made, probe).rank
    found["memory"] = memory_capacity(made, probe, steps=max(500, 2 * made.size)).linear
    found["branching"] = branching(made, probe.rate_hz, seed=seed)
    found["lyapunov_per_s"] = lyapunov_exponent(made, probe, intervals=30)
    try:
        found["growth_per_s"] = perturbation_growth(made, probe, at_ms=0.3 * probe.duration_ms).exponent_per_s
    except ValueError:  # the perturbation moved no neuron: the liquid is saturated
        found["growth_per_s"] = None
    return {name: value if value is None or np.isfinite(value) else None for name, value in found.items()}
