"""Images as time: MNIST and Fashion-MNIST through liquids with a linear read-out.

    rate    all pixels at once, each a regular train of its intensity; a neuron hears pixels of one square of the image
    rows    28 channels, one for each column, to which the rows of the image come one after the other; a neuron hears some columns

Half of the channels that a neuron hears excite it and half inhibit it, so that neurons differ in the edges they answer to.

Beside each liquid stand the same neurons without the synapses among them, and the pixels themselves with the same read-out, which is ridge
regression whose penalty is chosen on validation (validated_ridge.py). NALSM reports 97.6 and 85.8 % for liquids of 8,000 neurons.

A folder keeps the accuracies of each listener that was judged, and the states of the one at work: a stopped run goes on there.

Source: Ivanov & Michmizos 2021, NeurIPS 34 (NALSM), for the numbers to reach.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spiketwin.experiments.data import Dataset, Samples, load
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.reservoirs import LiquidStates, Rates
from spiketwin.experiments.reservoirs.kept import Kept
from spiketwin.experiments.reservoirs.states import forget
from spiketwin.experiments.studies.reservoirs.validated_ridge import Split, judge
from spiketwin.models.reservoirs import liquid
from spiketwin.models.reservoirs.wiring import listens_to, sees
from spiketwin.models.stacks.heterogeneity import gamma, of_both_signs, uniform
from spiketwin.rules.readouts import SpikeCounts

QUESTION = "How far do a liquid and a linear read-out come on images, and is it the recurrent synapses that carry them there?"
OBJECTIVE = "validation_accuracy_mnist_rate_liquid_1000"
SIDE = 28
AT_ONCE = 100  # images in memory
METRIC = {"mnist": "mnist", "fashion-mnist": "fashion"}
NALSM = {"mnist": 97.6, "fashion-mnist": 85.8}  # test, 8,000 neurons


@dataclass(frozen=True)
class Config:
    """The liquids, and how images are shown to them."""

    data: tuple[str, ...] = ("mnist", "fashion-mnist")
    """Data sets."""
    rate_sizes: tuple[int, ...] = (1000, 6000)
    """Neurons of the liquids that see all pixels at once."""
    row_sizes: tuple[int, ...] = (1000,)
    """Neurons of the liquids that see row after row."""
    rate_hz: float = 100.0
    """Rate of a pixel of full brightness."""
    rate_ms: float = 100.0
    """For how long all pixels are shown."""
    row_ms: float = 10.0
    """For how long a row is shown."""
    dt_ms: float = 1.0
    """Time step in ms."""
    square: int = 8
    """Side of the square of pixels that a neuron hears, in pixels."""
    heard: int = 24
    """Pixels of it that it hears."""
    columns: int = 8
    """Columns that a neuron hears where rows come one after the other."""
    exciting: float = 0.5
    """Share of the channels a neuron hears that excite it; the others inhibit it."""
    rate_input: float = 12.0
    """Factor on the weights of the input, all pixels at once."""
    row_input: float = 16.0
    """The same, row after row."""
    rate_reads: int = 1
    """Equal parts of the time in which spikes are counted, all pixels at once."""
    row_reads: int = 4
    """The same, row after row."""
    background: float = 0.5
    """Neurons are held at 0 to this share of the way to threshold."""
    connection_scale: float = 1.0
    """Factor on the recurrent weights."""

    def __post_init__(self) -> None:
        if not 0 <= self.exciting <= 1:
            raise ValueError(f"exciting = {self.exciting} is a share of the channels that a neuron hears; give 0 … 1")

    def showing(self) -> dict[str, Any]:
        """The settings that every listener's accuracy depends on: all but which listeners there are."""
        return {name: value for name, value in asdict(self).items() if name not in ("data", "rate_sizes", "row_sizes")}


def states_of(config: Config, way: str, size: int, connected: bool, seed: int) -> LiquidStates:
    """The liquid of that size for images shown as rate or rows."""
    seen: dict[str, Any] = {
        "rate": dict(
            wiring=sees(config.square, config.heard, side=SIDE),
            reads=config.rate_reads,
            input_scale=config.rate_input,
            duration_ms=config.rate_ms,
        ),
        "rows": dict(
            wiring=listens_to(config.columns),
            reads=config.row_reads,
            input_scale=config.row_input,
            duration_ms=SIDE * config.row_ms,
        ),
    }[way]
    return LiquidStates(
        partial(
            liquid,
            background=uniform(0, config.background),
            wiring=seen["wiring"],
            input_strength=of_both_signs(gamma(0.05, shape=4.0), config.exciting),
        ),
        size=size,
        connection_scale=config.connection_scale if connected else 0.0,
        inhibition=None,
        input_scale=seen["input_scale"],
        sense=Rates(config.rate_hz),
        features=SpikeCounts(seen["reads"]),
        dt_ms=config.dt_ms,
        duration_ms=seen["duration_ms"],
        at_once=AT_ONCE,
        random_state=seed,
    )


