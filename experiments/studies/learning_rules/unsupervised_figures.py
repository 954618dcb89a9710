"""Pictures of networks that learn without labels: what neurons look for, what is taken for what, accuracy against images seen."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.protocol import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spiketwin.experiments.protocol import Result

MOST_FIELDS = 400


def mosaic(weights: np.ndarray) -> np.ndarray:
    """Weights [N, pixels] of square images as one picture [rows * side, columns * side], a field beside the other; blank where N is no square."""
    n, pixels = np.shape(weights)
    side, columns = math.isqrt(pixels), math.ceil(math.sqrt(n))
    if side * side != pixels:
        raise ValueError(f"weights from {pixels} pixels are of no square image; give {side * side} or {(side + 1) ** 2}")
    rows = -(-n // columns)
    fields = np.zeros((rows * columns, side, side))
    fields[:n] = np.reshape(weights, (n, side, side))
    return fields.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)


def draw_fields(weights: np.ndarray) -> Figure:
    """Receptive fields of the first 400 neurons: dark pixels are strong synapses."""
    from matplotlib.figure import Figure

    shown = mosaic(np.asarray(weights)[:MOST_FIELDS])
    figure = Figure(figsize=(6, 6 * shown.shape[0] / shown.shape[1]), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shown, cmap="gray_r", vmin=0, interpolation="nearest")
    axes.set_axis_off()
    return figure


def draw_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """confusion [K, K]: images of the row's class that were taken for the column's. Shades are shares of a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    _confusion(figure.subplots(), np.asarray(confusion), classes)
    return figure


def _confusion(axes: Axes, table: np.ndarray, classes: Sequence[str]) -> None:
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(table)):
        axes.text(
            column, row, table[row, column], ha="center", va="center", fontsize=7, color="white" if share[row, column] > 0.5 else "black"
        )
    ticks = range(len(classes))
    axes.set(xticks=ticks, yticks=ticks, xlabel="answer", ylabel="class", yticklabels=classes)
    axes.set_xticklabels(classes, rotation=90 if max(map(len, classes)) > 1 else 0)


def draw_curves(curves: Mapping[str, Mapping]) -> Figure:
    """Accuracy against images seen, a line for each size: of the last thousand images, named by the responses to those before."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    _curves(figure.subplots(), curves)
    return figure


def _curves(axes: Axes, curves: Mapping[str, Mapping]) -> None:
    for name, curve in curves.items():
        if name.startswith("accuracy_") and len(curve["images"]):
            axes.plot(curve["images"], curve["percent"], label=f"{name.removeprefix('accuracy_')} neurons")
    axes.set(xlabel="images seen", ylabel="accuracy while learning (%)", ylim=(0, 100))
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False, loc="lower right")


def draw_result(result: Result, classes: Sequence[str]) -> Figure:
    """Both for all seeds: the mean of their curves, and the sum of the confusions of the largest network."""
    from matplotlib.figure import Figure

    of_seeds = {name: curve if isinstance(curve, list) and len(result.seeds) > 1 else [curve] for name, curve in result.curves.items()}
    means = {
        name: {key: np.mean([curve[key] for curve in seeds], axis=0) for key in ("images", "percent")}
        for name, seeds in of_seeds.items()
        if name.startswith("accuracy_")
    }
    largest = max((name for name in of_seeds if name.startswith("confusion_")), key=lambda name: int(name.rpartition("_")[2]))
    figure = Figure(figsize=(9, 4), layout="constrained")
    learning, confusion = figure.subplots(1, 2)
    _curves(learning, means)
    _confusion(confusion, np.sum(of_seeds[largest], axis=0), classes)
    confusion.set_title(f"{largest.rpartition('_')[2]} neurons", fontsize=10)
    return figure


def draw_bits(accuracy: Mapping[str, Mapping]) -> Figure:
    """Accuracy against bits per synapse, a line for each size. accuracy: neurons -> {"bits": […], "percent": […]}."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.subplots()
    for neurons, line in accuracy.items():
        axes.plot(line["bits"], line["percent"], "o-", label=f"{neurons} neurons")
    ticks = sorted({b for line in accuracy.values() for b in line["bits"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{b:.3g}" for b in ticks])
    axes.minorticks_off()
    axes.set(xlabel="bits per synapse", ylabel="accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """As a PNG file, all or nothing."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    return write_bytes(path, content.getvalue())
