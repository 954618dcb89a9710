"""Spoken words as the spikes of a cochlea, told apart by a recurrent spiking network, by one with learned delays, and by a line.

    events of cochlea channels -> recurrent neurons -> read-outs                      rsnn
                               -> neurons -> neurons -> read-outs, each synapse of the first two layers with a delay of its own
                               -> counts of each channel, in all or per tenth of the time -> linear support vector machine

Words come from speakers that training does not hear. Epochs and settings are chosen on validation, whose speakers differ again.

Source: Cramer et al. 2022, IEEE TNNLS 33 (data, recurrent network); Hammouamri, Khalfaoui-Hassani & Masquelier 2024, ICLR (delays).
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np

from spiketwin.experiments.data import Dataset, EventSamples
from spiketwin.experiments.data import load as load_data
from spiketwin.experiments.data.speech import fsdd, heidelberg, spoken
from spiketwin.experiments.data.speech.cochlea import Cochlea
from spiketwin.experiments.protocol import Result, measured, single, training_settings
from spiketwin.models.spikes import Spikes

QUESTION = "How well does a spiking network understand digits spoken by new voices, and do learned delays help?"
NAME = "spoken"
RSNN, DELAYS, LINEAR = "rsnn", "delays", "linear"
# of all seeds together
SPLIT = (
    "by speaker: 500 words of one for test, 500 of the next for validation, 2,000 of the other four for training; "
    f"seeds 0, 1, … test on {', '.join(fsdd.SPEAKERS)}"
)
BINS = 10
PENALTIES = (1e-4, 1e-3, 1e-2)


@dataclass(frozen=True)
class Config:
    """Three listeners to the same events."""

    BESIDE_TRAINING: ClassVar = ("listeners",)

    data: Literal["spoken", "shd"] = "spoken"
    """Spoken digits through this project's cochlea, or the Spiking Heidelberg Digits. Of the former, seed s tests on speaker s of six:
    there are no further seeds for new voices."""
    files: str = ""
    """A folder with shd_train.h5 and shd_test.h5 of your own, in the format of the Heidelberg digits; used in their place."""
    voices: Literal["new", "known"] = "new"
    """Test on speakers that training lacks, or on the published split of spoken, by utterance."""
    listeners: tuple[str, ...] = (RSNN, DELAYS, LINEAR)
    """Which of rsnn, delays and linear to train."""
    channels: int = 64
    """Cochlea channels of spoken; shd has 700."""
    duration_ms: float = 1000.0
    """Events from here on are left out."""
    steps: int = 100
    """Steps of a word: dt is duration/steps."""
    hidden: int = 200
    """Hidden neurons of rsnn, which feed each other."""
    delay_hidden: int = 64
    """Neurons of each of the two layers of delays."""
    max_delay_ms: float = 150.0
    """Longest delay of a synapse."""
    tau_mem_ms: float = 20.0
    """Membrane time constant of hidden neurons."""
    tau_syn_ms: float = 10.0
    """Synaptic time constant."""
    tau_out_ms: float = 100.0
    """Membrane time constant of read-outs."""
    readout: Literal["max", "mean"] = "mean"
    """What of a read-out's membrane decides: its highest value, or its mean over time."""
    weight_scale: float = 1.0
    """Initial weights of rsnn are normal with this deviation over the square root of the inputs."""
    delay_weight_scale: float = 1.5
    """The same of the layers with delays, over whose width a spike is spread out at first."""
    surrogate_scale: float = 10.0
    """Steepness of the surrogate gradient 1/(scale |v - 1| + 1)^2."""
    regulariser: float = 0.0
    """Price of a hidden spike, averaged over a batch."""
    time_shift_ms: float = 0.0
    """Words of training come earlier or later by up to this, at random."""
    epochs: int = 15
    """Passes of rsnn through the training words."""
    delay_epochs: int = 12
    """Passes of delays; in the first quarter of them its delays are spread out."""
    batch_size: int = 64
    """Words of a training step."""
    learning_rate: float = 1e-3
    """Adam's at the start; it falls along half a cosine."""
    delay_learning_rate: float = 2e-3
    """The same for delays."""
    clip_norm: float = 1.0
    """Gradients longer than this are shortened to it."""

    def __post_init__(self) -> None:
        if strange := set(self.listeners) - {RSNN, DELAYS, LINEAR}:
            raise ValueError(f"unknown listener '{min(strange)}'; choose from {RSNN}, {DELAYS}, {LINEAR}")
        for name in ("epochs", "delay_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive")

    @property
    def dt_ms(self) -> float:
        return self.duration_ms / self.steps


