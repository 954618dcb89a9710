"""Training, evaluation and loading of the time-to-first-spike classifiers of ttfs.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from spiketwin.experiments.data import Dataset
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import COMMITTED, ResultError, training_settings
from spiketwin.experiments.studies.gradients.ttfs import (
    HIDDEN,
    INPUT,
    OUTPUT,
    FirstSpikes,
    Trained,
    TTFSConfig,
    checkpoint,
    decide,
    network,
    percent,
    weights,
)
from spiketwin.experiments.training import Constant, Cosine, Loss, Row, Schedule, activity, device, fit
from spiketwin.models.engines.torch import Activity, TorchNetwork
from spiketwin.models.network import Network
from spiketwin.rules.losses import max_cross_entropy, spike_penalty
from spiketwin.rules.surrogate import fast_sigmoid

Run = Callable[..., Activity]  # a TorchNetwork, or what is called like one


def train(experiment: str, config: TTFSConfig, data: Dataset, seed: int, *, checkpoint: Path | None = None, quiet: bool = False) -> Trained:
    """Train on data.train, keep the epoch that is best on data.validation, predict data.test once.

    checkpoint: file to resume from, renewed after each epoch.  Single precision for training, double for the prediction;
    on the GPU if there is one.
    """
    start = network(config, data.inputs, len(data.classes), seed)
    module = TorchNetwork(start, dt_ms=config.dt_ms, scheme=config.scheme, surrogate=fast_sigmoid(config.surrogate_scale)).to(device())
    held_out = FirstSpikes(data.validation, config)

    with progress(f"training {experiment}, seed {seed}", config.epochs, quiet=quiet) as show:
        history = fit(
            module,
            objective(module, FirstSpikes(data.train, config, data.shape)),
            lambda: percent(predict(module, held_out) == data.validation.labels),
            samples=len(data.train),
            schedule=schedule(config),
            seed=seed,
            checkpoint=checkpoint,
            show=show,
            settings=training_settings(config),
        )
    # the weights alone: the module's time constants were rounded to single precision
    trained = replace(start, projections=module.to_network().projections)
    return evaluated(experiment, config, seed, trained, data, history)


def objective(run: Run, spikes: FirstSpikes) -> Loss:
    """What training minimises: the cross-entropy of the highest membranes, and the price of hidden spikes."""
    config, labels, inputs = spikes.config, torch.as_tensor(spikes.samples.labels), spikes.samples.images.shape[1]

    def loss(index: np.ndarray, rng: np.random.Generator):
        keep = rng.random((len(index), inputs)) >= config.input_dropout if config.input_dropout else None
        mirrored = rng.random(len(index)) < config.flip_probability if config.flip_probability else None
        found = run({INPUT: spikes.batch(index, keep, mirrored)}, record={OUTPUT: ("v",)})
        v, hidden = found.states[OUTPUT]["v"] * 1e3, found.spikes[HIDDEN]
        value = max_cross_entropy(v, labels[index].to(v.device))
        if config.regulariser:
            value = value + spike_penalty(hidden, config.regulariser)
        hits = decide(v.numpy(force=True)) == spikes.samples.labels[index]
        return value, {"training_accuracy": percent(hits), **activity(hidden)}

    return loss


def schedule(config: TTFSConfig) -> Schedule:
    return Schedule(config.epochs, config.batch_size, config.learning_rate, Cosine() if config.decay else Constant())


def evaluated(experiment: str, config: TTFSConfig, seed: int, trained: Network, data: Dataset, history: list[Row]) -> Trained:
    """A trained network with its float64 predictions on the test images."""
    spikes = FirstSpikes(data.test, config)
    predictions = predict(TorchNetwork(trained, dt_ms=config.dt_ms, scheme=config.scheme, dtype=torch.float64).to(device()), spikes)
    return Trained(
        experiment, config, seed, trained, {INPUT: spikes.batch(slice(None))}, data.test.labels, predictions, data.split, history
    )


@torch.no_grad()
def predict(run: Run, spikes: FirstSpikes, batch_size: int = 500) -> np.ndarray:
    """Predicted classes [B] of all samples."""
    parts = (slice(start, start + batch_size) for start in range(0, len(spikes), batch_size))
    return np.concatenate(
        [decide(run({INPUT: spikes.batch(p)}, record={OUTPUT: ("v",)}).states[OUTPUT]["v"].numpy(force=True)) for p in parts]
    )


def offered(
    experiment: str, config: TTFSConfig, data: Dataset, seed: int, folder: Path | None, *, size: str = "", quiet: bool = False
) -> Trained:
    """The trained network of a study: of the checkpoint in `folder`, if there is none of its committed weights, else trained now."""
    resumes_from, published = checkpoint(folder, seed, size), weights(COMMITTED / experiment, seed, size)
    if published.is_file() and not (resumes_from and resumes_from.is_file()):
        found = load_weights(published, type(config), data)
        if (found.config, found.seed) == (config, seed):
            return found
    return train(experiment, config, data, seed, checkpoint=resumes_from, quiet=quiet)


def load_weights(path: Path, config_type: type[TTFSConfig], data: Dataset) -> Trained:
    """The trained network of a file, evaluated on the test images of `data`. Raises ResultError when the file does not hold one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            notes, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # not a dict
        config = config_type(**json.loads(notes["config"]))
    except (SafetensorError, KeyError, TypeError, OSError) as error:
        raise ResultError(
            f"{path} does not hold the weights of a trained network ({error}); train it with: spiketwin run NAME --publish"
        ) from None
    bare = network(config, data.inputs, len(data.classes), int(notes["seed"]))
    if {p.name: p.shape for p in bare.projections} != {name: w.shape for name, w in tensors.items()}:
        raise ResultError(f"{path} holds weights of other shapes than its settings say; train anew")
    trained = replace(bare, projections=tuple(replace(p, weights=tensors[p.name].astype(np.float64)) for p in bare.projections))
    return evaluated(notes["experiment"], config, int(notes["seed"]), trained, data, json.loads(notes["history"]))
