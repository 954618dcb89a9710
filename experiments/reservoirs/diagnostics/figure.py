"""One page of figures of a diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spiketwin.experiments.reservoirs.diagnostics.avalanches import PowerLaw
    from spiketwin.experiments.reservoirs.diagnostics.report import Diagnosis

# Okabe & Ito's colours, told apart by colour-blind readers too.
INK, GREY, BLUE, ORANGE, GREEN, RED = "#222222", "#8a8a8a", "#0072b2", "#e69f00", "#009e73", "#d55e00"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}


def page(d: Diagnosis) -> Figure:
    """A4 across: raster and rates above, separation, ranks and memory, then perturbations, branching and avalanches."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import NullFormatter

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.7, 8.3), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08), facecolor="white")
        grid = figure.add_gridspec(3, 6, height_ratios=(1.15, 1, 1))
        figure.suptitle(str(d).splitlines()[0], x=0.01, ha="left", fontsize=10, color=GREY)
        above = figure.add_subplot(grid[0, :4])
        raster(above, d)
        rates(figure.add_subplot(grid[0, 4:]), d)
        panels = (separation, ranks, memory, perturbations, branching, avalanches)
        for k, panel in enumerate(panels):
            row, column = divmod(k, 3)
            panel(figure.add_subplot(grid[1 + row, 2 * column : 2 * column + 2]), d)
        for letter, ax in zip("ABCDEFGH", figure.axes):
            ax.set_title(f"{letter}   {ax.get_title(loc='left')}", fontweight="bold")
            for axis in (ax.xaxis, ax.yaxis):
                if axis.get_scale() == "log":
                    axis.set_minor_formatter(NullFormatter())
        return figure


def raster(ax: Axes, d: Diagnosis) -> None:
    one, excites = d.spikes.trial(0), d.liquid.is_excitatory
    # inhibitory neurons on top, each kind in its own order
    place = np.empty(d.liquid.size, int)
    place[np.argsort(~excites, kind="stable")] = np.arange(d.liquid.size)
    height = max(1.0, min(4.0, 260 / d.liquid.size))
    for kind, colour in ((True, BLUE), (False, RED)):
        own = excites[one.neuron] == kind
        ax.plot(one.times_ms()[own], place[one.neuron[own]], "|", color=colour, markersize=height, markeredgewidth=0.8)
    ax.set(xlabel="time (ms)", ylabel="neuron", xlim=(0, one.shape[0] * one.dt_ms), ylim=(-1, d.liquid.size), title="Spikes of one sample")


def rates(ax: Axes, d: Diagnosis) -> None:
    rate, excites = d.activity.rate_hz, d.liquid.is_excitatory
    edges = np.linspace(0, max(float(rate.max()), 1.0), 21)
    ax.hist([rate[excites], rate[~excites]], edges, stacked=True, color=[BLUE, RED], label=["excitatory", "inhibitory"])
    ax.legend(loc="upper right", bbox_to_anchor=(1, 0.72))
    ax.axvline(rate.mean(), color=INK, linestyle="--", linewidth=1)
    cv = d.activity.cv[np.isfinite(d.activity.cv)]
    said = [f"mean {rate.mean():.1f} Hz, {100 * d.activity.silent:.0f} % silent"]
    said += [f"CV {np.median(cv):.2f}"] if cv.size else []
    said += [f"synchrony χ {d.activity.chi:.2f}, Fano {d.activity.fano:.2f}"]
    ax.text(0.98, 0.97, "\n".join(said), transform=ax.transAxes, ha="right", va="top", fontsize=8)
    ax.set(xlabel="rate (Hz)", ylabel="neurons", title="Rates over all samples")


def separation(ax: Axes, d: Diagnosis) -> None:
    from matplotlib import colormaps

    s = d.separation
    shades = colormaps["viridis"](np.linspace(0.85, 0.05, len(s.input_distance)))
    for curve, near, shade in zip(s.state_distance[::-1], s.input_distance[::-1], shades[::-1]):
        ax.plot(s.time_ms, curve, color=shade, label=f"d = {near:.2f}")
    ax.plot(s.time_ms, s.zero_distance, color=GREY, linestyle="--", label="d = 0")
    ax.set(xlabel="time (ms)", ylabel="state distance", title="Separation", xlim=(0, None), ylim=(0, None))
    # room for the legend above the curves
    top = float(max(s.state_distance.max(), s.zero_distance.max()))
    ticks = [t for t in ax.get_yticks() if 0 <= t <= 1.05 * top]
    ax.set_ylim(0, 1.55 * top)
    ax.set_yticks(ticks)
    ax.legend(loc="upper right", ncols=3, columnspacing=1, handlelength=1.2, title="at input distance", title_fontsize=8)


