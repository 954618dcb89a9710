"""Trained at one time step or at several: how well does a network read images at steps it was not trained at?

A feed-forward network that reads first-spike times, as in fashion_ttfs, is trained twice with the same initial weights, batches and number of updates: at dt_ms
alone, and with each batch at one of trained_dt_ms, drawn anew. Both are then tested at other steps: retargeted, so that time
constants and the input keep their milliseconds, and as a naive port, whose loop runs with the numbers of dt_ms for the same time.

A neuron fires at most once in a step. What it is worth to a network to hide a burst there shows at a finer step.

On the digits of scikit-learn, in minutes; there neurons fire once a trial, what the step costs is mostly the naive port's, and
what training at several gives is within the spread of the seeds. The hidden neurons of Fashion-MNIST burst: several_dt_fashion.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from spiketwin.experiments.data import Dataset, load
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Experiment, Result, measured, single, training_settings
from spiketwin.experiments.studies.gradients import ttfs

QUESTION = "Does a network trained at several time steps at once keep its accuracy at others, and does retargeting?"
NAME = "several_dt"
OBJECTIVE = "several_validation_accuracy"
WAYS = {"one": "trained at one step, retargeted", "naive": "trained at one step, naive port", "several": "trained at several, retargeted"}


@dataclass(frozen=True)
class Config(ttfs.TTFSConfig):
    """64 pixels, 100 hidden neurons, 10 read-outs. Learning rate, epochs and regulariser were chosen on validation, at dt_ms alone."""

    BESIDE_TRAINING: ClassVar = ("test_samples", "tested_dt_ms")

    data: str = "digits"
    """Data set of images (spiketwin data)."""
    training_samples: int = 0
    """How many of the training images to use, the first ones; 0 for all."""
    test_samples: int = 0
    """How many of the test images to use, the first ones; 0 for all."""
    trained_dt_ms: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    """Steps in ms that training at several draws from."""
    tested_dt_ms: tuple[float, ...] = (0.1, 0.25, 0.5, 0.8, 1.0, 2.0, 4.0)
    """Steps in ms to test at; each divides tmax_ms."""
    weight_scale: float = 0.4
    """Initial weights are normal with this standard deviation over the square root of the inputs of a neuron."""
    surrogate_scale: float = 10.0
    """Steepness of the surrogate gradient 1/(scale |v - threshold| + 1)^2."""
    tmax_ms: float = 40.0
    """Length of a trial in ms; later first spikes are dropped."""
    epochs: int = 24
    """Passes through the training data."""
    batch_size: int = 64
    """Trials per weight update."""
    learning_rate: float = 1e-2
    """Adam's learning rate at the start, per nA."""

    def at(self, dt_ms: float) -> Config:
        return replace(self, dt_ms=dt_ms)


def train(config: Config, data: Dataset, seed: int, dts_ms: tuple[float, ...], *, checkpoint: Path | None = None, quiet: bool = False):
    """(trained network, history). Each batch is at one of dts_ms; the epoch kept is the best on data.validation in the mean over them."""
    from spiketwin.experiments.studies.gradients.ttfs_training import objective, predict, schedule
    from spiketwin.experiments.training import drawing_dt, fit, mean_over_dt
    from spiketwin.models.engines.torch import TorchNetwork
    from spiketwin.models.engines.torch.stacks import SeveralSteps
    from spiketwin.rules.surrogate import fast_sigmoid

    start = ttfs.network(config, data.inputs, len(data.classes), seed)
    module = TorchNetwork(start, dt_ms=config.dt_ms, scheme=config.scheme, surrogate=fast_sigmoid(config.surrogate_scale))
    several = SeveralSteps(module, dts_ms)
    losses = {dt: objective(several.at(dt), ttfs.FirstSpikes(data.train, config.at(dt), data.shape)) for dt in dts_ms}
    held_out = {dt: ttfs.FirstSpikes(data.validation, config.at(dt)) for dt in dts_ms}
    with progress(
        f"training {NAME} on {config.data} at {', '.join(f'{dt:g}' for dt in dts_ms)} ms, seed {seed}", config.epochs, quiet=quiet
    ) as show:
        history = fit(
            module,
            drawing_dt(losses),
            mean_over_dt(lambda dt: ttfs.percent(predict(several.at(dt), held_out[dt]) == data.validation.labels), dts_ms),
            samples=len(data.train),
            schedule=schedule(config),
            seed=seed,
            checkpoint=checkpoint,
            show=show,
            settings=training_settings(config) | {"trained_dt_ms": dts_ms},
        )
    return replace(start, projections=module.to_network().projections), history


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False, study: str = NAME):
    """The network trained at one step and that trained at several, for the cross-check. study: the name they go by."""
    from spiketwin.experiments.studies.gradients.ttfs_training import evaluated

    data, found = dataset(config), {}
    for name, dts_ms in (("one", (config.dt_ms,)), ("several", config.trained_dt_ms)):
        network, history = train(config, data, seed, dts_ms, checkpoint=_checkpoint(folder, name, seed), quiet=quiet)
        found[name] = evaluated(study, config, seed, network, data, history)
    return found


def _checkpoint(folder: Path | None, name: str, seed: int) -> Path | None:
    return folder / f"{name}_{seed}.safetensors" if folder else None


