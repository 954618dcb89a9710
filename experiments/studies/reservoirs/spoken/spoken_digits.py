"""Spoken digits through liquids of several sizes, beside what their front end, a network without spikes and a trained one make of them.

    official       2,100 words for training, 300 for validation, 300 for test (indices 0 … 4), of the same six speakers
    speaker_out    for each speaker: all 500 words for test, those of the next speaker for validation, the other four for training

Everybody hears the same words (words.py); all but rsnn have the same read-out (../validated_ridge.py), which learns from training
and validation words once its penalty is chosen. Settings of the liquid (out of twenty) and of the echo state network (out of twelve) were chosen
on the validation words of speaker_out, at 500 neurons, seed 0; those of rsnn are those of the study `spoken`, with twice its learning rate.
Every speaker is the next one of another: these settings were chosen with all six voices heard, and penalties alone without the test voice.

Source: Jackson et al. 2018 (recordings); Maass, Natschläger & Markram 2002 (liquids).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spiketwin.experiments.data.speech import fsdd
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.studies.reservoirs.spoken import listeners
from spiketwin.experiments.studies.reservoirs.spoken.figure import draw
from spiketwin.experiments.studies.reservoirs.spoken.words import Words, heard
from spiketwin.experiments.studies.reservoirs.validated_ridge import Split, judge

__all__ = ["OBJECTIVE", "QUESTION", "Config", "draw", "run", "smoke"]

QUESTION = "What does a liquid add to what its front end already tells about spoken digits, for known and for new voices?"
OBJECTIVE = "validation_speaker_out_1000"
SPLIT = (
    "official: 2,400 train / 300 validation / 300 test words of six speakers; "
    "speaker_out: 2,000 train / 500 validation / 500 test, by speaker, mean of six"
)


@dataclass(frozen=True)
class Config:
    """The listeners. Each hears all words."""

    sizes: tuple[int, ...] = (135, 500, 1000, 4000)
    """Neurons of the liquids, and units of the echo state networks."""
    bands: int = 24
    """Mel bands of the front end."""
    frames: int = 20
    """Equal parts of a word whose levels are heard."""
    rate_hz: float = 80.0
    """Rate of a channel for a level one standard deviation above or below the mean."""
    duration_ms: float = 400.0
    """For how long a word is heard."""
    dt_ms: float = 1.0
    """Time step in ms."""
    reads: int = 8
    """Equal parts of that time in which spikes are counted, and times at which an echo state is read."""
    background: float = 0.5
    """Neurons are held at 0 to this share of the way to threshold."""
    connection_scale: float = 1.0
    """Factor on the recurrent weights of a liquid."""
    input_scale: float = 4.0
    """Factor on those of its input."""
    echo_leak: float = 0.1
    """Share of a unit's state that a step replaces."""
    echo_radius: float = 1.3
    """Spectral radius of the recurrent weights."""
    echo_input: float = 0.3
    """Size of the weights of the input."""
    echo_held: int = 2
    """Steps for which a frame is heard."""
    rsnn_hidden: int = 200
    """Hidden neurons of the trained network."""
    rsnn_steps: int = 100
    """Steps of a word in its training."""
    rsnn_epochs: int = 15
    """Passes through its training words; 0 leaves it out."""
    rsnn_learning_rate: float = 2e-3
    """That of its training at the start; it falls along half a cosine."""

    def __post_init__(self) -> None:
        if not 1 <= self.reads <= self.frames * self.echo_held:
            raise ValueError(
                f"reads = {self.reads} must lie within 1 … {self.frames * self.echo_held}, the steps of an echo state: frames · echo_held"
            )


def splits(words: Words) -> dict[str, Split]:
    """official, and the name of each speaker who is left out."""
    validation, test = np.isin(words.index, fsdd.VALIDATION), np.isin(words.index, fsdd.TEST)
    found = {"official": Split(~(validation | test), validation, test)}
    for k, speaker in enumerate(fsdd.SPEAKERS):
        test, validation = words.of(speaker), words.of(fsdd.SPEAKERS[(k + 1) % len(fsdd.SPEAKERS)])
        found[speaker] = Split(~(validation | test), validation, test)
    return found


def measure(config: Config, words: Words, ways: Mapping[str, Split], seed: int, folder: Path | None = None, *, quiet: bool = False):
    """(metrics, curves): accuracies in percent, official and mean over the speakers left out; those of each speaker as curves."""
    metrics: dict[str, float] = {}
    curves: dict[str, dict[str, float]] = {}

    def note(name: str, validation: Mapping[str, float], test: Mapping[str, float]) -> None:
        by_speaker = {way: value for way, value in test.items() if way != "official"}
        curves[name] = by_speaker
        metrics[f"official_{name}"], metrics[f"validation_official_{name}"] = test["official"], validation["official"]
        metrics[f"speaker_out_{name}"] = float(np.mean([*by_speaker.values()]))
        metrics[f"validation_speaker_out_{name}"] = float(np.mean([v for way, v in validation.items() if way != "official"]))

    def read(name: str, rows: np.ndarray) -> None:
        judged = {way: judge(rows, words.events.labels, split) for way, split in ways.items()}
        note(name, {way: j.validation for way, j in judged.items()}, {way: j.test for way, j in judged.items()})

    read("front_end", listeners.levels(words))
    read("front_end_spikes", listeners.counts(words, config))
    for size in config.sizes:
        for name, connected in ((f"{size}", True), (f"unconnected_{size}", False)):
            path = folder / f"states_{name}_seed_{seed}.npy" if folder else None
            read(name, listeners.liquid_states(words, config, size, seed, connected=connected, path=path, quiet=quiet))
        read(f"echo_state_{size}", listeners.echo_states(words, config, size, seed, quiet=quiet))
    if config.rsnn_epochs:
        trained = {way: listeners.rsnn_accuracy(words, split, way, config, seed, folder, quiet=quiet) for way, split in ways.items()}
        note("rsnn", {way: v for way, (v, _) in trained.items()}, {way: t for way, (_, t) in trained.items()})
    return metrics, curves


def hear(config: Config, of: Sequence[int] = range(fsdd.INDICES)) -> Words:
    return heard(
        bands=config.bands, frames=config.frames, rate_hz=config.rate_hz, dt_ms=config.dt_ms, duration_ms=config.duration_ms, of=of
    )


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    """The Result of one seed: that of the liquids, the echo state networks and the trained network."""
    words = hear(config)
    with measured(split=SPLIT) as provenance:
        metrics, curves = measure(config, words, splits(words), seed, folder)
    return single(sys.modules[__name__], config, seed, metrics, curves=curves, provenance=provenance)


def smoke() -> Result:
    """A fifth of the words, one small liquid, one new voice."""
    config = replace(Config(), sizes=(50,), rsnn_epochs=2, rsnn_hidden=32, rsnn_steps=50, rsnn_learning_rate=1e-2)
    words = hear(config, of=(0, 1, 10, 11, 12, 13, 14, 15, 48, 49))
    ways = {way: split for way, split in splits(words).items() if way in ("official", "george")}
    with measured(split=f"smoke test: a fifth of {SPLIT}") as provenance:
        metrics, curves = measure(config, words, ways, 0, quiet=True)
    return single(sys.modules[__name__], config, 0, metrics, curves=curves, provenance=provenance)
