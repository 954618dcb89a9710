"""The rules of local_against_global, by name, and one network taught by one of them.

A rule is called as rule(net, x, labels) and returns a Lesson (rules/local/lesson.py): what an optimiser is to descend. A rule without
a loss, such as STDP, fits in too: its lesson's gradients are minus the changes that it makes, and the same optimiser takes them. A new one is
a line in METHODS, with the learning rate that was best on validation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from spiketwin.experiments.data import Dataset
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import training_settings
from spiketwin.experiments.studies.gradients.classifier import Classifier
from spiketwin.experiments.training import Row, Schedule, fit
from spiketwin.models import stack
from spiketwin.models.decoders import membrane_mean
from spiketwin.models.encoders import bernoulli
from spiketwin.models.engines.torch.stacks import Stack
from spiketwin.models.spec import unknown
from spiketwin.models.stacks.cells import leaky, leaky_integrator
from spiketwin.rules.local import (
    Bptt,
    Decolle,
    DirectFeedbackAlignment,
    EProp,
    FeedbackAlignment,
    LearningRule,
    Neuromodulated,
    Random,
    Stdp,
    Symmetric,
)
from spiketwin.rules.losses import step_cross_entropy
from spiketwin.rules.surrogate import fast_sigmoid

if TYPE_CHECKING:
    from spiketwin.experiments.studies.learning_rules.local.local_against_global import Config

ENCODING_SEED = 12345  # of the spikes of validation and test images


@dataclass(frozen=True)
class Method:
    """rule: (config, seed) -> the rule.  learning_rate: Adam's at the start."""

    rule: Callable[[Config, int], LearningRule]
    learning_rate: float


METHODS: Mapping[str, Method] = {
    "bptt": Method(lambda config, seed: Bptt(), 3e-3),
    "eprop": Method(lambda config, seed: EProp(Symmetric(), chunk_steps=config.chunk_steps), 3e-3),
    "eprop_random": Method(lambda config, seed: EProp(Random(seed), chunk_steps=config.chunk_steps), 5e-3),
    "feedback_alignment": Method(lambda config, seed: FeedbackAlignment(seed), 3e-3),
    "direct_feedback_alignment": Method(lambda config, seed: DirectFeedbackAlignment(seed), 5e-3),
    "decolle": Method(lambda config, seed: Decolle(seed, chunk_steps=config.chunk_steps), 5e-3),
    "neuromodulated": Method(lambda config, seed: Neuromodulated(seed=seed, chunk_steps=config.chunk_steps), 5e-3),
    "stdp": Method(lambda config, seed: Stdp(chunk_steps=config.chunk_steps), 5e-3),
}


def method(name: str) -> Method:
    """Raises ValueError that suggests the closest name."""
    if name not in METHODS:
        raise ValueError(unknown(name, "method", "local_against_global", METHODS))
    return METHODS[name]


def network(config: Config, inputs: int, classes: int, seed: int) -> Stack:
    """The same for all methods with the same seed."""
    net = stack(
        f"{config.hidden_layers}-FC{classes}",
        neuron=leaky(config.tau_mem_ms),
        readout=leaky_integrator(config.tau_out_ms),
        dt_ms=config.dt_ms,
        input_shape=(inputs,),
        surrogate=fast_sigmoid(config.surrogate_scale),
        seed=seed,
    )
    with torch.no_grad():
        # torch's own weights suit inputs of order 1; few pixels spike in a step
        net.get_parameter("parts.fc1.module.fc1.weight").mul_(config.input_weight_scale)
    return net


def spikes(config: Config, samples, index: np.ndarray, rng: np.random.Generator | None) -> Tensor:
    """Images as spikes [T, B, N], drawn anew in training."""
    seed = ENCODING_SEED + int(index[0]) if rng is None else int(rng.integers(2**31))
    made = bernoulli(
        samples.images[index] / samples.maximum, rate_hz=config.rate_hz, duration_ms=config.duration_ms, dt_ms=config.dt_ms, seed=seed
    )
    return torch.from_numpy(made.dense(np.float32))


def classifier(config: Config, data: Dataset, seed: int) -> Classifier:
    net = network(config, data.inputs, len(data.classes), seed)
    return Classifier(
        net,
        data,
        lambda samples, index, rng: spikes(config, samples, index, rng),
        lambda run: membrane_mean(run.output),
        lambda run, labels: step_cross_entropy(run.output, labels),
        settings=training_settings(config),
    )


def teach(
    name: str, config: Config, data: Dataset, seed: int, *, rate: float | None = None, checkpoint: Path | None = None, quiet: bool = False
) -> tuple[Classifier, list[Row]]:
    """(the network taught by a method, a row per epoch). The epoch kept is the best on data.validation. rate: learning rate, by default that of METHODS."""
    made, chosen = classifier(config, data, seed), method(name)
    rule, labels, net = chosen.rule(config, seed), torch.as_tensor(data.train.labels), made.net
    assert isinstance(net, Stack)

    def loss(index: np.ndarray, rng: np.random.Generator):
        lesson = rule(net, spikes(config, data.train, index, rng), labels[index])
        right = membrane_mean(lesson.output).argmax(1) == labels[index]
        fired = torch.cat(list(lesson.counts.values()), dim=1)
        return lesson.objective(net), {
            "training_accuracy": 100 * right.double().mean().item(),
            "spikes_per_neuron": fired.mean().item(),
            "silent_share": (fired.sum(0) == 0).double().mean().item(),
        }

    schedule = Schedule(config.epochs, config.batch_size, (rate or chosen.learning_rate) * config.learning_rate_factor)
    with progress(f"{rule.name}, seed {seed}", config.epochs, quiet=quiet) as show:
        history = fit(
            net,
            loss,
            lambda: made.accuracy(data.validation),
            samples=len(data.train),
            schedule=schedule,
            seed=seed,
            checkpoint=checkpoint,
            show=show,
            settings=made.settings,
        )
    return made, history