def load(config: Config, seed: int) -> Dataset[EventSamples]:
    """The words. Raises DataError that says how to get the files where there are none, ValueError for a seed without a speaker."""
    if config.data == "shd" and config.files:
        return heidelberg.shd(*(Path(config.files) / f"shd_{part}.h5" for part in ("train", "test")))
    if config.data == "shd":
        return load_data("shd")
    cochlea = Cochlea(channels=config.channels)
    if config.voices == "known":
        return spoken.known_voices(cochlea=cochlea)
    if not 0 <= seed < len(fsdd.SPEAKERS):
        raise ValueError(
            f"seed = {seed} has no speaker to test on, and none may count twice; give seeds out of "
            f"{', '.join(f'{k} ({name})' for k, name in enumerate(fsdd.SPEAKERS))}, or voices = 'known'"
        )
    return spoken.load(fsdd.SPEAKERS[seed], cochlea=cochlea)


# -- networks --------------------------------------------------------------------------------------------------


def classifier(config: Config, data: Dataset, seed: int, listener: str = RSNN):
    """The network, initialised from `seed`: rsnn, which is fed events, or delays."""
    import torch

    from spiketwin.experiments.studies.gradients.classifier import Classifier
    from spiketwin.experiments.studies.recurrent.spoken_networks import delayed, recurrent
    from spiketwin.rules.losses import max_cross_entropy, negative_log_likelihood
    from spiketwin.rules.regularisers import spike_penalty
    from spiketwin.rules.surrogate import fast_sigmoid

    how: dict[str, Any] = {
        "taus_ms": (config.tau_mem_ms, config.tau_syn_ms, config.tau_out_ms),
        "dt_ms": config.dt_ms,
        "surrogate": fast_sigmoid(config.surrogate_scale),
        "seed": seed,
    }
    if listener == RSNN:
        net = recurrent(data.inputs, config.hidden, len(data.classes), scale=config.weight_scale, **how)
    else:
        layer = f"FC{config.delay_hidden}d{config.max_delay_ms:g}"
        quarter = config.delay_epochs * -(-len(data.train) // config.batch_size) / 4
        text = f"{layer}-{layer}-FC{len(data.classes)}"
        net = delayed(text, data.inputs, scale=config.delay_weight_scale, anneal_batches=max(1, round(quarter)), **how)

    def feed(samples: EventSamples, index, rng: np.random.Generator | None):
        words = samples.batch(index, dt_ms=config.dt_ms, duration_ms=config.duration_ms)
        if rng is not None and config.time_shift_ms:
            words = shifted(words, config.time_shift_ms, rng)
        return words if listener == RSNN else torch.from_numpy(words.dense(np.float32))

    def scores(run):
        return run.output.amax(0) if config.readout == "max" else run.output.mean(0)

    def loss(run, labels):
        if config.readout == "max":
            value = max_cross_entropy(run.output, labels)
        else:
            value = negative_log_likelihood(scores(run).log_softmax(1), labels)
        hidden = list(run.spikes.values())
        return value + sum(spike_penalty(s, config.regulariser / len(labels)) for s in hidden) if config.regulariser else value

    # what a Classifier trains is called as a stack is, whatever its class
    return Classifier(cast(Any, net), data, cast(Any, feed), scores, loss, settings=training_settings(config))


def shifted(words: Spikes, most_ms: float, rng: np.random.Generator) -> Spikes:
    """Each word moved as a whole by up to `most_ms` either way, whole steps, drawn evenly; what leaves the grid is lost."""
    T, B, _ = words.shape
    most = round(most_ms / words.dt_ms)
    step = words.step + rng.integers(-most, most + 1, B)[words.batch]
    keep = (step >= 0) & (step < T)
    return Spikes(step[keep], words.batch[keep], words.neuron[keep], words.shape, words.dt_ms)


# -- a line ----------------------------------------------------------------------------------------------------


def counted(samples: EventSamples, config: Config, bins: int) -> np.ndarray:
    """Events of each channel in each of `bins` equal parts of the time, float32 [B, bins · N]."""
    words = samples.batch(dt_ms=config.duration_ms / bins / BINS, duration_ms=config.duration_ms)
    _, B, N = words.shape
    place = (words.batch * bins + words.step // BINS) * N + words.neuron
    return np.bincount(place, minlength=B * bins * N).reshape(B, bins * N).astype(np.float32)


def linear(config: Config, data: Dataset, bins: int) -> tuple[float, float]:
    """(test, validation) accuracy of a linear support vector machine on counts; its penalty is chosen on validation."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    x = {part: counted(getattr(data, part), config, bins) for part in ("train", "validation", "test")}

    def fitted(penalty: float):
        return make_pipeline(StandardScaler(), LinearSVC(C=penalty, tol=1e-2, max_iter=200, random_state=0)).fit(
            x["train"], data.train.labels
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        machines = [fitted(penalty) for penalty in PENALTIES]
    reached = [100 * m.score(x["validation"], data.validation.labels) for m in machines]
    best = int(np.argmax(reached))
    return 100 * float(machines[best].score(x["test"], data.test.labels)), reached[best]


# -- the study -------------------------------------------------------------------------------------------------


def trained(config: Config, data: Dataset, seed: int, listener: str, folder: Path | None = None, *, quiet: bool = False):
    """(network, history) of rsnn or delays."""
    from spiketwin.experiments.training import Schedule

    made = classifier(config, data, seed, listener)
    epochs, rate = (config.epochs, config.learning_rate) if listener == RSNN else (config.delay_epochs, config.delay_learning_rate)
    history = made.train(
        f"{config.data}, {listener}, seed {seed}",
        Schedule(epochs, config.batch_size, rate, clip_norm=config.clip_norm),
        seed,
        checkpoint=folder / f"checkpoint_{listener}_{seed}.safetensors" if folder else None,
        quiet=quiet,
    )
    return made, history


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False):
    """The trained networks, for the cross-check."""
    data, found = load(config, seed), {}
    for listener in (RSNN, DELAYS):
        if listener in config.listeners:
            made, _ = trained(config, data, seed, listener, folder, quiet=quiet)
            # of the network that anneals its delays the cross-check runs what is left when they are sharp
            found[listener] = made if listener == RSNN else replace(made, net=cast(Any, made.net).net)
    return found


def measure(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False):
    """(metrics, curves) of one seed."""
    from spiketwin.experiments.training import best_epoch

    found: dict[str, float] = {}
    curves: dict[str, Any] = {}
    for listener, ending in ((RSNN, ""), (DELAYS, "_delays")):
        if listener not in config.listeners:
            continue
        made, history = trained(config, data, seed, listener, folder, quiet=quiet)
        best = best_epoch(history)
        found |= {
            f"test_accuracy{ending}": made.accuracy(data.test),
            f"validation_accuracy{ending}": best["validation_accuracy"],
            f"training_accuracy{ending}": best["training_accuracy"],
            f"spikes_per_neuron{ending}": best["spikes_per_neuron"],
            f"silent_share{ending}": 100 * best["silent_share"],
            f"best_epoch{ending}": best["epoch"],
            f"training_minutes{ending}": sum(row["seconds"] for row in history) / 60,
        }
        names = ("loss", "training_accuracy", "validation_accuracy", "spikes_per_neuron")
        curves[listener] = {name: [row[name] for row in history] for name in names}
    if LINEAR in config.listeners:
        start = time.perf_counter()
        for name, bins in (("counts", 1), ("binned", BINS)):
            found[f"test_accuracy_linear_{name}"], found[f"validation_accuracy_linear_{name}"] = linear(config, data, bins)
        found["training_minutes_linear"] = (time.perf_counter() - start) / 60
    return found, curves


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return run_as(sys.modules[__name__], config, seed, folder)


def run_as(experiment, config: Config, seed: int, folder: Path | None = None) -> Result:
    """The Result under the name of `experiment`."""
    data = load(config, seed)
    with measured(split=SPLIT if config.data == "spoken" and config.voices == "new" else data.split) as provenance:
        found, curves = measure(config, data, seed, folder)
    return single(experiment, config, seed, found, curves=curves, provenance=provenance)


def smoke() -> Result:
    """Few epochs of small networks with few channels, on known voices."""
    config = replace(
        Config(), voices="known", channels=16, steps=40, hidden=48, delay_hidden=24, max_delay_ms=100, epochs=4, delay_epochs=4
    )
    config = replace(config, learning_rate=5e-3)
    whole = load(config, 0)
    small = replace(whole, train=whole.train[::3], validation=whole.validation[::2], test=whole.test[::2])
    with measured(split=f"smoke test: a part of {whole.split}") as provenance:
        found, curves = measure(config, small, 0, quiet=True)
    assert np.isfinite(list(found.values())).all()
    return single(sys.modules[__name__], config, 0, found, curves=curves, provenance=provenance)
