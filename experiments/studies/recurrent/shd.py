"""The study spoken on the Spiking Heidelberg Digits: ten digits in English and German, as spikes of 700 cochlea channels.

The data are fetched by hand or with SPIKETWIN_DOWNLOAD=1; without them the study says how. Its smoke form writes files in the
same format, with words made up of latencies, and runs all of the study on these.

Source: Cramer, Stradmann, Schemmel & Zenke 2022, IEEE TNNLS 33, 2744-2757: 48.6 % feed-forward, 71.4 % recurrent, 83.2 % with
augmentation; Hammouamri, Khalfaoui-Hassani & Masquelier 2024, ICLR: 95.07 % with learned delays.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from spiketwin.experiments.data import Dataset, EventSamples
from spiketwin.experiments.data.speech import heidelberg
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.studies.recurrent import spoken

QUESTION = "How well does a spiking network understand the Spiking Heidelberg Digits, and do learned delays help?"
NAME = "shd"


@dataclass(frozen=True)
class Config(spoken.Config):
    """Settings of spoken, for words of up to 1.4 s and four times as many."""

    data: Literal["spoken", "shd"] = "shd"
    """The data set."""
    duration_ms: float = 1400.0
    """Events from here on are left out."""
    steps: int = 140
    """Steps of a word: dt is duration/steps."""
    delay_hidden: int = 256
    """Neurons of each of the two layers of delays."""
    max_delay_ms: float = 250.0
    """Longest delay of a synapse."""
    time_shift_ms: float = 100.0
    """Words of training come earlier or later by up to this, at random."""
    epochs: int = 40
    """Passes of rsnn through the training words."""
    delay_epochs: int = 40
    """Passes of delays; in the first quarter of them its delays are spread out."""
    batch_size: int = 128
    """Words of a training step."""


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return spoken.run_as(sys.modules[__name__], config, seed, folder)


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False):
    """The trained networks, for the cross-check."""
    return spoken.networks(config, seed, folder=folder, quiet=quiet)


def made_up(folder: Path, *, classes: int, words: int, speakers: int, seed: int) -> Dataset[EventSamples]:
    """Words of latencies, written to two files in the format of the data and read by its loader.

    In a class each of 700 channels has its time of a spike, a smooth random function of the channel in 50 … 550 ms; two classes differ
    in nothing else. A speaker talks at a pace of .9 … 1.1 of it and begins up to 50 ms late; a spike jitters by 10 ms, and one in
    four is left out.  words: per class and speaker.  Of the speakers two are held out for test, two by the loader for validation.
    """
    rng = np.random.default_rng(seed)
    place = np.linspace(0, 1, heidelberg.CHANNELS)
    waves = rng.normal(size=(classes, 4, 1)) * np.sin(np.pi * np.arange(1, 5)[:, None] * place + rng.uniform(0, 2 * np.pi, (classes, 4, 1)))
    shape = waves.sum(axis=1)
    span = np.ptp(shape, axis=1, keepdims=True)
    latency_s = 0.05 + 0.5 * (shape - shape.min(axis=1, keepdims=True)) / span
    paces = rng.uniform(0.9, 1.1, speakers)

    def word(label: int, speaker: int) -> tuple[np.ndarray, np.ndarray]:
        units = np.flatnonzero(rng.random(heidelberg.CHANNELS) < 0.75)
        times = paces[speaker] * latency_s[label, units] + rng.uniform(0, 0.05) + rng.normal(0, 0.01, len(units))
        order = np.argsort(times)
        return np.abs(times[order]), units[order]

    def file(name: str, who: np.ndarray) -> Path:
        label, speaker = (a.ravel() for a in np.meshgrid(np.repeat(np.arange(classes), words), who))
        events = [word(c, s) for c, s in zip(label, speaker)]
        return heidelberg.write(folder / name, events, label, [f"word {c}" for c in range(classes)], speaker)

    return heidelberg.shd(file("shd_train.h5", np.arange(2, speakers)), file("shd_test.h5", np.arange(2)))


def smoke() -> Result:
    """Made-up words in files of the same format, small networks."""
    config = Config(
        duration_ms=700,
        steps=35,
        hidden=64,
        delay_hidden=16,
        max_delay_ms=100,
        epochs=8,
        delay_epochs=4,
        batch_size=32,
        learning_rate=5e-3,
        delay_learning_rate=5e-3,
        delay_weight_scale=3,
    )
    with TemporaryDirectory() as folder:
        data = made_up(Path(folder), classes=5, words=6, speakers=8, seed=0)
        with measured(split=f"smoke test, made-up words: {data.split}") as provenance:
            found, curves = spoken.measure(config, data, 0, quiet=True)
    assert np.isfinite(list(found.values())).all()
    return single(sys.modules[__name__], config, 0, found, curves=curves, provenance=provenance)