def accuracies(config: Config, network, data: Dataset) -> dict[str, dict[float, float]]:
    """'retargeted' and 'naive' -> tested step in ms -> test accuracy in percent; in float64."""
    import torch

    from spiketwin.experiments.studies.gradients.ttfs_training import predict
    from spiketwin.models.engines.torch import TorchNetwork
    from spiketwin.models.engines.torch.stacks import retarget

    module = TorchNetwork(network, dt_ms=config.dt_ms, scheme=config.scheme, dtype=torch.float64)

    def as_if(inputs: Mapping, **options):
        # the naive port takes the spikes of a step as those of a step of its own
        return module({name: replace(spikes, dt_ms=config.dt_ms) for name, spikes in inputs.items()}, **options)

    found: dict[str, dict[float, float]] = {"retargeted": {}, "naive": {}}
    for dt in config.tested_dt_ms:
        spikes = ttfs.FirstSpikes(data.test, config.at(dt))
        for way, run in (("retargeted", retarget(module, dt)), ("naive", as_if)):
            found[way][dt] = ttfs.percent(predict(run, spikes) == data.test.labels)
    return found


def measure(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False):
    """(metrics, curves) of one seed."""
    found: dict[str, float] = {}
    curves: dict[str, list[float]] = {"dt_ms": list(config.tested_dt_ms)}
    for name, dts_ms in (("one", (config.dt_ms,)), ("several", config.trained_dt_ms)):
        network, history = train(config, data, seed, dts_ms, checkpoint=_checkpoint(folder, name, seed), quiet=quiet)
        by_way = accuracies(config, network, data)
        for way, label in (("retargeted", name), ("naive", "naive")):
            if label != "naive" or name == "one":
                found |= {f"{label}_at_{dt:g}_ms": accuracy for dt, accuracy in by_way[way].items()}
                curves[label] = list(by_way[way].values())
        unseen = [accuracy for dt, accuracy in by_way["retargeted"].items() if dt not in config.trained_dt_ms]
        if unseen:
            found[f"{name}_at_unseen"] = float(np.mean(unseen))
        found[f"{name}_worst"] = min(by_way["retargeted"].values())
        best = max(history, key=lambda row: row["validation_accuracy"])
        found |= {f"{name}_validation_accuracy": best["validation_accuracy"], f"{name}_spikes_per_neuron": best["spikes_per_neuron"]}
        found[f"{name}_training_minutes"] = sum(row["seconds"] for row in history) / 60
        curves[f"{name}_validation_accuracy"] = [row["validation_accuracy"] for row in history]
    return found, curves


def dataset(config: Config) -> Dataset:
    whole = load(config.data)
    train, test = whole.train[: config.training_samples or None], whole.test[: config.test_samples or None]
    part = (
        f"the first {len(train)} training and {len(test)} test samples of: "
        if len(train) + len(test) < len(whole.train) + len(whole.test)
        else ""
    )
    return replace(whole, train=train, test=test, split=part + whole.split)


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return answer(sys.modules[__name__], config, seed, folder)


def answer(study: Experiment, config: Config, seed: int, folder: Path | None = None, *, quiet: bool = False, note: str = "") -> Result:
    """The Result of one seed, with its figure in `folder`."""
    data = dataset(config)
    with measured(split=note + data.split) as provenance:
        found, curves = measure(config, data, seed, folder, quiet=quiet)
    result = single(study, config, seed, found, curves=curves, provenance=provenance)
    if folder:
        draw(result).savefig(folder / f"{result.experiment}_{seed}.png", dpi=150)
    return result


def smoke() -> Result:
    return try_out(sys.modules[__name__], Config())


def try_out(study: Experiment, config: Config) -> Result:
    """Two epochs of a small network at two steps."""
    small = replace(config, hidden=24, epochs=2, trained_dt_ms=(1.0, 2.0), tested_dt_ms=(0.5, 1.0, 2.0))
    return answer(study, small, 0, quiet=True, note="smoke test: ")


def draw(result: Result):
    """Test accuracy against the step, a line for each way with its seeds, as a matplotlib Figure. Steps trained at are ticks at the bottom."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from spiketwin.experiments.crosscheck.figures import COLOURS, MARKERS, STYLE

    steps = list(result.config["tested_dt_ms"])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 4.0), layout="constrained")
        ax = figure.subplots()
        for (way, label), colour, marker in zip(WAYS.items(), COLOURS, MARKERS):
            values = np.array([result.metrics[f"{way}_at_{dt:g}_ms"]["values"] for dt in steps])
            ax.plot(steps, values.mean(1), color=colour, marker=marker, label=label)
            ax.plot(steps, values, color=colour, marker=".", linestyle="", alpha=0.5, markersize=3)
        ax.set_xscale("log")
        ax.set_xticks(steps, [f"{dt:g}" for dt in steps])
        ax.minorticks_off()
        trained = result.config["trained_dt_ms"]
        ax.plot(trained, np.full(len(trained), 0.03), "|k", markersize=9, transform=ax.get_xaxis_transform(), clip_on=False)
        ax.axvline(result.config["dt_ms"], color="0.7", linewidth=0.8, zorder=0)
        ax.set_xlabel("time step dt (ms); grey: trained at one, ticks: trained at several")
        ax.set_ylabel("test accuracy (%)")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return figure