def measure(config: Config, data: Dataset[Samples], seed: int, folder: Path | None = None, *, quiet: bool = False) -> dict[str, float]:
    """Accuracies of one data set in percent, and the minutes that all of it took."""
    parts = (data.train, data.validation, data.test)
    pixels, labels = np.concatenate([p.intensities for p in parts]), np.concatenate([p.labels for p in parts])
    part = np.repeat(np.arange(3), [len(p) for p in parts])
    split, metrics, of = Split(part == 0, part == 1, part == 2), {}, METRIC[data.name]
    kept = Kept(folder and folder / f"{of}_seed_{seed}.json", config.showing() | {"images": len(labels)})

    def note(name: str, rows: Callable[[], np.ndarray]) -> None:
        def judged() -> dict[str, float]:
            start = time.perf_counter()
            found = judge(rows(), labels, split)
            return {"test": found.test, "validation": found.validation, "minutes": (time.perf_counter() - start) / 60}

        point = kept.get(name, judged)
        metrics[f"test_accuracy_{of}_{name}"], metrics[f"validation_accuracy_{of}_{name}"] = point["test"], point["validation"]
        metrics[f"minutes_{of}"] = metrics.get(f"minutes_{of}", 0.0) + point["minutes"]

    def answers(name: str, way: str, size: int, connected: bool, path: Path | None) -> np.ndarray:
        shown = pixels if way == "rate" else pixels.reshape(-1, SIDE, SIDE)
        states = states_of(config, way, size, connected, seed).fit(shown)
        with progress(f"liquid_images, {of}, {name}, seed {seed}", len(shown), quiet=quiet) as show:
            return states.transform(shown, path=path, progress=show.update)

    note("pixels", lambda: pixels)
    for way, sizes in (("rate", config.rate_sizes), ("rows", config.row_sizes)):
        for size in sizes:
            for kind in ("liquid", "unconnected"):
                name = f"{way}_{kind}_{size}"
                path = folder / f"{of}_{name}_seed_{seed}.npy" if folder else None
                note(name, partial(answers, name, way, size, kind == "liquid", path))
                if path:
                    forget(path)
    return metrics


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    """The Result of one seed, which draws the liquids."""
    sets = [load(name) for name in config.data]
    with measured(split="; ".join(f"{d.name}: {d.split}" for d in sets)) as provenance:
        metrics: dict[str, float] = {}
        for data in sets:
            metrics |= measure(config, data, seed, folder)
    # of all listeners, also those judged before a stop; of the one that was stopped, what came after
    provenance["wall_s"] = round(60 * sum(value for name, value in metrics.items() if name.startswith("minutes_")), 1)
    return single(sys.modules[__name__], config, seed, metrics, provenance=provenance)


def draw(result: Result):
    """Test accuracy of each liquid beside the same neurons unconnected, a panel for each data set; seeds as dots, the pixels alone as a line."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from spiketwin.experiments.crosscheck.figures import BLUE, INK, ORANGE, PALE, STYLE

    sizes = {"rate": result.config["rate_sizes"], "rows": result.config["row_sizes"]}
    shown = [(way, size) for way, each in sizes.items() for size in each]
    names = {"rate": "all pixels at once", "rows": "row after row"}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.8 * len(result.config["data"]), 0.45 * len(shown) + 1.5), layout="constrained")
        for axes, data in zip(
            figure.subplots(1, len(result.config["data"]), sharey=True, squeeze=False)[0], result.config["data"], strict=True
        ):
            for y, (way, size) in enumerate(shown):
                for kind, colour in (("unconnected", ORANGE), ("liquid", BLUE)):
                    values = result.metrics[f"test_accuracy_{METRIC[data]}_{way}_{kind}_{size}"]["values"]
                    axes.plot(values, [y] * len(values), "o", color=colour, markersize=4, label=None if y else kind)
            axes.axvline(result.mean(f"test_accuracy_{METRIC[data]}_pixels"), color=PALE, label="pixels alone")
            axes.axvline(NALSM[data], color=INK, linestyle=":", linewidth=1, label="NALSM")
            axes.set(title=data, xlabel="test accuracy (%)")
            axes.set_yticks(range(len(shown)), [f"{names[way]}, {size:,}" for way, size in shown])
            axes.set_ylim(len(shown) - 0.5, -0.5)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def smoke() -> Result:
    """Some hundred images, small liquids."""
    config = replace(Config(), data=("mnist",), rate_sizes=(100,), row_sizes=(100,))
    whole = load("mnist")
    data = replace(whole, train=whole.train[:600], validation=whole.validation[:200], test=whole.test[:200])
    with measured(split=f"smoke test: a part of {whole.split}") as provenance:
        metrics: Mapping[str, float] = measure(config, data, 0, quiet=True)
    return single(sys.modules[__name__], config, 0, metrics, provenance=provenance)
