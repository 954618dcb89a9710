"""Surrogates in a figure: the step and its smooth form above, the bump of the gradient below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from spiketwin.rules.surrogate.spike import Surrogate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, BLUE, ORANGE = "#222222", "#0072b2", "#e69f00"


def draw(surrogates: Mapping[str, Surrogate], *, reach: float = 2.0, columns: int = 5) -> Figure:
    """One column of two panels for each surrogate: forward and backward, against the distance to threshold.

    reach: the distances drawn are -reach … reach, in units of the spike_scale.
    Each bump has its own vertical axis, as areas and peaks differ.  Raises ValueError when there is nothing to draw.
    """
    from matplotlib.figure import Figure

    if not surrogates or reach <= 0:
        raise ValueError(f"{len(surrogates)} surrogates and reach = {reach:g}; give at least one, by name, and a positive reach")
    rows, columns = -(-len(surrogates) // columns), min(columns, len(surrogates))
    figure = Figure(figsize=(1.9 * columns + 0.4, 3.0 * rows), layout="constrained")
    axes = figure.subplots(2 * rows, columns, sharex=True, squeeze=False)
    x = torch.linspace(-reach, reach, 2001, dtype=torch.float64)  # 0 is among them
    for ax in axes.flat:
        ax.set_axis_off()
    for k, (name, spike) in enumerate(surrogates.items()):
        row, column = divmod(k, columns)
        above, below = axes[2 * row, column], axes[2 * row + 1, column]
        for ax in (above, below):
            ax.set_axis_on()
            ax.axvline(0, color=INK, linewidth=0.5, linestyle=":")
        above.plot(x, spike(x), color=INK, linewidth=1.2, label="forward: the spike")
        if spike.is_smooth:
            above.plot(x, spike.smooth(x), color=BLUE, linewidth=1.4, label="its smooth form")
        above.set(title=name, ylim=(-0.3, 1.3), yticks=(0, 1))
        slope = spike.derivative(x)
        below.fill_between(x, slope, color=ORANGE, alpha=0.3, linewidth=0)
        below.plot(x, slope, color=ORANGE, linewidth=1.4, label="backward: dS/dx")
        below.set_ylim(min(0.0, 1.3 * float(slope.min())), 1.15 * float(slope.max()))
        above.tick_params(labelbottom=False)
    figure.supxlabel("distance to threshold (spike_scale)", fontsize=9)
    handles = {label: line for ax in axes.flat for line, label in zip(*ax.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure
