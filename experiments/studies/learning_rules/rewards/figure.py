"""The figure of the study of reward: learning curves of conditioning and of exclusive or, drawn from a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.studies.learning_rules.rewards import xor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spiketwin.experiments.protocol import Result

SMOOTHED = 5  # epochs that a point of the curves of exclusive or is the mean of


def draw(result: Result) -> Figure:
    """Who found the stimulus, how the synapses part ways, and spikes of each pattern; a thin line per seed, their mean in bold."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from spiketwin.experiments.crosscheck.figures import BLUE, COLOURS, INK, ORANGE, PALE, STYLE

    curves = {name: of_seeds(result, name) for name in result.curves}
    time_s = curves["time_s"][0]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 2.9), layout="constrained")
        found, weights, patterns = figure.subplots(1, 3)
        _lines(found, time_s, curves["success"], BLUE, "rewarded after their stimulus")
        _lines(found, time_s, curves["success_of_controls"], INK, "rewarded at random")
        found.axhline(result.mean("success_by_chance"), color=PALE, zorder=0)
        found.set(xlabel="time (s)", ylabel="found their stimulus (%)", ylim=(-2, 102), title="conditioning")
        _lines(weights, time_s, curves["own_weight_mv"], BLUE, "of the own stimulus")
        _lines(weights, time_s, curves["best_other_weight_mv"], ORANGE, "of the best other")
        _lines(weights, time_s, curves["own_weight_of_controls_mv"], INK, "of the own, controls")
        weights.set(xlabel="time (s)", ylabel="mean weight (mV)", title="conditioning")
        spikes = curves["xor_spikes"] / (1e-3 * xor.PATTERN_MS)
        for k, (pattern, answer) in enumerate(zip(xor.PATTERNS, xor.ANSWERS, strict=True)):
            smooth = np.array([np.convolve(seed, np.full(SMOOTHED, 1 / SMOOTHED), "valid") for seed in spikes[:, :, k]])
            epochs = np.arange(smooth.shape[1]) + (SMOOTHED + 1) / 2
            label = f"{pattern[0]} {pattern[1]}, {'rewarded' if answer else 'punished'}"
            _lines(patterns, epochs, smooth, COLOURS[k], label, "-" if answer else "--")
        patterns.axvline(result.config["epochs"] + 0.5, color=PALE, zorder=0)  # from here on nothing is rewarded
        patterns.set(xlabel="epoch", ylabel="output (spikes/s)", title="exclusive or", ylim=(-5, 1.3 * patterns.get_ylim()[1]))
        for axes, columns in ((found, 1), (weights, 1), (patterns, 2)):
            axes.legend(fontsize=7, loc="upper left", ncols=columns)
    return figure


def of_seeds(result: Result, name: str) -> np.ndarray:
    """A curve of a result as [seeds, …]."""
    curve = np.asarray(result.curves[name])
    return curve if len(result.seeds) > 1 else curve[None]


def _lines(axes: Axes, x: np.ndarray, of_seeds: np.ndarray, colour: str, label: str, style: str = "-") -> None:
    for seed in of_seeds:
        axes.plot(x, seed, style, color=colour, linewidth=0.6, alpha=0.4)
    axes.plot(x, of_seeds.mean(axis=0), style, color=colour, linewidth=1.8, label=label)
