"""Who listens to the words of spoken_digits: each turns all of them into rows of features for one read-out, or is trained as a whole.

    front_end        the levels themselves; and front_end_spikes, their spikes counted in as many parts as those of a liquid
    liquid           spikes of its neurons, counted in equal parts of the word
    unconnected      the same neurons without the synapses among them: what is left is a layer of neurons
    echo_state       a network of as many tanh units that hears the levels, read at as many times (reservoirpy)
    rsnn             a recurrent spiking network, all of whose weights are trained through time on the same spikes

Source: Maass, Natschläger & Markram 2002 (liquid); Jaeger 2001, GMD report 148 (echo state network).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.data import Dataset
from spiketwin.experiments.data.speech import fsdd
from spiketwin.experiments.optional import library
from spiketwin.experiments.progress import progress
from spiketwin.experiments.reservoirs import EventInput, LiquidStates
from spiketwin.experiments.studies.recurrent import spoken
from spiketwin.experiments.studies.reservoirs.spoken.words import Words
from spiketwin.experiments.studies.reservoirs.validated_ridge import Split
from spiketwin.models.reservoirs import liquid
from spiketwin.models.stacks.heterogeneity import uniform
from spiketwin.rules.readouts import SpikeCounts
from spiketwin.rules.readouts.features import counted, read_steps

if TYPE_CHECKING:
    from spiketwin.experiments.studies.reservoirs.spoken.spoken_digits import Config

AT_ONCE = 100  # words in memory


def levels(words: Words) -> np.ndarray:
    """[B, frames · bands]."""
    return words.levels.reshape(len(words.levels), -1)


def counts(words: Words, config: Config) -> np.ndarray:
    """Spikes of each channel in equal parts of the word [B, reads · channels]."""
    spikes = words.events.batch(dt_ms=config.dt_ms, duration_ms=config.duration_ms)
    steps, trials, _ = spikes.shape
    return counted(spikes, read_steps(np.full(trials, steps), config.reads)).reshape(trials, -1)


def liquid_states(
    words: Words, config: Config, size: int, seed: int, *, connected: bool, path: Path | None = None, quiet: bool = False
) -> np.ndarray:
    """[B, reads · size]. path: a .npy file that a stopped run goes on from."""
    kind = "liquid" if connected else "unconnected"
    states = LiquidStates(
        partial(liquid, background=uniform(0, config.background)),
        size=size,
        connection_scale=config.connection_scale if connected else 0.0,
        inhibition=None,
        input_scale=config.input_scale,
        # the whole run counts, also after the last spike
        sense=EventInput(tail_ms=config.duration_ms),
        features=SpikeCounts(config.reads),
        dt_ms=config.dt_ms,
        duration_ms=config.duration_ms,
        at_once=AT_ONCE,
        random_state=seed,
    ).fit(words.events)
    with progress(f"spoken_digits, {kind} of {size}, seed {seed}", len(words.index), quiet=quiet) as show:
        return states.transform(words.events, path=path, progress=show.update)


def echo_states(words: Words, config: Config, size: int, seed: int, *, quiet: bool = False) -> np.ndarray:
    """[B, reads · size]. Raises ImportError that names the extra without reservoirpy."""
    *_, frames, bands = words.levels.shape
    reservoir = library("reservoirpy.nodes", "reservoirs").Reservoir(
        size,
        lr=config.echo_leak,
        sr=config.echo_radius,
        input_scaling=config.echo_input,
        rc_connectivity=min(1.0, 20 / size),
        input_connectivity=min(1.0, 8 / bands),
        seed=seed,
    )
    held = config.echo_held
    at = np.arange(1, config.reads + 1) * frames * held // config.reads - 1
    states = np.empty((len(words.index), config.reads * size), np.float32)
    reservoir.initialize(words.levels[:1])
    with progress(f"spoken_digits, echo states of {size}, seed {seed}", len(states), quiet=quiet) as show:
        for begin in range(0, len(states), AT_ONCE):
            reservoir.state = {"out": np.zeros(size)}  # each word begins at rest
            batch = np.repeat(words.levels[begin : begin + AT_ONCE], held, axis=1)
            states[begin : begin + AT_ONCE] = np.asarray(reservoir.run(batch))[:, at].reshape(len(batch), -1)
            show.update(begin + len(batch))
    return states


def rsnn_accuracy(
    words: Words, split: Split, name: str, config: Config, seed: int, folder: Path | None = None, *, quiet: bool = False
) -> tuple[float, float]:
    """(validation, test) accuracy of a recurrent network that is trained through time on the spikes, its epoch chosen on validation."""
    from spiketwin.experiments.training import Schedule, best_epoch

    parts = (words.events[part] for part in split)
    data = Dataset("spoken", *parts, (words.events.size,), fsdd.DIGITS, name, fsdd.SOURCE)
    how = replace(spoken.Config(), duration_ms=config.duration_ms, steps=config.rsnn_steps, hidden=config.rsnn_hidden)
    made = spoken.classifier(how, data, seed)
    made = replace(made, settings={**made.settings, **{name: getattr(config, name) for name in ("bands", "frames", "rate_hz", "dt_ms")}})
    history = made.train(
        f"spoken_digits, {name}, rsnn, seed {seed}",
        Schedule(config.rsnn_epochs, how.batch_size, config.rsnn_learning_rate, clip_norm=how.clip_norm),
        seed,
        checkpoint=folder / f"rsnn_{name}_seed_{seed}.safetensors" if folder else None,
        quiet=quiet,
    )
    return best_epoch(history)["validation_accuracy"], made.accuracy(data.test)
