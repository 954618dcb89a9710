"""The figure of the study of biosignals: a beat of each class, how many of each are found, and ripples found at each signal-to-noise ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.data.biosignals.beats import BEFORE_MS, CLASSES
from spiketwin.experiments.data.biosignals.oscillations import RATE_HZ, RIPPLE, SNR_DB
from spiketwin.experiments.studies.reservoirs.biosignals.systems import SYSTEMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spiketwin.experiments.protocol import Result

NAMES = {"front_end": "front end", "layer": "layer", "liquid": "liquid", "both": "both", "band_power": "band power"}


def draw(result: Result) -> Figure:
    """Bars and points are means over seeds, with the standard deviation; the signals are those of the first seed."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from spiketwin.experiments.crosscheck.figures import BLUE, GREEN, INK, ORANGE, PALE, STYLE

    colours = {"front_end": ORANGE, "layer": PALE, "liquid": BLUE, "both": GREEN, "band_power": INK}
    curves = result.curves
    if isinstance(curves["beats"], list):  # one for each seed, once results are combined
        curves = {name: of_seeds[0] for name, of_seeds in curves.items()}
    beats, rate_hz, window = (curves[name] for name in ("beats", "beats_rate_hz", "window"))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 5.4), layout="constrained")
        (shapes, found), (ripple, ratios) = figure.subplots(2, 2)
        for k, name in enumerate(CLASSES):
            signal = np.asarray(beats[name]).sum(axis=1)
            shapes.plot(np.arange(len(signal)) * 1e3 / rate_hz - BEFORE_MS, signal - 9 * k, color=INK, linewidth=0.9)
            shapes.text(-BEFORE_MS - 20, -9 * k, name, ha="right", va="center")
        shapes.set(xlabel="time from the beat (ms)", yticks=[], title="heartbeats of new patients, one of each class")
        shapes.spines["left"].set_visible(False)
        x = np.arange(len(CLASSES) + 1)
        for k, system in enumerate(SYSTEMS):
            metrics = [f"ecg_sensitivity_{name}_{system}" for name in CLASSES] + [f"ecg_macro_f1_{system}"]
            found.bar(x + 0.2 * (k - 1.5), _of(result, metrics, "mean"), 0.19, color=colours[system], label=NAMES[system])
            found.errorbar(
                x + 0.2 * (k - 1.5), _of(result, metrics, "mean"), _of(result, metrics, "std"), fmt="none", ecolor=INK, elinewidth=0.8
            )
        found.set(xticks=x, xticklabels=[*CLASSES, "macro F1"], ylim=(0, 118), ylabel="found (%)", title="heartbeats")
        found.legend(fontsize=7, ncols=4, loc="upper right")
        signal = np.asarray(window)
        for k, name in enumerate(("4 to 80 Hz", "80 to 250 Hz", "250 to 500 Hz")):
            ripple.plot(np.arange(len(signal)) * 1e3 / RATE_HZ, signal[:, k] - 12 * k, color=BLUE if k == RIPPLE else INK, linewidth=0.8)
            ripple.text(-4, -12 * k, name, ha="right", va="center", fontsize=8)
        ripple.set(xlabel="time (ms)", yticks=[], title="a ripple of 10 dB in the bands of an intracranial recording")
        ripple.spines["left"].set_visible(False)
        for system, name in NAMES.items():
            metrics = [f"hfo_f1_{system}_{value:.0f}_db" for value in SNR_DB]
            ratios.errorbar(
                SNR_DB,
                _of(result, metrics, "mean"),
                _of(result, metrics, "std"),
                color=colours[system],
                marker="o",
                markersize=4,
                label=name,
                linestyle="--" if system == "band_power" else "-",
            )
        ratios.set(xlabel="peak power of the ripple over its background (dB)", ylabel="F1 (%)", xticks=SNR_DB, title="ripples found")
        ratios.legend(fontsize=7, loc="lower right")
    return figure


def _of(result: Result, metrics: list[str], what: str) -> list[float]:
    return [result.metrics[name][what] for name in metrics]
