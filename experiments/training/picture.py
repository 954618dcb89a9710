"""The picture of a training: loss, accuracy and activity, epoch by epoch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spiketwin.experiments.protocol import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito's colours, told apart by colour-blind readers too.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
# label of the axis -> {quantity: (its label, colour)}; a panel without any of its quantities is left out
PANELS = {
    "loss": {"loss": ("training", BLUE)},
    "accuracy (%)": {"training_accuracy": ("training", BLUE), "validation_accuracy": ("validation", ORANGE)},
    "spikes per neuron": {"spikes_per_neuron": ("training", GREEN)},
    "silent neurons (share)": {"silent_share": ("training", GREEN)},
}


def draw_history(history: Sequence[Mapping[str, float]]) -> Figure:
    """matplotlib Figure of the rows that `fit` returns, a panel for each of loss, accuracy, spikes per neuron and silent share.

    A vertical line marks the epoch that was best on validation.  Raises ValueError when there is no row.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not history:
        raise ValueError("the history has no epoch to draw; train for at least one")
    panels = {label: lines for label, lines in PANELS.items() if any(name in history[0] for name in lines)}
    figure = Figure(figsize=(3.2 * len(panels), 2.8), layout="constrained")
    epochs = [row["epoch"] for row in history]
    best = max(history, key=lambda row: row.get("validation_accuracy", 0.0))["epoch"]
    for axes, (label, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        axes.axvline(best, color="#b9c7d6", linewidth=1)
        for name, (what, colour) in lines.items():
            if name in history[0]:
                axes.plot(epochs, [row[name] for row in history], "o-", color=colour, label=what, markersize=3, linewidth=1.2)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            axes.legend(frameon=False)
    return figure


def save_history(history: Sequence[Mapping[str, float]], path: Path) -> Path:
    """The picture as a PNG file, all or nothing."""
    content = io.BytesIO()
    draw_history(history).savefig(content, format="png", dpi=150, metadata={"Software": None})
    return write_bytes(path, content.getvalue())
