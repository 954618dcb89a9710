"""What studies that train a network share: a batch goes in, scores of the classes come out, one loss pulls the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spiketwin.experiments.data import Dataset
from spiketwin.experiments.progress import progress
from spiketwin.experiments.training import Row, Schedule, activity, device, fit
from spiketwin.models.engines.torch.stacks import Stack, StackActivity


@dataclass(frozen=True, eq=False)
class Classifier:
    """A stack, or a network without spikes that is called like one, and what it is to learn.

    feed: (samples, indices, random numbers in training, else None) -> input of the stack.  steps: of an input that stays the same.
    scores: run -> [B, K], the largest of which is the answer.  loss: (run, labels) -> a number.
    record: layer -> states that scores or loss need.  settings: what all of it was made from, which a checkpoint keeps and compares.
    """

    net: Stack | StillNetwork
    data: Dataset
    feed: Callable[[Any, Any, np.random.Generator | None], Tensor]
    scores: Callable[[StackActivity], Tensor]
    loss: Callable[[StackActivity, Tensor], Tensor]
    steps: int | None = None
    record: dict[str, tuple[str, ...]] | None = None
    settings: Mapping[str, Any] = field(kw_only=True)

    def run(self, samples, index, rng: np.random.Generator | None = None) -> StackActivity:
        """What the network makes of the samples `index`, on the device where the network is."""
        x = self.feed(samples, index, rng)
        if torch.is_tensor(x):  # events stay what they are: a network takes them to its device
            x = x.to(next(self.net.parameters()).device)
        return self.net(x, steps=self.steps, record=self.record)

    @torch.no_grad()
    def accuracy(self, samples, *, batch_size: int = 500) -> float:
        """Percent of the samples whose own class scores most; of equal scores the first counts."""
        self.net.eval()
        parts = [np.arange(k, min(k + batch_size, len(samples))) for k in range(0, len(samples), batch_size)]
        votes = np.concatenate([self.scores(self.run(samples, part)).argmax(1).numpy(force=True) for part in parts])
        return 100 * float(np.mean(votes == samples.labels))

    def train(
        self,
        title: str,
        schedule: Schedule,
        seed: int,
        *,
        chosen: np.ndarray | None = None,
        checkpoint: Path | None = None,
        quiet: bool = False,
    ) -> list[Row]:
        """Train on data.train, or those `chosen` of it; the stack ends with the weights that were best on data.validation.

        It is trained, and stays, on the GPU if there is one (`spiketwin.experiments.training.device`).
        """
        self.net.to(device())
        train, labels = self.data.train, torch.as_tensor(self.data.train.labels, device=device())
        chosen = np.arange(len(train)) if chosen is None else chosen
        last = list(self.net.neuron_layers())[-1] if isinstance(self.net, Stack) else ""

        def loss(index: np.ndarray, rng: np.random.Generator):
            run = self.run(train, chosen[index], rng)
            right = self.scores(run).detach().argmax(1) == labels[chosen[index]]
            shown = {"training_accuracy": 100 * right.double().mean().item()}
            if hidden := [s.detach().flatten(2) for name, s in run.spikes.items() if name != last]:
                shown |= activity(torch.cat(hidden, dim=2))
            return self.loss(run, labels[chosen[index]]), shown

        with progress(f"training {title}", schedule.epochs, quiet=quiet) as show:
            return fit(
                self.net,
                loss,
                lambda: self.accuracy(self.data.validation),
                samples=len(chosen),
                schedule=schedule,
                seed=seed,
                checkpoint=checkpoint,
                show=show,
                settings=self.settings,
            )


class StillNetwork(nn.Module):
    """A network without time and spikes, called as a stack is; its output is [1, B, K]."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor, steps: int | None = None, *, record: Mapping[str, tuple[str, ...]] | None = None) -> StackActivity:
        return StackActivity(self.layers(x)[None], {}, {}, {})


def counts(run: StackActivity) -> Tensor:
    """Spikes of each output neuron [B, K]."""
    return run.output.sum(0)


def images(samples, index, rng: np.random.Generator | None = None) -> Tensor:
    """Square images as [B, 1, side, side] in 0 … 1, to be shown at every step."""
    pixels = samples.images[index]
    side = round(pixels.shape[1] ** 0.5)
    return torch.tensor(pixels.reshape(-1, 1, side, side), dtype=torch.float32) / samples.maximum
