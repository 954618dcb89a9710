"""Local against global: the same recurrent network learns the same digits by eight rules, from backpropagation through time to rules
whose synapses know nothing but their two neurons, their own layer and a random projection of an error.

Each rule starts from the same weights and sees the same spikes in the same order. Accuracy is that of the epoch that was best on validation;
learning rates were chosen on validation, too, with fewer images. The memory of a training step is that of a process of its own, above
what it needs to hold the input, for trials of several lengths; rules that go forward in time are fed in pieces of chunk_steps.
E-prop then keeps a number for every synapse and every trial of the batch: its memory does not grow, but is not small. The table
says, beside these, what a synapse had to know. No rule is tuned beyond that: numbers tell rules apart, not the best that each can do.

STDP differs from the others in that no label and no error reaches its hidden layers, and no loss says what they should do: their forward weights
learn by a trace rule, recurrent ones by inhibitory STDP, biases keep the rate (rules/local/stdp.py). Network, spikes, optimiser and the
read-out, which learns by its own error, are those of all.

A further rule is a line in methods.METHODS.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from spiketwin.experiments.data import Dataset, load
from spiketwin.experiments.protocol import Result, measured, single, write_text

QUESTION = "What does it cost a spiking network to learn by local rules: accuracy, memory, time, and what must each synapse know?"
NAME = "local_against_global"
OBJECTIVE = "eprop_validation_accuracy"


@dataclass(frozen=True)
class Config:
    """Two recurrent layers of leaky neurons between pixels and leaky read-outs."""

    BESIDE_TRAINING: ClassVar = ("methods", "memory_steps")

    data: str = "mnist"
    """Data set of images (spiketwin data)."""
    training_samples: int = 20_000
    """How many of the training images to use, the first ones; 0 for all."""
    test_samples: int = 0
    """How many of the validation and test images to use, the first ones; 0 for all."""
    hidden_layers: str = "FC128R-FC128R"
    """Hidden layers as text; R: recurrent."""
    methods: tuple[str, ...] = (
        "bptt",
        "eprop",
        "eprop_random",
        "feedback_alignment",
        "direct_feedback_alignment",
        "decolle",
        "neuromodulated",
        "stdp",
    )
    """Rules to compare (methods.py)."""
    learning_rate_factor: float = 1.0
    """Multiplies Adam's learning rate of every rule."""
    tau_mem_ms: float = 20.0
    """Membrane time constant of the hidden neurons."""
    tau_out_ms: float = 20.0
    """Membrane time constant of the read-outs."""
    dt_ms: float = 1.0
    """Step in ms."""
    duration_ms: float = 25.0
    """Length of a trial in ms."""
    rate_hz: float = 300.0
    """Rate of a white pixel."""
    input_weight_scale: float = 3.0
    """Multiplies the initial weights from the pixels."""
    surrogate_scale: float = 10.0
    """Steepness of the surrogate gradient 1/(scale |v - 1| + 1)^2."""
    epochs: int = 3
    """Passes through the training images."""
    batch_size: int = 50
    """Images of a training step."""
    chunk_steps: int = 25
    """Steps after which rules that go forward in time use the error."""
    memory_steps: tuple[int, ...] = (25, 100, 400, 1600)
    """Lengths of a trial, in steps, to measure the memory of a training step for."""

    def __post_init__(self) -> None:
        for name in ("training_samples", "test_samples"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1, or 0 for all")
        if not 0 < self.input_weight_scale < np.inf:
            raise ValueError(f"input_weight_scale = {self.input_weight_scale} must be positive and finite")
        if not self.methods:
            raise ValueError("there are no methods to compare; leave methods out for all of them")
        if not all(steps >= 1 for steps in self.memory_steps):
            raise ValueError(f"memory_steps = {self.memory_steps} must all be at least 1")


def dataset(config: Config) -> Dataset:
    whole = load(config.data)
    train = whole.train[: config.training_samples or None]
    validation, test = (part[: config.test_samples or None] for part in (whole.validation, whole.test))
    numbers = f"the first {len(train)} training, {len(validation)} validation and {len(test)} test images of: "
    return replace(whole, train=train, validation=validation, test=test, split=numbers + whole.split)


def measure(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False):
    """(metrics, curves) of one seed."""
    from spiketwin.experiments.studies.learning_rules.local.memory import peaks_mb
    from spiketwin.experiments.studies.learning_rules.local.methods import method, teach
    from spiketwin.experiments.training import best_epoch

    for name in config.methods:
        method(name)  # a wrong name must not wait for its turn
    found: dict[str, float] = {}
    curves: dict[str, Any] = {"knows": {}, "validation_accuracy": {}, "learning_rate": {}}
    for name in config.methods:
        checkpoint = folder / f"{name}_{seed}.safetensors" if folder else None
        made, history = teach(name, config, data, seed, checkpoint=checkpoint, quiet=quiet)
        best = best_epoch(history)
        found |= {
            f"{name}_test_accuracy": made.accuracy(data.test),
            f"{name}_validation_accuracy": best["validation_accuracy"],
            f"{name}_epoch_seconds": min(row["seconds"] for row in history),
            f"{name}_spikes_per_neuron": best["spikes_per_neuron"],
            f"{name}_silent_share": 100 * best["silent_share"],
        }
        if config.memory_steps:
            peaks = peaks_mb(name, config, data.inputs, len(data.classes))
            found |= {f"{name}_peak_mb_at_{steps}_steps": peak for steps, peak in zip(config.memory_steps, peaks)}
        rule = method(name).rule(config, seed)
        curves["knows"][name] = {"label": rule.name, "source": rule.source, **asdict(rule.locality)}
        curves["validation_accuracy"][name] = [row["validation_accuracy"] for row in history]
        curves["learning_rate"][name] = method(name).learning_rate * config.learning_rate_factor
    return found, curves


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False):
    """The network that each rule trained, for the cross-check."""
    from spiketwin.experiments.studies.learning_rules.local.methods import teach

    data = dataset(config)
    checkpoints = {name: folder / f"{name}_{seed}.safetensors" if folder else None for name in config.methods}
    return {name: teach(name, config, data, seed, checkpoint=path, quiet=quiet)[0] for name, path in checkpoints.items()}


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    data = dataset(config)
    with measured(split=data.split) as provenance:
        found, curves = measure(config, data, seed, folder)
    result = single(sys.modules[__name__], config, seed, found, curves=curves, provenance=provenance)
    if folder:
        draw(result).savefig(folder / f"{NAME}_{seed}.png", dpi=150)
        write_text(folder / f"{NAME}_{seed}.md", table(result))
    return result


