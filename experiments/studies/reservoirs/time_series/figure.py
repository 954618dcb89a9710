"""The figure of the study of time series: scores side by side, memory and exclusive or over the delay, one forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spiketwin.experiments.protocol import Result

NAMES = {"inputs": "inputs alone", "echo_state": "echo-state network", "liquid": "liquid", "liquid_rich": "liquid, rich read-out"}
POINTS = 75  # of a Lyapunov time


def draw(result: Result) -> Figure:
    """Means over seeds; in the scores, a dot for each seed."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from spiketwin.experiments.crosscheck.figures import BLUE, GREEN, INK, ORANGE, PALE, STYLE

    colours = dict(zip(NAMES, (INK, GREEN, ORANGE, BLUE), strict=True))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 5), layout="constrained")
        panels = figure.subplot_mosaic([["narma", "memory", "xor"], ["glass"] * 3])
        narma, memory, xor, glass = (panels[name] for name in ("narma", "memory", "xor", "glass"))
        for k, (name, label) in enumerate(NAMES.items()):
            values = result.metrics[f"narma10_nrmse_{name}"]["values"]
            narma.bar(k, np.mean(values), color=colours[name], alpha=0.6)
            narma.plot(np.full(len(values), k), values, "o", color=colours[name], markersize=3)
            for axes, metric, first in ((memory, "memory_capacity", 1), (xor, "delayed_xor_accuracy", 0)):
                if f"{metric}_{name}" in result.curves:
                    curve = of_seeds(result, f"{metric}_{name}").mean(axis=0)
                    axes.plot(np.arange(len(curve)) + first, curve, "o-", color=colours[name], markersize=2.5, label=label)
        narma.set(xticks=range(len(NAMES)), ylabel="error / spread", title="NARMA-10")
        narma.set_xticklabels([label.replace(" ", "\n", 1) for label in NAMES.values()], fontsize=7)
        memory.set(xlabel="steps ago", ylabel="squared correlation", title="memory of an input", ylim=(-0.02, 1.05))
        xor.set(xlabel="steps ago", ylabel="accuracy (%)", title="exclusive or of two bits", ylim=(45, 102))
        xor.axhline(50, color=PALE, zorder=0)
        xor.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0.02, 0.08))
        wanted = of_seeds(result, "mackey_glass")[0]
        time = np.arange(len(wanted)) / POINTS
        glass.plot(time, wanted, color=PALE, linewidth=4, label="the equation")
        for name, label in NAMES.items():
            error = result.mean(f"mackey_glass_smape_{name}")
            foretold = of_seeds(result, f"mackey_glass_{name}")[0]
            glass.plot(time, foretold, color=colours[name], linewidth=0.9, label=f"{label}: sMAPE {error:.1f}")
        low, high = wanted.min(), wanted.max()
        glass.set(
            xlabel="Lyapunov times alone",
            ylabel="x",
            ylim=(low - 0.3, high + 0.7),
            title="Mackey-Glass: the first forecast (its first half), and the sMAPE of all",
        )
        glass.legend(fontsize=7, loc="upper left", ncols=5)
    return figure


def of_seeds(result: Result, name: str) -> np.ndarray:
    """A curve of a result, which has one axis, as [seeds, …]: of one seed it stands alone or in a list, as it was run or combined."""
    return np.atleast_2d(np.asarray(result.curves[name]))