def ranks(ax: Axes, d: Diagnosis) -> None:
    for rank, colour, said in ((d.kernel, BLUE, "different inputs"), (d.generalisation, ORANGE, "versions of one input")):
        share = rank.singular_values / rank.singular_values[0]
        ax.semilogy(np.arange(1, len(share) + 1), np.maximum(share, 1e-12), color=colour, label=f"{said}: rank {rank.rank}")
        ax.plot(rank.rank, max(share[rank.rank - 1], 1e-12), "o", color=colour, markersize=4)
    ax.axhline(d.kernel.threshold, color=GREY, linestyle="--", linewidth=1)
    ax.text(1, d.kernel.threshold * 0.9, "threshold", color=GREY, fontsize=8, va="top")
    ax.set(
        xlabel="singular value",
        ylabel="share of the largest",
        title="Kernel quality and generalisation",
        ylim=(d.kernel.threshold / 10, 1.5),
        xlim=(0, d.kernel.most),
    )
    ax.legend(loc="upper right")


def memory(ax: Axes, d: Diagnosis) -> None:
    m = d.memory
    lag_ms = np.arange(len(m.by_lag)) * m.step_ms
    ax.bar(lag_ms, m.by_lag, width=0.8 * m.step_ms, color=BLUE)
    ax.axhline(m.threshold, color=GREY, linestyle="--", linewidth=1)
    ax.text(lag_ms[-1] + 0.4 * m.step_ms, m.threshold + 0.02, "chance", color=GREY, fontsize=8, ha="right")
    ax.set(xlabel="age of the input (ms)", ylabel="linear capacity", title="Memory", ylim=(0, 1.05))
    lines = [f"degree {k + 1}: {total:.2f}" for k, total in enumerate(m.by_degree)]
    ax.text(0.98, 0.97, "\n".join(["total capacity", *lines]), transform=ax.transAxes, ha="right", va="top", fontsize=8)


def perturbations(ax: Axes, d: Diagnosis) -> None:
    from spiketwin.experiments.reservoirs.diagnostics.perturbations import GONE

    lowest = 1.0
    for run, colour, said in ((d.fading, GREEN, "two starting states"), (d.growth, RED, "one input spike more")):
        shown = np.where(run.distance > 2 * GONE, run.distance, np.nan)
        rate = run.exponent_per_s
        ax.semilogy(run.time_ms, shown, color=colour, label=said + (f": {rate:+.0f} /s".replace("-", "−") if np.isfinite(rate) else ""))
        lowest = min(lowest, float(np.nanmin(shown)))
    ax.set(xlabel="time since they differ (ms)", ylabel="distance / threshold", title="Fate of a difference", xlim=(0, None))
    ax.set_ylim(lowest / 2, 8)
    ax.legend(loc="upper right")


def branching(ax: Axes, d: Diagnosis) -> None:
    b = d.branching
    k = np.arange(1, len(b.slopes) + 1)
    ax.plot(k * b.bin_ms, b.slopes, "o", color=BLUE, markersize=3, label=f"measured; naive m = {b.naive:.2f}")
    if np.isfinite(b.m):
        fine = np.linspace(1, len(b.slopes), 200)
        ax.plot(fine * b.bin_ms, b.b * b.m**fine, color=ORANGE, label=f"multistep m = {b.m:.2f}, τ = {b.tau_ms:.0f} ms")
    ax.axhline(0, color=GREY, linewidth=0.5)
    ax.set(xlabel="lag (ms)", ylabel="regression slope $r_k$", title=f"Branching, bins of {b.bin_ms:g} ms", xlim=(0, None))
    ax.margins(y=0.2)
    ax.legend(loc="upper right")


def avalanches(ax: Axes, d: Diagnosis) -> None:
    found = d.avalanches
    for x, law, colour, said in (
        (found.sizes, d.size_law, BLUE, "size (spikes)"),
        (found.durations, d.duration_law, ORANGE, "duration (bins)"),
    ):
        if not len(x):
            continue
        values, counts = np.unique(x, return_counts=True)
        above = counts[::-1].cumsum()[::-1] / len(x)
        ax.loglog(values, above, ".", color=colour, markersize=4, label=f"{said}: {_claim(law)}")
        if law:
            import scipy.special

            fitted = values[values >= law.minimum]
            tail = scipy.special.zeta(law.exponent, fitted) / scipy.special.zeta(law.exponent, law.minimum)
            ax.loglog(fitted, tail * law.count / len(x), color=colour, linewidth=1)
    ax.set(
        xlabel="size or duration x", ylabel="share of avalanches ≥ x", title=f"{len(found.sizes)} avalanches, bins of {found.bin_ms:g} ms"
    )
    if len(found.sizes):
        # room for the legend above the curves
        ax.set_ylim(0.4 / len(found.sizes), 60)
        ax.set_yticks([t for t in ax.get_yticks() if 0.4 / len(found.sizes) <= t <= 1])
        ax.legend(loc="upper right", handletextpad=0.2)


def _claim(law: PowerLaw | None) -> str:
    """Whether the power law that is drawn is one."""
    if law is None:
        return "too few"
    verdict = law.against_exponential
    return f"α = {law.exponent:.2f}" + ("" if verdict > 2 else ", exponential likelier" if verdict < -2 else ", exponential as likely")
