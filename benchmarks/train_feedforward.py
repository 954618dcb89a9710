"""A training step of a feed-forward classifier on Fashion-MNIST as first-spike times: forward, backward, Adam.

784 inputs, 200 hidden current-based LIF neurons, 10 leaky read-outs; batch 256, 100 steps, .4 % of the inputs spike per step;
single precision. Data is kept as one spike time per pixel and grey value; choosing a batch and bringing it into the form that a
system takes (events, or a tensor [T, B, N]) is part of the step.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness import Benchmark, main
from peers.classifier import Task, check, kernels, systems
from spiketwin.experiments.data import DataError, Samples, load
from spiketwin.experiments.studies.gradients import ttfs
from spiketwin.experiments.studies.gradients.fashion_ttfs import Config

BATCH, PIXELS, CLASSES = 256, 784, 10


def images() -> tuple[Samples, str]:
    """Training images and where they are from; random ones with about as many bright pixels where Fashion-MNIST is missing."""
    try:
        return load("fashion-mnist").train, "Fashion-MNIST"
    except DataError:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (10_000, PIXELS)) * (rng.random((10_000, PIXELS)) < 0.5)
        return Samples(pixels.astype(np.uint8), rng.integers(0, CLASSES, 10_000), 255), "random images, for want of Fashion-MNIST"


def task(quick: bool) -> Task:
    config = Config(hidden=50 if quick else 200, weight_scale=1.2)
    batch = 32 if quick else BATCH

    def batches() -> Iterator:
        samples, _ = images()
        spikes, rng = ttfs.FirstSpikes(samples, config), np.random.default_rng(1)
        while True:
            index = np.sort(rng.integers(0, len(samples), batch))
            yield spikes.batch(index), samples.labels[index].astype(np.int64)

    return Task(config, PIXELS, CLASSES, batch, batches)


def benchmark(quick: bool) -> Benchmark:
    made = task(quick)
    return Benchmark(
        "train_feedforward",
        "How long does a training step of a feed-forward spiking classifier take?",
        systems(lambda: made),
        unit="training step",
        check=check,
        kernels=lambda threads: kernels(made, threads),
        notes={
            "size": f"{PIXELS}-{made.config.hidden}-{CLASSES}, batch {made.batch}, {made.steps} steps, float32",
            "wanted": "5 times the best peer at least, better 8; the loop that keeps its input sparse is our own, and harder to beat than what there is to install",
        },
    )


if __name__ == "__main__":
    main(benchmark)
