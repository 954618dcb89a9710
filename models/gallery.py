"""One figure per model: its answer to a current step, its f-I curve, and to one presynaptic spike."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from spiketwin.models.discretisation import unsupported_reason
from spiketwin.models.engines import get_engine
from spiketwin.models.expressions import evaluate
from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import NEURONS, neuron
from spiketwin.models.neurons.stimuli import stimulus
from spiketwin.models.recording import Recording
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import quantity, unit

INK, SPIKE, MUTED = "#20639b", "#c8553d", "#8a8a8a"
STEP_ON_MS, STEP_OFF_MS, STEP_END_MS = 20, 220, 260
TRIALS = 200  # of noisy models, averaged in the panel of the synaptic potential


def best_scheme(spec: NeuronSpec) -> str:
    """The most accurate fixed-step scheme for a model: exact where it is linear, rk4, or euler_maruyama with noise."""
    return next(s for s in ("exact", "rk4", "euler_maruyama") if not unsupported_reason(spec, s))


def step_response(name: str, *, dt_ms: float = 0.05) -> Recording:
    """All states of one neuron ('cells') under its stimulus's drive, on from 20 to 220 of 260 ms."""
    spec = neuron(name)
    time = np.arange(round(STEP_END_MS / dt_ms)) * dt_ms
    (drive, text), *_ = stimulus(name)["drive"].items()
    current = np.where((time >= STEP_ON_MS) & (time < STEP_OFF_MS), quantity(text)[0], 0.0)
    network = Network([Population("cells", spec, 1)])
    return get_engine("compiled").run(
        network, {f"cells.{drive}": current}, dt_ms=dt_ms, scheme=best_scheme(spec), record={"cells": spec.states}
    )


