"""`spiketwin sweep EXPERIMENT`: what can be said on the command line, and what is shown and left behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tyro.conf import OmitArgPrefixes

from spiketwin.experiments.protocol import Experiment, write_text
from spiketwin.experiments.sweeps.figures import save_figures
from spiketwin.experiments.sweeps.plan import Grid, Sampler
from spiketwin.experiments.sweeps.report import best_table
from spiketwin.experiments.sweeps.space import axes
from spiketwin.experiments.sweeps.sweep import sweep

C = TypeVar("C")


@dataclass(frozen=True)
class SweepOptions(Generic[C]):
    config: OmitArgPrefixes[C]
    vary: tuple[str, ...] = ()
    """What is varied: FIELD=VALUE,VALUE,… and, with --trials, FIELD=LOW..HIGH or FIELD=LOW..HIGH:log."""
    trials: int | None = None
    """Number of trials that a sampler proposes (default: every combination of the values)."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of each trial; the settings are chosen by the mean of the objective."""
    objective: str | None = None
    """Metric to maximise, one of validation (default: the one that the experiment names, else validation_accuracy)."""
    workers: int = 1
    """Trials at the same time."""
    storage: str | None = None
    """URL of a database; machines that are given the same one share the work (default: a sqlite file in the folder)."""
    dask: str | None = None
    """Address of a dask scheduler whose workers run the trials."""
    name: str | None = None
    """Name of the sweep in its storage (default: that of the experiment)."""
    out: Path | None = None
    """Folder of results and figures (default: out/sweeps/EXPERIMENT). Run again to go on."""


def run(name: str, module: Experiment, options: SweepOptions) -> None:
    """Run the sweep, print its best settings, write results, table and figures."""
    title = options.name or name
    folder = options.out or Path("out") / "sweeps" / title
    varied = axes(options.config, options.vary)
    plan = Grid(varied) if options.trials is None else Sampler(varied, options.trials)
    trials = sweep(
        module,
        options.config,
        plan,
        folder=folder,
        seeds=options.seeds,
        workers=options.workers,
        storage=options.storage,
        name=title,
        dask=options.dask,
        objective=options.objective,
    )
    table = best_table(trials)
    write_text(folder / "best.md", table)
    print(f"the best of {len(trials)} trials, by {trials[0].objective.replace('_', ' ')}\n\n{table}")
    for path in (folder / f"{title}.json", folder / "best.md", *save_figures(trials, varied, folder)):
        print(f"written to {path}")
