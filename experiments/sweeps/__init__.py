"""Sweeps: one experiment at many settings, chosen by its validation accuracy or what it names in its place.

    plan = Grid(axes(digits_ttfs.Config(), {"hidden": (50, 100), "surrogate_scale": (10.0, 100.0)}))
    outcome = sweep(digits_ttfs, digits_ttfs.Config(), plan, folder=Path("out/sweep"), workers=2)

The trials lie in a database that outlives the process (optuna's): run the same again to go on. Needs spiketwin[sweep].
"""

from spiketwin.experiments.sweeps.figures import draw_importance, draw_parallel, draw_parameters
from spiketwin.experiments.sweeps.objective import OBJECTIVE
from spiketwin.experiments.sweeps.plan import Grid, Sampler
from spiketwin.experiments.sweeps.report import best_table, importance, per_value
from spiketwin.experiments.sweeps.space import Range, SweepError, Values, axes
from spiketwin.experiments.sweeps.sweep import sweep
from spiketwin.experiments.sweeps.trial import Trial

__all__ = [
    "OBJECTIVE",
    "Grid",
    "Range",
    "Sampler",
    "SweepError",
    "Trial",
    "Values",
    "axes",
    "best_table",
    "draw_importance",
    "draw_parallel",
    "draw_parameters",
    "importance",
    "per_value",
    "sweep",
]
