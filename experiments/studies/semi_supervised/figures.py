"""Pictures of a start from spike timing: its kernels, accuracy against gradient steps, accuracy against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.learning_rules.unsupervised_figures import save_figure

if TYPE_CHECKING:
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


def draw_speed(steps: Sequence[int], accuracy: Mapping[str, Sequence[float] | np.ndarray], target: float, zoom: float) -> Figure:
    """Validation accuracy against gradient steps, a line for each start; errors, so that late differences show. zoom: the smallest error."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axes = figure.subplots()
    for start, seen in accuracy.items():
        axes.plot(steps, 100 - np.asarray(seen), label=LABELS[start], color=COLOURS[start], linewidth=1.5)
    axes.axhline(100 - target, color="0.7", linewidth=1, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="gradient steps", ylabel="validation error (%)", ylim=(zoom, 100))
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100) if t >= zoom]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def draw_labels(labels: Sequence[int], error: Mapping[str, Sequence[float]]) -> Figure:
    """Test error against labels of each class. error: start -> percent for each number of labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axes = figure.subplots()
    for start, values in error.items():
        axes.plot(labels, values, "o-", label=LABELS[start], color=COLOURS[start], markersize=4, linewidth=1.5)
    axes.set(xscale="log", yscale="log", xlabel="labelled images of each class", ylabel="test error (%)")
    axes.set_xticks(labels, [str(n) for n in labels])
    ticks = [t for t in (1, 2, 5, 10, 20, 50) if min(map(min, error.values())) / 1.5 <= t <= 1.5 * max(map(max, error.values()))]
    axes.set_yticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def save_all(result: Result, folder: Path, suffix: str) -> list[Path]:
    """All three as PNG files, of one seed or the mean of several; the kernels of the first, the last picture where there are few labels."""
    config, curves = result.config, result.curves
    seeds, steps, kernels = (curves[name] for name in ("validation_accuracy", "steps", "kernels"))
    if isinstance(seeds, list):  # as run_seeds() gathers them: a list by seed
        steps, kernels = steps[0], kernels[0]
    else:
        seeds = [seeds]
    accuracy = {start: np.mean([seed[start] for seed in seeds], axis=0) for start in config["starts"]}
    lowest = 100 - max(map(np.max, accuracy.values()))
    figures = {
        "kernels": draw_kernels(np.asarray(kernels[0])),
        "speed": draw_speed(steps, accuracy, config["target"], max(lowest / 1.2, 0.1)),
    }
    if config["labels"]:
        error = {s: [100 - result.mean(f"test_accuracy_{s}_{n}_labels") for n in config["labels"]] for s in config["starts"]}
        figures["labels"] = draw_labels(config["labels"], error)
    return [save_figure(figure, folder / f"{name}_{suffix}.png") for name, figure in figures.items()]
