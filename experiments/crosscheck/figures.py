"""The figures of the cross-check's report, each with a caption that says what one sees.

All are drawn from `Report.curves`; a figure whose curves are missing is left out.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from spiketwin.experiments.crosscheck.wording import number
from spiketwin.models.discretisation import SCHEMES

# Okabe & Ito's colours, told apart by colour-blind readers too.
INK, PALE, BLUE, ORANGE, GREEN, RED = "#222222", "#b9c7d6", "#0072b2", "#e69f00", "#009e73", "#d55e00"
COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", RED, INK, "#9a7b4f")
# The reference is a wide pale band; who agrees with it runs inside it, a dashed line over a solid one.
BAND = {"color": PALE, "linewidth": 4.5, "solid_capstyle": "round"}
INSIDE = (
    {"color": BLUE, "linewidth": 1.2},
    {"color": ORANGE, "linewidth": 1.2, "dashes": (4, 3)},
    {"color": GREEN, "linewidth": 1.2, "dashes": (1, 3)},
)
MARKERS = "os^Dv"
COLUMNS = 4
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Drawing:
    """A figure ready to embed. name: of its file; level: the section it belongs to."""

    name: str
    level: str
    title: str
    caption: str
    png: bytes


def draw(curves: Mapping[str, dict], models: Sequence[str] = ()) -> tuple[Drawing, ...]:
    """Every figure for which there are curves; panels in the order of `models`, others after them."""
    import matplotlib as mpl

    makers = (
        ("overlay", "identity", "One neuron, every engine", overlay),
        ("raster", "identity", "Spikes of the recurrent network", raster),
        ("convergence", "convergence", "Error against the time step", convergence),
        ("accuracy", "trained", "Accuracy against the time step", accuracy),
        ("distance", "trained", "How far the spikes move", distance),
    )
    drawings = []
    with mpl.rc_context(STYLE):
        for name, level, title, make in makers:
            if curves.get(name):
                content = curves[name]
                if level != "trained":
                    content = {m: content[m] for m in [*(m for m in models if m in content), *(m for m in content if m not in models)]}
                figure, caption = make(content)
                buffer = io.BytesIO()
                figure.savefig(buffer, format="png", dpi=130, facecolor="white")
                drawings.append(Drawing(name, level, title, caption, buffer.getvalue()))
    return tuple(drawings)


def overlay(curves: Mapping[str, dict]) -> tuple[Figure, str]:
    """Voltage of one neuron per model, engine over engine."""
    figure, panels = _sheet(len(curves), height=1.7)
    worst, apart, engines = 0.0, [], {}
    for ax, (model, curve) in zip(panels, curves.items(), strict=True):
        (reference, expected), *others = ((e, np.asarray(y, dtype=float)) for e, y in curve["engines"].items())
        handles = ax.plot(curve["time_ms"], expected, **BAND)
        for (_, y), style in zip(others, INSIDE, strict=False):
            handles += ax.plot(curve["time_ms"], y, **style)
        engines |= dict(zip(curve["engines"], handles, strict=False))
        difference = max((_largest(np.abs(y - expected)) for _, y in others), default=0.0)
        share = difference / max(np.ptp(expected[np.isfinite(expected)], axis=0) if np.isfinite(expected).any() else 0.0, 1e-300)
        worst = max(worst, share)
        # wider than a line is thick: one sees it
        if not share < 0.01:
            apart.append(model)
        ax.set_title(f"{model}   Δ {number(difference)} {_unit(curve)}".rstrip(), color=RED if model in apart else INK)
        ax.set_ylabel(f"{curve['state']} ({curve['unit']})" if _unit(curve) else curve["state"])
    _label_below(figure, "time (ms)")
    _legend(figure, handles=list(engines.values()), labels=list(engines), ncols=len(engines))
    names = list(engines)
    caption = f"One neuron of every model under a constant current or its own input spikes: {names[0]} as the wide pale band, {_listed(names[1:])} inside it. "
    if apart:
        return figure, caption + f"The curves come apart in {_listed(apart)}; Δ is the largest difference."
    return (
        figure,
        caption
        + f"Each line runs inside the band for the whole time shown: the largest difference Δ is {number(worst)} of the state's range.",
    )


def raster(curves: Mapping[str, dict]) -> tuple[Figure, str]:
    """Spikes of the recurrent network; those that not every engine has in red."""
    figure, panels = _sheet(len(curves), height=1.7, legend=0)
    total, apart = 0, []
    for ax, (model, trains) in zip(panels, curves.items(), strict=True):
        # microseconds: equal labels of two engines differ by rounding at most
        events = {
            e: set(zip(np.round(np.asarray(t["time_ms"]) * 1e3).astype(int).tolist(), t["neuron"], strict=True)) for e, t in trains.items()
        }
        common = set.intersection(*events.values())
        odd = set.union(*events.values()) - common
        total += len(common) + len(odd)
        for points, style in ((common, {"s": 0.6, "color": INK}), (odd, {"s": 5.0, "color": RED})):
            if points:
                time, neuron = np.array(sorted(points)).T
                ax.scatter(time * 1e-3, neuron, linewidths=0, **style)
        if odd:
            apart.append(f"{model} ({len(odd)})")
        ax.set_title(
            f"{model}   {len(odd)} of {len(common) + len(odd)} differ" if odd else f"{model}   {len(common)} spikes",
            color=RED if odd else INK,
        )
        ax.set_ylabel("neuron")
    _label_below(figure, "time (ms)")
    names = list(next(iter(curves.values())))
    caption = f"A random recurrent network with delays, of each model (unconnected neurons where the model has no synapse): one dot per spike, {_listed(names)} drawn together. "
    if apart:
        return figure, caption + f"Red dots are spikes that at least one engine lacks or has at another step: {_listed(apart)}."
    return figure, caption + f"A spike that one engine lacks would be red; there is none among {total:,}."


def convergence(curves: Mapping[str, dict]) -> tuple[Figure, str]:
    """Error against dt, both logarithmic, with the fitted lines."""
    figure, panels = _sheet(
        len(curves), height=2.1, gap=0.75, legend=2, sharex=True, sharey=True, subplot_kw={"xscale": "log", "yscale": "log"}
    )
    used = {key.partition(" · ")[0] for lines in curves.values() for key in lines}
    schemes = [*(s for s in SCHEMES if s in used), *sorted(used - set(SCHEMES))]
    quantities = list(dict.fromkeys(key.partition(" · ")[2] for lines in curves.values() for key in lines))
    misses = []
    for ax, (model, lines) in zip(panels, curves.items(), strict=True):
        slopes: dict[str, list[float]] = {}
        for key, line in lines.items():
            scheme, _, what = key.partition(" · ")
            colour, marker = _colour(schemes, scheme), MARKERS[quantities.index(what) % len(MARKERS)]
            dt, error = np.asarray(line["dt_ms"], dtype=float), np.asarray(line["error"], dtype=float)
            shown = np.isfinite(error) & (error > 0)
            ax.plot(dt[shown], error[shown], marker, color=colour, markersize=3.5, markerfacecolor="white" if marker != "o" else colour)
            slope = line.get("slope")
            if slope is None or not math.isfinite(slope) or not shown.any():
                continue
            # the fitted line passes through the middle of the points
            middle = np.exp(np.log(dt[shown]).mean()), np.exp(np.log(error[shown]).mean())
            ax.plot(dt[shown], middle[1] * (dt[shown] / middle[0]) ** slope, color=colour, linewidth=1)
            slopes.setdefault(scheme, []).append(slope)
            misses.append(abs(slope - line["order"]))
        # beside the panel, where no line runs: one line of slopes per scheme
        for row, (scheme, values) in enumerate(slopes.items()):
            text = "  ".join(f"{v:.2f}" for v in values)
            ax.annotate(
                text,
                (1, 1),
                xycoords="axes fraction",
                xytext=(4, -4 - 10 * row),
                textcoords="offset points",
                color=_colour(schemes, scheme),
                fontsize=7,
                va="top",
            )
        ax.minorticks_off()
        ax.set_title(model)
        ax.set_ylabel("relative error")
    panels[0].xaxis.set_major_locator(LogLocator(10, numticks=6))
    panels[0].yaxis.set_major_locator(LogLocator(100, numticks=8))
    _label_below(figure, "dt (ms)")
    handles = [Line2D([], [], color=_colour(schemes, s), label=s) for s in schemes]
    kinds = [
        Line2D([], [], color=INK, linestyle="", marker=MARKERS[k % len(MARKERS)], markerfacecolor="white" if k else INK, label=q)
        for k, q in enumerate(quantities)
    ]
    _legend(figure, handles=handles, ncols=len(handles))
    _legend(figure, handles=kinds, ncols=len(kinds), row=1)
    caption = "Error against the adaptive solution as the step shrinks, with the fitted slopes to the right of each panel in the scheme's colour: slope 1 halves the error when the step is halved, slope 4 divides it by 16. "
    if misses:
        caption += f"Every fitted slope lies within {number(max(misses))} of the declared order. "
    return figure, caption + "Points without a line are exact: what remains is rounding and the error of the adaptive solution itself."


def accuracy(curve: Mapping) -> tuple[Figure, str]:
    """Accuracy and agreement of the trained network at ever finer steps."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    ax = figure.subplots()
    dt = np.asarray(curve["dt_ms"], dtype=float)
    label = curve.get("label", "training")
    if curve.get("reference") is not None:
        ax.axhline(curve["reference"], **BAND)
        ax.annotate(
            f"{label}: {curve['reference']:.2f} %",
            (0, curve["reference"]),
            xycoords=("axes fraction", "data"),
            xytext=(4, 6),
            textcoords="offset points",
        )
    ax.plot(dt, curve["accuracy"], "o-", color=BLUE, label="accuracy in Brian2")
    if curve.get("agreement"):
        ax.plot(dt, curve["agreement"], "s--", color=ORANGE, markerfacecolor="white", label="same prediction as torch")
    ax.set_xscale("log", base=2)
    ax.set_xticks(dt, [number(x) for x in dt])
    ax.invert_xaxis()
    ax.set_xlabel("dt (ms), finer to the right")
    ax.set_ylabel("test samples (%)")
    ax.margins(y=0.25)
    figure.legend(loc="outside upper left", ncols=2)
    first, last = curve["accuracy"][0], curve["accuracy"][-1]
    caption = (
        f"The trained network, run by Brian2 with the same weights and input spikes: {first:.2f} % correct at the step it was trained at ({number(dt[0])} ms), "
        f"{last:.2f} % at {number(dt[-1])} ms, a change of {last - first:+.2f} points. "
    )
    if curve.get("agreement"):
        caption += f"Single predictions move more than the accuracy does: {curve['agreement'][-1]:.2f} % are the same at the finest step. "
    return figure, caption + "The pale line is the accuracy of the torch network."