def f_i_curve(name: str, *, points: int = 41, duration_ms: float = 1000, dt_ms: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Constant drives in SI [points], from 0 to the stimulus's drive_max, and the rates in Hz after 200 ms."""
    spec = neuron(name)
    (drive, _), *_ = stimulus(name)["drive"].items()
    drives = np.linspace(0, quantity(stimulus(name)["drive_max"])[0], points)
    network = Network([Population("cells", spec, points, drives={drive: drives})])
    run = get_engine("compiled").run(network, dt_ms=dt_ms, scheme=best_scheme(spec), duration_ms=200 + duration_ms)
    spikes = run.spikes["cells"]
    late = spikes.neuron[spikes.times_ms() >= 200]
    return drives, np.bincount(late, minlength=points) * 1e3 / duration_ms


def synaptic_potential(name: str, *, dt_ms: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Time in ms after one spike on the stimulus's receptor, and v in mV above its value then."""
    spec, s = neuron(name), stimulus(name)
    steps, arrival = round(120 / dt_ms), round(20 / dt_ms)
    # A neuron that starts off its resting point drifts: what the same neuron does without the spike is subtracted.
    weights = np.array([[quantity(s["weight"])[0]], [0.0]])
    network = Network(
        [Population("cells", spec, 2, parameters=s["quiet"])],
        [Projection("spike", "cells", weights, s["receptor"])],
        [SpikeSource("spike", 1)],
    )
    noise, trials = {}, 1
    if spec.is_noisy or spec.has_random_threshold:
        trials = TRIALS
        draws = np.random.default_rng(0)
        if spec.is_noisy:
            noise["cells.xi"] = np.repeat(draws.standard_normal((steps, trials, 1)), 2, axis=2)
        if spec.has_random_threshold:
            noise["cells.rand"] = np.repeat(draws.random((steps, trials, 1)), 2, axis=2)
    spikes = Spikes(np.full(trials, arrival), np.arange(trials), np.zeros(trials, dtype=int), (steps, trials, 1), dt_ms)
    run = get_engine("compiled").run(
        network, {"spike": spikes}, dt_ms=dt_ms, scheme=best_scheme(spec), trials=trials, record={"cells": ("v",)}, noise=noise
    )
    v = run.states["cells"]["v"].mean(axis=1)
    return run.time_ms - arrival * dt_ms, 1e3 * (v[:, 0] - v[:, 1])


def figure(name: str, *, dt_ms: float = 0.05):
    """matplotlib Figure of the model `name`. Raises ValueError for an unknown model or a model without a stimulus."""
    from matplotlib.figure import Figure

    spec = neuron(name)
    panels = [_draw_step]
    if spec.threshold:
        panels.append(_draw_f_i)
    if spec.inputs:
        panels.append(_draw_psp)
    fig = Figure(figsize=(10, 2.7), dpi=100, layout="constrained")
    grid = fig.add_gridspec(1, 4)
    widths = {3: (slice(0, 2), 2, 3), 2: (slice(0, 2), slice(2, 4))}[len(panels)]
    for draw, place in zip(panels, widths, strict=True):
        axes = fig.add_subplot(grid[0, place])
        draw(axes, spec, dt_ms)
        axes.spines[["top", "right"]].set_visible(False)
    fig.suptitle(f"{name}   ({spec.source})", x=0.01, ha="left", fontsize=10)
    return fig


def save_figures(folder: Path | str, names: tuple[str, ...] = tuple(NEURONS)) -> list[Path]:
    """Write NAME.png for each model into `folder`; returns the paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in names:
        paths.append(folder / f"{name}.png")
        figure(name).savefig(paths[-1], metadata={"Software": None})
    return paths


def _draw_step(axes, spec: NeuronSpec, dt_ms: float) -> None:
    run = step_response(spec.name, dt_ms=dt_ms)
    v = 1e3 * run.states["cells"]["v"][:, 0, 0]
    axes.axvspan(STEP_ON_MS, STEP_OFF_MS, color="#f1f1ee", zorder=0)
    axes.plot(run.time_ms, v, color=INK, lw=1)
    threshold = _threshold_mv(spec, run)
    if threshold is not None:
        axes.plot(run.time_ms, threshold, color=MUTED, lw=0.8, ls="--")
    times = run.spikes["cells"].times_ms()
    low, high = axes.get_ylim()
    if "v" in {s.target for s in spec.reset_statements}:
        # The model has no spike shape: a stroke stands for it.
        axes.vlines(
            times,
            (v.max() if threshold is None else np.interp(times, run.time_ms, threshold)),
            high + 0.25 * (high - low),
            color=SPIKE,
            lw=0.8,
        )
    else:
        axes.plot(times, np.full(len(times), high + 0.05 * (high - low)), "|", color=SPIKE, ms=6)
    (_, text), *_ = stimulus(spec.name)["drive"].items()
    axes.set(xlabel="time (ms)", ylabel="v (mV)", xlim=(0, STEP_END_MS))
    axes.set_title(f"step of {_pretty(text)}", fontsize=9)


def _draw_f_i(axes, spec: NeuronSpec, dt_ms: float) -> None:
    drives, rates = f_i_curve(spec.name, dt_ms=dt_ms)
    name = stimulus(spec.name)["drive_max"].split(maxsplit=1)[1]
    axes.plot(drives / unit(name)[0], rates, ".-", color=INK, lw=1, ms=3)
    axes.set(xlabel=f"drive ({_pretty(name)})", ylabel="rate (Hz)", ylim=(0, None))
    axes.set_title("f-I curve", fontsize=9)


def _draw_psp(axes, spec: NeuronSpec, dt_ms: float) -> None:
    time, v = synaptic_potential(spec.name, dt_ms=dt_ms)
    axes.plot(time, v, color=INK, lw=1)
    axes.set(xlabel="time after spike (ms)", ylabel="change of v (mV)", xlim=(-10, 100))
    axes.set_title(f"{stimulus(spec.name)['receptor']} + {_pretty(stimulus(spec.name)['weight'])}", fontsize=9)


def _threshold_mv(spec: NeuronSpec, run: Recording) -> np.ndarray | None:
    """The voltage to reach, [T], when the threshold is 'v > …'; else None."""
    match = re.fullmatch(r"v\s*>=?\s*(.+)", spec.threshold)
    if not match:
        return None
    values = {n: p.si for n, p in spec.parameters.items()} | {n: s[:, 0, 0] for n, s in run.states["cells"].items()}
    return np.broadcast_to(1e3 * evaluate(match[1], values, spec.subexpressions), run.time_ms.shape)


def _pretty(text: str) -> str:
    return text.replace("**2", "²").replace("u", "µ").replace("ohm", "Ω")
