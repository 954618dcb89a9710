"""Time series: a spiking liquid with a linear read-out, an echo-state network of as many units, and the inputs alone.

    narma10_nrmse          error of NARMA-10, over its spread
    memory_capacity        Σ of squared correlations with the inputs of 1 … 40 steps ago, on new inputs (Jaeger 2001)
    delayed_xor_accuracy   percent, the mean over the exclusive or of two neighbouring bits 0 … 9 steps ago; guessing has 50
    mackey_glass_smape     of 10 Lyapunov times foretold alone, as NeuroBench asks for it (forecast.py)

Each for _inputs (the last inputs themselves, which is no test of memory: a line of d values has the capacity d by construction, and is
left out there), _echo_state (reservoirpy), _liquid (one filtered spike train of each neuron), and _liquid_rich (three
filters of each, and its membrane: four times as many weights in the read-out). Every model tries the same number of settings,
drawn at random from its own ranges (models.py); all of them, and the penalty of the read-out, are chosen on validation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.reservoirs.signals import smape
from spiketwin.experiments.studies.reservoirs.time_series import forecast, models, tasks
from spiketwin.experiments.studies.reservoirs.time_series.figure import draw
from spiketwin.models.units import whole

__all__ = ["OBJECTIVE", "QUESTION", "SPLIT", "Config", "draw", "run", "smoke"]

QUESTION = "How well does a spiking liquid follow, remember and foretell time series, next to an echo-state network of its size?"
OBJECTIVE = None  # what it chooses on validation it reports on test only
SPLIT = (
    "one series after the other: training, validation for settings and penalty, test; "
    "Mackey-Glass: settings by two series of their own; in each other one 10 Lyapunov times are learnt, 10 are the test"
)

DRAWN = 5 * forecast.POINTS  # of a forecast


@dataclass(frozen=True)
class Config:
    """How large, how long, and how much is tried."""

    size: int = 300
    """Neurons of the liquid, units of the echo-state network."""
    dt_ms: float = 1.0
    """Time step of the liquid in ms."""
    settings: int = 12
    """Settings that each model tries for each kind of input."""
    train: int = 2000
    """Inputs that read-outs learn from, after 100 that are only heard; the validation is learnt from, too, once all is chosen."""
    validation: int = 700
    """Inputs by which settings and penalties are chosen."""
    test: int = 1500
    """Inputs of the test."""
    chosen_by: int = 2
    """Series of Mackey-Glass by which settings and penalties are chosen."""
    repeats: int = 5
    """Forecasts of Mackey-Glass, each half a Lyapunov time later; the next seed goes on from there."""
    lyapunov_times: int = 10
    """How long each forecast lasts; those that settings are chosen by last half of it."""

    def __post_init__(self) -> None:
        whole(1, **{name: value for name, value in asdict(self).items() if name != "dt_ms"})


class Best(NamedTuple):
    """The setting with the least error on validation so far: its penalty, which columns of a row are read, and the rows."""

    choice: tasks.Choice
    settings: models.Settings
    columns: slice
    rows: np.ndarray | None = None


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return answer(config, seed)


def smoke() -> Result:
    """Small and short, two settings each, one forecast: seconds."""
    return answer(Config(size=25, settings=2, train=150, validation=60, test=80, chosen_by=1, repeats=1, lyapunov_times=1), 0, quiet=True)


def answer(config: Config, seed: int, *, quiet: bool = False) -> Result:
    metrics: dict[str, float] = {}
    curves: dict[str, Any] = {"settings": {}}
    total = len(models.MODELS) * (3 * config.settings + config.repeats)
    with measured(seed=seed, split=SPLIT) as provenance, progress(f"time_series, seed {seed}", total, quiet=quiet) as show:
        steps = count(1)

        def done() -> None:
            show.update(next(steps))

        for kind, (of_kind, drawn) in enumerate(((tasks.UNIFORM, tasks.uniform_input), (tasks.BITS, tasks.bits))):
            follow(config, seed, kind, of_kind, drawn, done, metrics, curves)
        foretell(config, seed, done, metrics, curves)
    return single(sys.modules[__name__], config, seed, metrics, curves=curves, provenance=provenance)


def follow(
    config: Config,
    seed: int,
    kind: int,
    of_kind: Sequence[tasks.Task],
    drawn: Callable[[int, np.random.Generator], np.ndarray],
    done: Callable[[], None],
    metrics: dict[str, float],
    curves: dict[str, Any],
) -> None:
    """The tasks of one kind of input: their metrics, the settings that won, and their curves over the delay."""
    split = tasks.Split.of(config.train, config.validation, config.test)
    u = drawn(split.test, np.random.default_rng([seed, kind]))
    wanted = {task.name: task.wanted(u) for task in of_kind}
    for place, model in enumerate(models.MODELS.values()):
        rng, best = np.random.default_rng([seed, kind, place]), {}
        for _ in range(config.settings):
            settings = model.draw(rng)
            rows = model.build(1, config.size, settings, seed, config.dt_ms).follow(u[:, None])
            for name, columns in model.columns(config.size, settings).items():
                choices = tasks.chosen(of_kind, rows[:, columns], wanted, split)
                for task in of_kind:
                    found = Best(choices[task.name], settings, columns, rows)
                    best[task, name] = min(best.get((task, name), found), found, key=lambda b: b.choice.error)
            done()
        for (task, name), (choice, settings, columns, rows) in best.items():
            if (task.name, name) == ("memory_capacity", "inputs"):
                continue
            found, right = tasks.tested(rows[:, columns], wanted[task.name], split, choice.penalty)
            metrics[f"{task.name}_{name}"] = task.score(found, right)
            curves["settings"][f"{task.name}_{name}"] = {**settings, "penalty": choice.penalty}
            if task.curve:
                curves[f"{task.name}_{name}"] = task.curve(found, right).round(4)


def foretell(config: Config, seed: int, done: Callable[[], None], metrics: dict[str, float], curves: dict[str, Any]) -> None:
    """Mackey-Glass: settings chosen by series of their own, then every series foretold."""
    given = forecast.series(range(seed * config.repeats, (seed + 1) * config.repeats), config.lyapunov_times)
    chosen_by = forecast.to_choose_by(config.chosen_by, (config.lyapunov_times + 1) // 2)
    curves["mackey_glass"] = given[0].x[forecast.LEARNT :][:DRAWN].round(4)
    for place, model in enumerate(models.MODELS.values()):
        rng, best = np.random.default_rng([seed, 2, place]), {}
        for _ in range(config.settings):
            settings = model.draw(rng)
            columns = model.columns(config.size, settings)
            reservoir = model.build(1, config.size, settings, seed, config.dt_ms)
            for name, choice in forecast.validated(reservoir, columns, chosen_by).items():
                found = Best(choice, settings, columns[name])
                best[name] = min(best.get(name, found), found, key=lambda b: b.choice.error)
            done()
        errors: dict[str, list[float]] = {name: [] for name in best}
        for k, one in enumerate(given):
            for name, b in best.items():
                found = forecast.foretold(model.build(1, config.size, b.settings, seed, config.dt_ms), b.columns, one, b.choice.penalty)
                errors[name].append(smape(found, one.x[forecast.LEARNT :]))
                if k == 0:
                    curves[f"mackey_glass_{name}"] = found[:DRAWN].round(4)
            done()
        for name, b in best.items():
            metrics[f"mackey_glass_smape_{name}"] = float(np.mean(errors[name]))
            curves["settings"][f"mackey_glass_smape_{name}"] = {**b.settings, "penalty": b.choice.penalty}