def smoke() -> Result:
    """Every rule on the digits of scikit-learn, with one small recurrent layer and one without recurrence; no memory."""
    config = replace(
        Config(),
        data="digits",
        training_samples=400,
        hidden_layers="FC32R-FC24",
        input_weight_scale=2.0,
        learning_rate_factor=3.0,
        epochs=2,
        batch_size=20,
        duration_ms=10.0,
        chunk_steps=10,
        memory_steps=(),
    )
    data = dataset(config)
    with measured(split=f"smoke test: {data.split}") as provenance:
        found, curves = measure(config, data, 0, quiet=True)
    assert np.isfinite(list(found.values())).all()
    return single(sys.modules[__name__], config, 0, found, curves=curves, provenance=provenance)


# -- what one sees -------------------------------------------------------------------------------------------------


def knowledge(result: Result) -> Mapping[str, Mapping[str, Any]]:
    """Method -> label, source and what its synapses know; of one seed or several."""
    knows = result.curves["knows"]
    return knows if isinstance(knows, Mapping) else knows[0]


def table(result: Result) -> str:
    """A row per rule, as Markdown: test accuracy, memory, time, and what a synapse must know of i, of j, and from elsewhere."""
    steps = result.config["memory_steps"]
    head = [
        "rule",
        "test accuracy (%)",
        *(f"MB at {n} steps" for n in steps),
        "s per epoch",
        "of neuron i",
        "of neuron j",
        "from elsewhere",
    ]
    rows = [[*head, "weights of others", "forward in time", "a layer waits for", "source"]]
    rows.append(["---"] * len(rows[0]))
    for name, knows in knowledge(result).items():
        memory = [f"{result.mean(f'{name}_peak_mb_at_{n}_steps'):.0f}" for n in steps]
        accuracy = result.metrics[f"{name}_test_accuracy"]
        spread = f" ± {accuracy['std']:.2f}" if len(accuracy["values"]) > 1 else ""
        yes = {True: "yes", False: "no"}
        rows.append(
            [
                knows["label"],
                f"{accuracy['mean']:.2f}{spread}",
                *memory,
                f"{result.mean(f'{name}_epoch_seconds'):.0f}",
                *(knows[part] for part in ("pre", "post", "third")),
                yes[knows["transport"]],
                yes[knows["is_online"]],
                knows["waits"],
                knows["source"],
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def draw(result: Result):
    """Test accuracy with a point per seed, time of an epoch, and memory of a training step against the length of a trial, as a matplotlib Figure."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from spiketwin.experiments.crosscheck.figures import COLOURS, STYLE

    knows, steps = knowledge(result), list(result.config["memory_steps"])
    names, colours = list(knows), [COLOURS[k % len(COLOURS)] for k in range(len(knows))]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10 if steps else 7, 0.32 * len(names) + 1.2), layout="constrained")
        left, middle, *right = figure.subplots(1, 3 if steps else 2, width_ratios=[1.3, 1, 1.3] if steps else [1.3, 1])
        for k, (name, colour) in enumerate(zip(names, colours)):
            values = result.metrics[f"{name}_test_accuracy"]["values"]
            left.plot(values, [k] * len(values), "o", color=colour, markersize=5, alpha=0.8)
            middle.barh(k, result.mean(f"{name}_epoch_seconds"), color=colour, height=0.6)
        left.set_yticks(range(len(names)), [knows[name]["label"] for name in names])
        middle.set_yticks([])
        for axes, label in ((left, "test accuracy (%)"), (middle, "time of an epoch (s)")):
            axes.set(xlabel=label, ylim=(len(names) - 0.5, -0.5))
        left.grid(axis="y", color="0.9")
        for axes in right:
            for name, colour in zip(names, colours):
                dashed = "-" if knows[name]["is_online"] else "--"
                axes.plot(
                    steps, [result.mean(f"{name}_peak_mb_at_{n}_steps") for n in steps], dashed, marker="o", color=colour, markersize=4
                )
            axes.set(xscale="log", yscale="log", xlabel="steps of a trial", ylabel="memory of a training step (MB)")
            axes.set_xticks(steps, [str(n) for n in steps])
            axes.minorticks_off()
            axes.plot([], [], "k-", label="forward in time")
            axes.plot([], [], "k--", label="backward")
            axes.legend()
    return figure
