"""A training step of a recurrent classifier on events as dense as spoken digits: forward, backward, Adam.

700 inputs, 200 recurrent current-based LIF neurons, 20 leaky read-outs; batch 256, 100 steps, 1.5 % of the inputs spike per step;
single precision. The data is generated: each class is a random trajectory over the channels, which every trial jitters. It is kept
as events; choosing a batch and bringing it into the form that a system takes is part of the step.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from harness import Benchmark, main
from peers.classifier import DT_MS, Task, check, kernels, systems
from spiketwin.experiments.studies.gradients.ttfs import TTFSConfig
from spiketwin.models.spikes import Spikes

CHANNELS, CLASSES, STEPS, DENSITY = 700, 20, 100, 0.015


@lru_cache(maxsize=1)
def events(samples: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Per sample the events as step · CHANNELS + channel, sorted, each at most once; labels [samples].

    Three formants per class move over the channels like slow sines; channels near one of them fire more.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, samples)
    time = np.arange(STEPS)[:, None]
    start, swing, period = rng.uniform(100, 600, (CLASSES, 3)), rng.uniform(20, 100, (CLASSES, 3)), rng.uniform(40, 200, (CLASSES, 3))
    distance = np.arange(CHANNELS) - (start[:, None] + swing[:, None] * np.sin(2 * np.pi * time / period[:, None]))[..., None]
    rate = np.exp(-((distance / 25) ** 2) / 2).sum(2)
    probability = DENSITY * rate / rate.mean((1, 2), keepdims=True)
    found = []
    for label in labels:
        shift = rng.integers(-15, 16)
        found.append(np.flatnonzero(rng.random((STEPS, CHANNELS)) < np.roll(probability[label], shift, axis=1)).astype(np.int32))
    return found, labels


def assemble(trials: list[np.ndarray]) -> Spikes:
    """The events of some samples as a batch, ordered by step: a stable sort of what is already ordered within each trial."""
    key = np.concatenate(trials)
    batch = np.repeat(np.arange(len(trials), dtype=np.int32), [len(trial) for trial in trials])
    step, channel = np.divmod(key, np.int32(CHANNELS))
    # short keys are sorted in linear time
    order = np.argsort(step.astype(np.uint8), kind="stable")
    return Spikes(step[order], batch[order], channel[order], (STEPS, len(trials), CHANNELS), DT_MS)


def task(quick: bool) -> Task:
    config = TTFSConfig(hidden=50 if quick else 200, recurrent=True, tmax_ms=STEPS * DT_MS, weight_scale=0.5)
    batch = 32 if quick else 256

    def batches() -> Iterator:
        trials, labels = events(4 * batch)
        rng = np.random.default_rng(1)
        while True:
            index = rng.integers(0, len(trials), batch)
            yield assemble([trials[k] for k in index]), labels[index]

    return Task(config, CHANNELS, CLASSES, batch, batches)


def benchmark(quick: bool) -> Benchmark:
    made = task(quick)
    return Benchmark(
        "train_recurrent",
        "How long does a training step of a recurrent spiking classifier take?",
        systems(lambda: made),
        unit="training step",
        check=check,
        kernels=lambda threads: kernels(made, threads),
        notes={
            "size": f"{CHANNELS}-{made.config.hidden} (recurrent)-{CLASSES}, batch {made.batch}, {made.steps} steps, float32",
            "wanted": "3 times the best peer at least, better 5; the loop that keeps its input sparse is our own, and harder to beat than what there is to install",
            "limits": "the way back multiplies with the recurrent weights in every step, at more than half the rate of a matrix product",
        },
    )


if __name__ == "__main__":
    main(benchmark)