def distance(curves: Mapping[str, dict]) -> tuple[Figure, str]:
    """Distances of the spike trains from those at the training step, one box per dt."""
    shown = [
        (layer, key, name)
        for layer in curves
        for key, name in (("van_rossum", "van Rossum distance"), ("coincidence", "coincidence factor"))
        if curves[layer].get(key)
    ]
    figure = Figure(figsize=(3.6 * max(len(shown), 2), 3.2), layout="constrained")
    for ax, (layer, key, name) in zip(np.atleast_1d(figure.subplots(1, max(len(shown), 1))), shown, strict=False):
        values = [_per_trial(v) for v in curves[layer][key]]
        boxes = ax.boxplot(
            values, widths=0.6, whis=(5, 95), showfliers=False, patch_artist=True, medianprops={"color": BLUE, "linewidth": 2}
        )
        for box in boxes["boxes"]:
            box.set(facecolor=PALE, edgecolor=INK)
        ax.set_xticks(range(1, len(values) + 1), [number(x) for x in curves[layer]["dt_ms"]])
        ax.set_xlabel("dt (ms)")
        ax.set_ylabel(name)
        ax.set_title(f"layer {layer}")
    layer = next(iter(curves))
    caption = "Distance between the spike trains at each step and those of the torch network at its training step, one value per test sample: box from quartile to quartile, whiskers from 5 to 95 %, line at the median. "
    if curves[layer].get("van_rossum"):
        medians = [float(np.median(v)) if len(v) else math.nan for v in map(_per_trial, curves[layer]["van_rossum"])]
        caption += f"Van Rossum: 0 for equal trains, .71 for one spike too many; in layer {layer} the median goes from {number(medians[0])} to {number(medians[-1])}. "
    if curves[layer].get("coincidence"):
        caption += "Coincidence: 1 for equal trains, 0 for chance."
    return figure, caption.strip()


