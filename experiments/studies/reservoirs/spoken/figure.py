"""The figure of spoken_digits: accuracy against size, for known and for new voices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spiketwin.experiments.protocol import Result

PANELS = {"official": "known voices", "speaker_out": "new voices"}


def draw(result: Result) -> Figure:
    """Liquids, the same neurons unconnected and echo states by size, each seed a point; the others as lines across."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from spiketwin.experiments.crosscheck.figures import BLUE, GREEN, INK, ORANGE, PALE, STYLE

    sizes = result.config["sizes"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 3.2), layout="constrained")
        for axes, (way, title) in zip(figure.subplots(1, 2), PANELS.items()):
            for label, prefix, colour in (
                ("liquid", "", BLUE),
                ("unconnected", "unconnected_", GREEN),
                ("echo state", "echo_state_", ORANGE),
            ):
                values = np.array([result.metrics[f"{way}_{prefix}{size}"]["values"] for size in sizes])
                axes.plot(sizes, values.mean(axis=1), color=colour, label=label)
                axes.plot(sizes, values, ".", color=colour)
            others = (
                ("front_end", "levels alone", "-"),
                ("front_end_spikes", "their spikes alone", "--"),
                ("rsnn", "trained through time", ":"),
            )
            for name, label, style in others:
                if f"{way}_{name}" in result.metrics:
                    axes.axhline(result.mean(f"{way}_{name}"), color=INK, linestyle=style, label=label, zorder=0)
            axes.set(xscale="log", xticks=sizes, xlabel="neurons", ylabel="test accuracy (%)", title=title)
            axes.set_xticklabels([f"{size:,}" for size in sizes])
            axes.minorticks_off()
            axes.grid(axis="y", color=PALE)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure
