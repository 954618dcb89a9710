"""What parameter studies share: every combination of a few settings of one experiment, its best and the effect of each.

The thesis that this project grew from varied four settings in three values each, 81 points, on three data sets. Settings are
compared by validation accuracy; test accuracy is reported for each and chooses nothing. A study has one seed by default: each
value of a setting stands in 27 networks, and their spread is what its effect is held against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from spiketwin.experiments.protocol import Experiment, Result, summary

if TYPE_CHECKING:
    from spiketwin.experiments.sweeps import Trial, Values

ACCURACIES = ("training_accuracy", "validation_accuracy", "test_accuracy")
KEPT = (*ACCURACIES, "spikes_per_neuron", "silent_share", "best_epoch")


def study(
    experiment: Experiment,
    base: Any,
    varied: Mapping[str, Sequence],
    seed: int,
    *,
    folder: Path | None,
    workers: int,
    published: str = "",
    quiet: bool = False,
) -> tuple[dict[str, float], dict[str, Any]]:
    """(metrics, curves) of the grid.

    published: what the thesis says of this data set, for the results page.
    curves: 'grid' holds all trials (see `trials`), 'effect' the rows of sweeps.per_value for each setting.
    """
    from spiketwin.experiments.sweeps import Grid, axes, importance, per_value, sweep
    from spiketwin.experiments.sweeps.figures import save_figures

    grid = axes(base, varied)
    with TemporaryDirectory() as passing:
        place = folder / f"sweep_{seed}" if folder else Path(passing)
        plan = Grid(grid, shuffled=seed)
        ran = [_plain(t) for t in sweep(experiment, base, plan, folder=place, seeds=(seed,), workers=workers, quiet=quiet)]
        if folder:
            save_figures(ran, grid, place)
    good = sorted((t for t in ran if not t.error), key=lambda t: (-t.value, t.number))
    found = {f"best_{a}": good[0].metrics[a]["mean"] for a in ACCURACIES}
    effect = {name: per_value(ran, name, axis) for name, axis in grid.items()}
    for name, rows in effect.items():
        means = [row["accuracies"]["validation_accuracy"]["mean"] for row in rows]
        found[f"span_{name}"] = max(means) - min(means)
    found |= {f"importance_{name}": 100 * share for name, share in importance(ran, grid).items()}
    found |= {"points": len(good), "failed": len(ran) - len(good)}
    found |= {"training_minutes": sum(t.run_s for t in good) / 60, "processor_minutes": sum(t.cpu_s for t in good) / 60}
    kept = {"axes": {name: axis.as_json() for name, axis in grid.items()}, "trials": [_row(t) for t in ran], "published": published}
    return found, {"grid": kept, "effect": effect}


def trials(result: Result) -> tuple[list[Trial], dict[str, Values]]:
    """All trials of a result, and what was varied; of several seeds those of equal settings become one.

    Raises KeyError for the result of anything but a parameter study.
    """
    from spiketwin.experiments.sweeps import Trial, Values

    held = result.curves["grid"]
    seeds = held if isinstance(held, list) else [held]
    rows: dict[tuple, list[dict]] = {}
    for one in seeds:
        for row in one["trials"]:
            rows.setdefault(tuple(row["settings"].values()), []).append(row)
    found = []
    for k, same in enumerate(rows.values()):
        error = next((row["error"] for row in same if "error" in row), "")
        metrics = {} if error else {name: summary([row[name] for row in same]) for name in KEPT if name in same[0]}
        spent = (sum(row[name] for row in same) / len(same) for name in ("run_s", "cpu_s"))
        run_s, cpu_s = spent
        found.append(Trial(k, same[0]["settings"], metrics, run_s, error, cpu_s))
    return found, {name: Values(tuple(values)) for name, values in seeds[0]["axes"].items()}


def _plain(trial: Trial) -> Trial:
    """With the accuracies under their plain names: where the size is varied, test_accuracy_100 has no place."""
    named = {a: next((m for m in (a, *trial.metrics) if m in trial.metrics and m.startswith(a)), None) for a in ACCURACIES}
    plain = {a: trial.metrics[m] for a, m in named.items() if m}
    return replace(trial, metrics={**plain, **{m: v for m, v in trial.metrics.items() if m not in named.values()}})


def _row(trial: Trial) -> dict[str, Any]:
    shown = {name: round(trial.metrics[name]["mean"], 4) for name in KEPT if name in trial.metrics}
    spent = {"run_s": round(trial.run_s, 2), "cpu_s": round(trial.cpu_s, 2)}
    return {"settings": dict(trial.settings), **shown, **spent, **({"error": trial.error} if trial.error else {})}
