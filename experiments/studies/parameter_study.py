"""What parameter studies share: every combination of a few settings of one experiment, its best and the effect of each.

The thesis that this project grew from varied four settings in three values each, 81 points, on three data sets. Settings are
compared by validation accuracy; test accuracy is reported for each and chooses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spiketwin.experiments.protocol import Experiment

ACCURACIES = ("training_accuracy", "validation_accuracy", "test_accuracy")


def study(
    experiment: Experiment, base: Any, varied: Mapping[str, Sequence], seed: int, *, folder: Path | None, workers: int, quiet: bool = False
) -> tuple[dict[str, float], dict[str, Any]]:
    """(metrics, curves) of the grid. curves: per setting the rows of sweeps.per_value, and the best settings with what they reached."""
    from spiketwin.experiments.sweeps import Grid, axes, importance, per_value, sweep
    from spiketwin.experiments.sweeps.figures import save_figures

    grid = axes(base, varied)
    with TemporaryDirectory() as passing:
        place = folder / f"sweep_{seed}" if folder else Path(passing)
        trials = sweep(experiment, base, Grid(grid), folder=place, seeds=(seed,), workers=workers, quiet=quiet)
        if folder:
            save_figures(trials, grid, place)
    good = sorted((t for t in trials if not t.error), key=lambda t: (-t.value, t.number))
    named = {a: next((m for m in good[0].metrics if m == a or m.startswith(f"{a}_")), None) for a in ACCURACIES}
    found = {f"best_{a}": good[0].metrics[m]["mean"] for a, m in named.items() if m}
    effect = {name: per_value(trials, name, axis) for name, axis in grid.items()}
    for name, rows in effect.items():
        means = [row["accuracies"]["validation_accuracy"]["mean"] for row in rows]
        found[f"span_{name}"] = max(means) - min(means)
    found |= {f"importance_{name}": 100 * share for name, share in importance(trials, grid).items()}
    found |= {"points": len(good), "failed": len(trials) - len(good), "training_minutes": sum(t.run_s for t in good) / 60}
    best = [{"settings": dict(t.settings), "run_s": t.run_s, **{a: t.metrics[m]["mean"] for a, m in named.items() if m}} for t in good[:5]]
    return found, {"effect": effect, "best": best}
