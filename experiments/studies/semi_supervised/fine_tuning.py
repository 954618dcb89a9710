"""Learning by surrogate gradients from a start, with few labels or all, at the learning rate that is best on validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spiketwin.experiments.data import Dataset
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import training_settings
from spiketwin.experiments.studies.gradients.classifier import Classifier
from spiketwin.experiments.studies.gradients.image_classifier import mean_output
from spiketwin.experiments.studies.semi_supervised.contrast import on_and_off
from spiketwin.experiments.studies.semi_supervised.starts import network
from spiketwin.experiments.studies.semi_supervised.stdp_pretraining import ALL, Config, SemiSupervisedError, worth
from spiketwin.experiments.training import Constant, Row, Schedule, activity, fit
from spiketwin.models.engines.torch.stacks.stack import Stack


def classifier(config: Config, data: Dataset, start: str, learnt: Sequence[Tensor], seed: int) -> Classifier:
    net = network(config, start, learnt, seed, side=data.shape[-1], classes=len(data.classes))

    def loss(run, labels):
        return functional.cross_entropy(mean_output(run), labels)

    return Classifier(net, data, on_and_off, mean_output, loss, config.steps, settings=training_settings(config))


def labelled(labels: np.ndarray, of_each: int, seed: int) -> np.ndarray:
    """Which images have a label: all, or so many of each class, drawn from the seed; the same for every start.

    Raises SemiSupervisedError when a class has fewer.
    """
    if of_each == ALL:
        return np.arange(len(labels))
    rng = np.random.default_rng([seed, 8])
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:of_each] for k in np.unique(labels)]
    if (fewest := min(map(len, chosen))) < of_each:
        raise SemiSupervisedError(f"labels = {of_each} of each class, but one class has only {fewest}; ask for at most so many")
    return np.sort(np.concatenate(chosen))


def teach(
    config: Config,
    data: Dataset,
    start: str,
    labels: int,
    rate: float,
    learnt: Sequence[Tensor],
    seed: int,
    *,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> tuple[Classifier, list[Row]]:
    """One training: the network with its best weights on validation, and a row for each look at these images.

    checkpoint: what a stopped one goes on from.
    """
    made, chosen = classifier(config, data, start, learnt, seed), labelled(data.train.labels, labels, seed)
    looks, steps = config.course(labels)
    right = torch.as_tensor(data.train.labels)
    assert isinstance(made.net, Stack)
    last = list(made.net.neuron_layers())[-1]

    def loss(index: np.ndarray, rng: np.random.Generator):
        drawn = chosen[rng.integers(len(chosen), size=len(index))]
        run = made.run(data.train, drawn, rng)
        hidden = [s.detach().flatten(2) for name, s in run.spikes.items() if name != last]
        return made.loss(run, right[drawn]), activity(torch.cat(hidden, dim=2))

    of = "all labels" if labels == ALL else f"{labels} labels of each class"
    with progress(f"from {start}, {of}, learning rate {rate:g}", looks, quiet=quiet) as show:
        history = fit(
            made.net,
            loss,
            lambda: made.accuracy(data.validation),
            samples=steps * config.batch_size,
            schedule=Schedule(looks, config.batch_size, rate, Constant()),
            seed=seed,
            checkpoint=checkpoint,
            show=show,
            settings=made.settings,
        )
    return made, history


def tune(
    config: Config,
    data: Dataset,
    start: str,
    labels: int,
    learnt: Sequence[Tensor],
    seed: int,
    folder: Path | None = None,
    *,
    quiet: bool = False,
) -> tuple[Classifier, float, list[Row]]:
    """(network, learning rate, history) of the rate that is worth most on validation; the smaller of equals."""
    best: tuple[Classifier, float, list[Row]] | None = None
    for rate in sorted(config.learning_rates):
        name = f"{start}_{'all' if labels == ALL else labels}_rate_{rate:g}_seed_{seed}.safetensors"
        made, history = teach(config, data, start, labels, rate, learnt, seed, checkpoint=folder / name if folder else None, quiet=quiet)
        if best is None or worth(history, labels) > worth(best[2], labels):
            best = made, rate, history
    assert best is not None
    return best
