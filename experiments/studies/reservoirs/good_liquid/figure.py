"""The figure of the study of good liquids: accuracy against the difference of ranks, along the edge of chaos, and along each other factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spiketwin.experiments.protocol import Result

LABELS = {"inhibition": "inhibition", "tau_mem_ms": "τ_mem (ms)", "spread": "spread of ln τ_mem", "size": "neurons"}


def draw(result: Result) -> Figure:
    """Validation accuracy: random liquids against their ranks; against connection scale, with the exponents; along the other factors."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from spiketwin.experiments.crosscheck.figures import BLUE, GREEN, INK, ORANGE, PALE, STYLE

    curve = result.curves["points"]
    seeds: list[list[dict[str, Any]]] = curve if len(result.seeds) > 1 else [curve]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 5.6), layout="constrained")
        upper, lower = figure.subfigures(2, 1, height_ratios=(1.25, 1), squeeze=False)[:, 0]
        ranks, edge = upper.subplots(1, 2)
        random = [p for of_seed in seeds for p in of_seed if p["axis"] == "random"]
        dots = ranks.scatter(
            [p["kernel"] - p["generalisation"] for p in random],
            [p["validation"] for p in random],
            c=np.log10([max(p["connection_scale"], 0.1) for p in random]),
            cmap="viridis",
            s=14,
            linewidths=0,
        )
        bar = upper.colorbar(dots, ax=ranks, ticks=np.log10([0.1, 0.3, 1, 3]), pad=0.02)
        bar.ax.set_yticklabels(["0.1", "0.3", "1", "3"])
        bar.set_label("connection scale")
        ranks.axhline(result.mean("front_end_validation"), color=INK, linestyle=":", linewidth=1)
        ranks.annotate(
            "front end alone", (0.99, result.mean("front_end_validation")), xycoords=("axes fraction", "data"), ha="right", va="bottom"
        )
        ranks.set(
            xlabel="kernel quality − generalisation rank",
            ylabel="validation accuracy (%)",
            title=f"random liquids: Spearman ρ = {result.mean('rho_rank_difference'):.2f}",
        )
        x, accuracy = _line(seeds, "connection_scale", "validation")
        edge.errorbar(x, *accuracy, color=BLUE, marker="o", markersize=3, linewidth=1.5)
        edge.set(xlabel="connection scale", title="the edge of chaos")
        edge.set_ylabel("validation accuracy (%)", color=BLUE)
        exponents = edge.twinx()
        exponents.spines["right"].set_visible(True)
        exponents.axhline(0, color=PALE, zorder=0)
        for name, colour, label in (
            ("lyapunov_per_s", ORANGE, "5 % of the way to threshold"),
            ("growth_per_s", GREEN, "one input spike more"),
        ):
            x, (mean, spread) = _line(seeds, "connection_scale", name)
            exponents.errorbar(x, mean, spread, color=colour, marker="s", markersize=3, linewidth=1.2, label=label)
        exponents.set_ylabel("growth of a difference (1/s)")
        exponents.legend(fontsize=7, loc="lower center")
        panels = lower.subplots(1, len(LABELS), sharey=True)
        for axes, (axis, label) in zip(panels, LABELS.items()):
            x, values = _line(seeds, axis, "validation")
            axes.errorbar(x, *values, color=BLUE, marker="o", markersize=3, linewidth=1.5)
            axes.set_xlabel(label)
            if axis != "spread":
                axes.set_xscale("log")
                axes.set_xticks(x, [f"{v:g}" for v in x])
                axes.minorticks_off()
        panels[0].set_ylabel("validation accuracy (%)")
    return figure


def _line(seeds: list[list[dict[str, Any]]], axis: str, name: str) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Values of an axis, and mean and standard deviation over seeds of a number along it."""
    lines = [[p for p in of_seed if p["axis"] == axis] for of_seed in seeds]
    values = np.array([[np.nan if p[name] is None else p[name] for p in line] for line in lines], dtype=float)
    with np.errstate(invalid="ignore"):
        return np.array([p[axis] for p in lines[0]], dtype=float), (values.mean(axis=0), values.std(axis=0))
