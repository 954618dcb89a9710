"""Pictures of forgetting: accuracy by phase and class of each variant, and what all of them keep in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.learning_rules.unsupervised_figures import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {
    "stdp": "STDP",
    "slow_threshold": "slow thresholds",
    "fixed_threshold": "fixed thresholds",
    "stochastic": "stochastic",
    "cascade": "cascade",
    "stochastic_fast": "stochastic, fast",
    "cascade_fast": "cascade, fast",
}
Table = Sequence[Sequence[float | None]] | np.ndarray  # [P, K], nothing or NaN for a class that has not come yet
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # Okabe & Ito


def draw_tables(accuracy: Mapping[str, Table], interleaved: Mapping[str, Sequence[float] | np.ndarray]) -> Figure:
    """Of each variant a table of percent: a row for each phase, below them the interleaved one; a column for each class."""
    from matplotlib.figure import Figure

    columns = min(3, len(accuracy))
    lines = -(-len(accuracy) // columns)
    first = next(iter(accuracy.values()))
    phases, classes = len(first), len(first[0])
    figure = Figure(figsize=((0.32 * classes + 0.7) * columns, (0.32 * phases + 1.1) * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax in panels[len(accuracy) :]:
        ax.set_axis_off()
    for ax, (variant, rows) in zip(panels, accuracy.items()):
        # a blank line sets the interleaved row apart
        table = np.concatenate([np.array(rows, float), np.full((1, classes), np.nan), np.array([interleaved[variant]])])
        ax.imshow(table, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for y, x in zip(*np.nonzero(~np.isnan(table))):
            ax.text(x, y, f"{table[y, x]:.0f}", ha="center", va="center", fontsize=7, color="white" if table[y, x] > 60 else "black")
        ax.set(title=NAMES[variant], xticks=range(classes), yticks=[*range(phases), phases + 1], xlabel="class")
        ax.set_yticklabels([*(f"phase {p + 1}" for p in range(phases)), "interleaved"])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return figure


def draw_summary(final: Mapping[str, float], interleaved: Mapping[str, float], forgetting: Mapping[str, float]) -> Figure:
    """Of each variant: mean accuracy of all classes in the end, in sequence and interleaved, and forgetting, in percent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.42 * len(final) + 1.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.4, 1])
    for y, variant in enumerate(final):
        left.plot([final[variant], interleaved[variant]], [y, y], color="0.8", linewidth=2, zorder=0)
        right.barh(y, forgetting[variant], color=ORANGE, height=0.6)
    at = range(len(final))
    left.plot(list(final.values()), at, "o", color=BLUE, label="in sequence")
    left.plot(list(interleaved.values()), at, "o", color=GREEN, label="interleaved")
    left.set_yticks(at, [NAMES[v] for v in final])
    right.set_yticks([])
    left.set(xlabel="accuracy at the end (%)", xlim=(0, 100))
    right.set(xlabel="forgetting (%)")
    for ax in (left, right):
        ax.set_ylim(len(final) - 0.5, -0.5)
        ax.spines[["top", "right"]].set_visible(False)
    figure.legend(*left.get_legend_handles_labels(), frameon=False, loc="outside upper left", ncols=2, fontsize=8)
    return figure


def figures(result: Result) -> dict[str, Figure]:
    """Both, of one seed or the mean of several."""
    accuracy, interleaved = (seeds if isinstance(seeds, list) else [seeds] for seeds in map(result.curves.get, ("accuracy", "interleaved")))
    variants = result.config["variants"]
    tables = {v: np.mean([np.array(seed[v], float) for seed in accuracy], axis=0) for v in variants}
    numbers = [{v: result.mean(f"{what}_{v}") for v in variants} for what in ("final_accuracy", "interleaved_accuracy", "forgetting")]
    return {
        "tables": draw_tables(tables, {v: np.mean([seed[v] for seed in interleaved], axis=0) for v in variants}),
        "summary": draw_summary(*numbers),
    }


def save_all(result: Result, folder: Path, suffix: str) -> list[Path]:
    """Both as PNG files."""
    return [save_figure(figure, folder / f"{name}_{suffix}.png") for name, figure in figures(result).items()]
