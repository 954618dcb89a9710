"""The figures of a sweep: what matters, all trials at a glance, the effect of each setting on accuracy and run time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.protocol import write_bytes
from spiketwin.experiments.sweeps.objective import accuracies
from spiketwin.experiments.sweeps.report import best, finished, importance, per_value
from spiketwin.experiments.sweeps.space import Range, Values
from spiketwin.experiments.sweeps.trial import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito's colours, told apart by colour-blind readers too.
BLUE, RED, GREEN = "#0072b2", "#d55e00", "#009e73"
COLOURS = {"training": BLUE, "validation": RED, "test": GREEN}
Axes = Mapping[str, Values | Range]


def draw_parameters(trials: Sequence[Trial], axes: Axes) -> Figure:
    """A column for each setting: accuracies above, time below; mean and standard deviation over all other settings.

    The time is that of processors where it is known (Trial.cpu_s), else run time.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(2.9 * len(axes), 4), 5), layout="constrained")
    good = finished(trials)
    time, said = ("cpu_s", "processor time") if all(t.cpu_s for t in good) else ("run_s", "run time")
    parts = tuple(zip(COLOURS.items(), accuracies(good[0].objective), strict=True))
    grid = figure.subplots(2, len(axes), squeeze=False, sharey="row", sharex="col")
    for column, (name, axis) in enumerate(axes.items()):
        rows = per_value(trials, name, axis)
        where = _places(axis, [row["value"] for row in rows])
        above, below = grid[:, column]
        # side by side, so that no bar hides another
        for ((part, colour), accuracy), shift in zip(parts, (-0.06, 0.0, 0.06) if isinstance(axis, Values) else (0.0,) * 3):
            if all(accuracy in row["accuracies"] for row in rows):
                beside = [place + shift for place in where]
                _with_spread(above, beside, [row["accuracies"][accuracy] for row in rows], colour, part)
        _with_spread(below, where, [row[time] for row in rows], "#222222", said)
        _scale(below, axis)
        below.set_xlabel(name.replace("_", " "))
        below.set_ylim(bottom=0)
    grid[0, 0].set_ylabel("accuracy (%)")
    grid[1, 0].set_ylabel(f"{said} (s)")
    grid[0, -1].legend(frameon=False, fontsize=8, loc="best")
    return figure


def draw_parallel(trials: Sequence[Trial], axes: Axes) -> Figure:
    """One line for each trial through its settings to its objective, which is also its colour; the best is thick."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    good, first = finished(trials), best(trials)
    values = np.array([t.value for t in good])
    low, high = float(values.min()), float(values.max())
    shade = (values - low) / (high - low or 1)
    places = [_share(axis, [t.settings[name] for t in good]) for name, axis in axes.items()]
    figure = Figure(figsize=(1.6 * len(axes) + 2.4, 3.6), layout="constrained")
    plot = figure.subplots()
    for k in np.argsort(values):
        is_best = good[k].number == first.number
        line = [place[k] for place in places] + [shade[k]]
        plot.plot(line, color=colormaps["viridis"](shade[k]), linewidth=3 if is_best else 1, alpha=1 if is_best else 0.7)
    for column, axis in enumerate(axes.values()):
        for place, label in _marks(axis):
            plot.text(
                column, place, f" {label}", fontsize=7, va="center", bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5}
            )
        plot.axvline(column, color="#222222", linewidth=0.8)
    plot.axvline(len(axes), color="#222222", linewidth=0.8)
    for place in (0.0, 0.5, 1.0):
        plot.text(len(axes), place, f" {low + place * (high - low):.1f}", fontsize=7, va="center")
    reached = first.objective.replace("_", "\n", 1).replace("_", " ")
    plot.set_xticks(range(len(axes) + 1), [*(name.replace("_", "\n") for name in axes), f"{reached} (%)"])
    plot.set_yticks([])
    plot.spines[:].set_visible(False)
    return figure


def draw_importance(trials: Sequence[Trial], axes: Axes) -> Figure:
    """Bars of `importance`, largest on top."""
    from matplotlib.figure import Figure

    shares = importance(trials, axes)
    figure = Figure(figsize=(4.5, 0.4 * len(axes) + 1.2), layout="constrained")
    plot = figure.subplots()
    plot.barh([name.replace("_", " ") for name in shares][::-1], list(shares.values())[::-1], color=BLUE)
    plot.set(xlabel=f"share of the variance of {finished(trials)[0].objective.replace('_', ' ')}", xlim=(0, 1))
    plot.spines[["top", "right"]].set_visible(False)
    return figure


def save_figures(trials: Sequence[Trial], axes: Axes, folder: Path) -> list[Path]:
    """The three as PNG files; that of importance is left out where there are too few trials for it."""
    makers = {"parameters": draw_parameters, "parallel": draw_parallel}
    if importance(trials, axes):
        makers["importance"] = draw_importance
    paths = []
    for name, draw in makers.items():
        paths.append(write_bytes(folder / f"{name}.png", as_png(draw(trials, axes))))
    return paths


def as_png(figure: Figure) -> bytes:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    return png.getvalue()


def _with_spread(plot, where, rows, colour: str, label: str) -> None:
    mean, std = (np.array([row[part] for row in rows]) for part in ("mean", "std"))
    plot.errorbar(where, mean, yerr=std, fmt="o-", color=colour, label=label, markersize=3, linewidth=1.2, capsize=2)
    plot.spines[["top", "right"]].set_visible(False)


def _places(axis: Values | Range, values: Sequence) -> list[float]:
    """Where values stand: those of a list at equal distances, since 1e-8, 1e-6 and 0 have no common scale."""
    return [axis.options.index(v) for v in values] if isinstance(axis, Values) else list(values)


def _share(axis: Values | Range, values: Sequence) -> np.ndarray:
    """Places from 0 to 1."""
    if isinstance(axis, Values):
        return np.array(_places(axis, values)) / max(len(axis.options) - 1, 1)
    low, high, at = np.array([axis.low]), np.array([axis.high]), np.array(values, dtype=float)
    if axis.log:
        low, high, at = np.log(low), np.log(high), np.log(at)
    return (at - low) / (high - low)


def _marks(axis: Values | Range) -> list[tuple[float, str]]:
    options = axis.options if isinstance(axis, Values) else (axis.low, axis.high)
    return [(float(place), f"{o:g}" if isinstance(o, float) else str(o)) for place, o in zip(_share(axis, options), options)]


def _scale(plot, axis: Values | Range) -> None:
    if isinstance(axis, Values):
        plot.set_xticks(range(len(axis.options)), [label for _, label in _marks(axis)])
        plot.set_xlim(-0.4, len(axis.options) - 0.6)
    elif axis.log:
        plot.set_xscale("log")