# -- sheets of small multiples ---------------------------------------------------------------------


def _sheet(panels: int, *, height: float, gap: float = 0.5, legend: int = 1, **share) -> tuple[Figure, list[Axes]]:
    """A figure of `panels` axes, four a row; height of a row and gap between columns in inches; legend: its lines.

    Placed by hand: matplotlib's constrained layout draws everything twice, which takes seconds here.
    """
    rows = math.ceil(panels / COLUMNS)
    above, below, left, right = 0.35 + 0.25 * legend, 0.5, 0.6, 0.1 if gap <= 0.5 else gap
    figure = Figure(figsize=(11, height * rows + above + below - 0.45))
    width, total = figure.get_size_inches()
    column = (width - left - right - gap * (COLUMNS - 1)) / COLUMNS
    figure.subplots_adjust(left / width, below / total, 1 - right / width, 1 - above / total, gap / column, 0.45 / (height - 0.45))
    grid = figure.subplots(rows, COLUMNS, squeeze=False, **share)
    for ax in grid.flat[panels:]:
        ax.set_visible(False)
    for ax in grid.flat[:panels]:
        ax.tick_params(labelbottom=True, labelsize=8)
        if not share:
            ax.locator_params(nbins=5)
    return figure, list(grid.flat[:panels])


def _legend(figure: Figure, row: int = 0, **content) -> None:
    figure.legend(loc="upper left", bbox_to_anchor=(0, 1 - 0.22 * row / figure.get_size_inches()[1]), columnspacing=1.2, **content)


def _label_below(figure: Figure, text: str) -> None:
    figure.supxlabel(text, fontsize=9, y=0.02 / figure.get_size_inches()[1], va="bottom")
    # one label per row: the quantity is the same beside it unless its unit is not
    for ax in figure.axes:
        left = ax.get_subplotspec().colspan.start == 0
        row = [a for a in figure.axes if a.get_visible() and a.get_subplotspec().rowspan.start == ax.get_subplotspec().rowspan.start]
        if not left and ax.get_ylabel() == row[0].get_ylabel():
            ax.set_ylabel("")


def _colour(schemes: list[str], scheme: str) -> str:
    return COLOURS[schemes.index(scheme) % len(COLOURS)]


def _per_trial(values) -> np.ndarray:
    """One value per trial; neurons of a trial are averaged, undefined ones left out."""
    array = np.asarray(values, dtype=float)
    if array.ndim > 1:
        array = np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else math.nan for row in array.reshape(len(array), -1)])
    return array[np.isfinite(array)]


def _largest(values: np.ndarray) -> float:
    return float(np.max(values, initial=0.0))


def _unit(curve: Mapping) -> str:
    return "" if curve["unit"] in ("", "1") else curve["unit"]


def _listed(names) -> str:
    names = list(names)
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
