"""Draws docs/readme.png, the picture at the top of the README: python docs/make_readme_figure.py (about a minute)."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from spiketwin.experiments.crosscheck import convergence
from spiketwin.experiments.crosscheck.figures import BAND, BLUE, GREEN, INK, INSIDE, ORANGE, STYLE
from spiketwin.models.engines import get_engine
from spiketwin.models.network import Network, Population
from spiketwin.models.neurons import neuron
from spiketwin.models.neurons.stimuli import stimulus

MODEL = "izhikevich"
ENGINES = {"brian": "Brian2", "torch": "torch", "compiled": "compiled"}
DURATION_MS = 120.0
PICTURE = Path(__file__).with_name("readme.png")
# the page shows the picture at about half its size
LARGE = {"font.size": 13, "axes.titlesize": 14, "axes.linewidth": 1.0}


def main() -> None:
    from spiketwin.experiments.crosscheck import trained
    from spiketwin.experiments.studies.gradients import digits_ttfs

    _, curves = trained.check(digits_ttfs.train(digits_ttfs.Config(), seed=0))
    draw(curves["accuracy"]).savefig(PICTURE, dpi=100, facecolor="white", metadata={"Software": None})
    print(f"written to {PICTURE}")


def draw(accuracy: dict) -> Figure:
    """Three panels: one neuron in three engines, errors against dt, the trained network at finer steps.

    accuracy: the curve of that name from the trained network's check.
    """
    with mpl.rc_context({**STYLE, **LARGE}):
        figure = Figure(figsize=(16, 4.2), layout="constrained")
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 0.95, 0.95))
        _voltage(left)
        _errors(middle)
        _accuracy(right, accuracy)
    return figure


def _voltage(ax) -> None:
    cell = Network([Population("cell", neuron(MODEL), 1, drives=stimulus(MODEL)["drive"])])
    styles = ({**BAND, "linewidth": 7}, *({**s, "linewidth": 1.8} for s in INSIDE))
    spikes = []
    for (engine, label), style in zip(ENGINES.items(), styles, strict=False):
        run = get_engine(engine).run(cell, dt_ms=0.1, scheme="rk4", duration_ms=DURATION_MS, record={"cell": ("v",)})
        spikes.append(run.spikes["cell"])
        ax.plot(run.time_ms, run.in_unit("cell", "v", "mV")[:, 0, 0], label=label, **style)
    if not all(s.equals(spikes[0]) for s in spikes):
        raise RuntimeError("the engines differ: run spiketwin crosscheck before drawing this picture")
    ax.set_title("one declaration, three engines, equal spikes")
    ax.set(xlabel="time (ms)", ylabel="v (mV)", xlim=(0, DURATION_MS), ylim=(None, 68))
    ax.legend(loc="upper left", ncols=3, handlelength=1.6, columnspacing=1.2, borderaxespad=0)


def _errors(ax) -> None:
    rows, curves = convergence.check(MODEL, ("euler", "heun", "rk4"))
    for (scheme, colour), marker in zip({"euler": BLUE, "heun": ORANGE, "rk4": GREEN}.items(), "os^", strict=True):
        line = curves["convergence"][MODEL][f"{scheme} · state below threshold"]
        dt, error = np.array(line["dt_ms"]), np.array(line["error"])
        ax.loglog(dt, error, marker + "-", color=colour, linewidth=2, markersize=8)
        ax.annotate(
            f"{scheme}\nslope {line['slope']:.2f}",
            (dt[-1], error[-1]),
            xytext=(-12, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            color=colour,
        )
    ax.minorticks_off()
    ax.set_xticks(dt, [f"{x:g}" for x in dt])
    ax.set_xlim(dt.min() / 2.3, dt.max() * 1.15)
    ax.set_ylim(1e-11, 1e-1)
    ax.set_title("each scheme has the order it declares")
    ax.set(xlabel="dt (ms)", ylabel="relative error")


def _accuracy(ax, curve: dict) -> None:
    dt = np.array(curve["dt_ms"])
    ax.plot(
        dt, curve["agreement"], "s--", color=ORANGE, markerfacecolor="white", linewidth=2, markersize=8, label="same prediction as torch"
    )
    ax.plot(dt, curve["accuracy"], "o-", color=BLUE, linewidth=2, markersize=8, label="accuracy in Brian2")
    ax.annotate(
        "trained here",
        (dt[0], curve["accuracy"][0]),
        xytext=(6, -56),
        textcoords="offset points",
        color=INK,
        arrowprops={"arrowstyle": "-", "color": INK, "relpos": (0, 1)},
    )
    ax.set_xscale("log", base=2)
    ax.set_xticks(dt, [f"{x:g}" for x in dt])
    ax.invert_xaxis()
    ax.set_ylim(79, 102)
    ax.set_yticks(range(80, 101, 5))
    ax.set_title("a trained network at ever finer steps")
    ax.set(xlabel="dt (ms), finer to the right", ylabel="test digits (%)")
    ax.legend(loc="lower right")


if __name__ == "__main__":
    main()
