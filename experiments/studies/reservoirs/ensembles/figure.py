"""The figure of the study of ensembles: test accuracy of each kind, a dot per seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spiketwin.experiments.protocol import Result

# what is drawn, from top to bottom, in groups
GROUPS = (
    {"one": "one liquid"},
    {"partitioned": "partitioned in three", "several_tau": "three time constants", "deep": "deep, three layers"},
    {
        "stdp": "STDP",
        "inhibitory_stdp": "inhibitory STDP",
        "intrinsic": "intrinsic plasticity",
        "all_rules": "all three in turn",
        "critical": "criticality control",
    },
    {
        "third": "one of a third",
        "deep_attention": "deep, compressed by attention",
        "unconnected": "unconnected",
        "front_end": "front end alone",
    },
)


def draw(result: Result) -> Figure:
    """Means as bars from the accuracy of one liquid, which is the line; seeds as dots."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from spiketwin.experiments.crosscheck.figures import BLUE, GREEN, INK, ORANGE, PALE, STYLE

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        of_one, names, places, at = result.mean("one_test"), [], [], 0.0
        for group, colour in zip(GROUPS, (INK, BLUE, ORANGE, GREEN)):
            for kind, label in group.items():
                metric = result.metrics[f"{kind}_test"]
                axes.plot([of_one, metric["mean"]], [at, at], color=colour, linewidth=5, alpha=0.35, solid_capstyle="butt")
                axes.plot(metric["mean"], at, "|", color=colour, markersize=11, markeredgewidth=2)
                axes.plot(metric["values"], [at] * len(metric["values"]), "o", color=colour, markersize=3.5)
                names.append(label)
                places.append(at)
                at += 1
            at += 0.5
        axes.axvline(of_one, color=PALE, zorder=0)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set_xlabel(f"test accuracy (%), {result.config['size']} neurons in all")
    return figure
