"""Pictures of a start from spike timing: its kernels; errors against gradient steps and against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.learning_rules.unsupervised_figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {"random": "random", "same_norm": "random, same norm", "shuffled": "STDP, shuffled", "stdp": "STDP"}
COLOURS = {"random": "#888888", "same_norm": "#0072b2", "shuffled": "#009e73", "stdp": "#d55e00"}  # Okabe & Ito


def draw_kernels(kernels: np.ndarray) -> Figure:
    """Kernels [M, 2, K, K] of the first layer: red where on-cells count, blue where off-cells do."""
    from matplotlib.figure import Figure

    k = np.asarray(kernels)
    columns = min(8, len(k))
    rows = -(-len(k) // columns)
    figure = Figure(figsize=(0.8 * columns, 0.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, (on, off) in zip(axes, k):
        ax.imshow(on - off, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    return figure


def draw_speed(axes: Axes, steps: Sequence[int], accuracy: Mapping[str, Sequence[float] | np.ndarray], target: float, zoom: float) -> None:
    """Validation accuracy against gradient steps, a line for each start; errors, so that late differences show. zoom: the smallest error."""
    for start, seen in accuracy.items():
        axes.plot(steps, 100 - np.asarray(seen), label=LABELS[start], color=COLOURS[start], linewidth=1.5)
    axes.axhline(100 - target, color="0.7", linewidth=1, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="gradient steps", ylabel="validation error (%)", ylim=(zoom, 100))
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100) if t >= zoom]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])


def draw_labels(axes: Axes, labels: Sequence[int], error: Mapping[str, Sequence[float]]) -> None:
    """Test error against labels of each class. error: start -> percent for each number of labels."""
    for start, values in error.items():
        axes.plot(labels, values, "o-", label=LABELS[start], color=COLOURS[start], markersize=4, linewidth=1.5)
    axes.set(xscale="log", yscale="log", xlabel="labelled images of each class", ylabel="test error (%)")
    axes.set_xticks(labels, [str(n) for n in labels])
    ticks = [t for t in (1, 2, 5, 10, 20, 50) if min(map(min, error.values())) / 1.5 <= t <= 1.5 * max(map(max, error.values()))]
    axes.set_yticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()


def draw_errors(result: Result) -> Figure:
    """Errors while learning from all labels and, beside them, in the end from few of them; of one seed or the mean of several."""
    from matplotlib.figure import Figure

    config, labels = result.config, result.config["labels"]
    seeds, steps = (result.curves[name] for name in ("validation_accuracy", "steps"))
    if isinstance(seeds, list):  # as run_seeds() gathers them: a list by seed
        steps = steps[0]
    else:
        seeds = [seeds]
    accuracy = {start: np.mean([seed[start] for seed in seeds], axis=0) for start in config["starts"]}
    lowest = 100 - max(map(np.max, accuracy.values()))
    figure = Figure(figsize=(8.4 if labels else 4.4, 3.2), layout="constrained")
    panels = figure.subplots(1, 2 if labels else 1, squeeze=False)[0]
    draw_speed(panels[0], steps, accuracy, config["target"], max(lowest / 1.2, 0.1))
    if labels:
        draw_labels(panels[1], labels, {s: [100 - result.mean(f"test_accuracy_{s}_{n}_labels") for n in labels] for s in config["starts"]})
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    return figure


def save_all(result: Result, folder: Path, suffix: str) -> list[Path]:
    """Both as PNG files; the kernels are those of the first seed."""
    kernels = result.curves["kernels"]
    first = kernels[0] if isinstance(result.curves["validation_accuracy"], list) else kernels
    figures = {"kernels": draw_kernels(np.asarray(first[0])), "errors": draw_errors(result)}
    return [save_figure(figure, folder / f"{name}_{suffix}.png") for name, figure in figures.items()]
