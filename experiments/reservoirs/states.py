"""Many samples through a liquid, a few at a time: memory holds one batch, and what a read-out sees of it may go to a file.

A file of states is a .npy array [samples, width] beside a note of how many rows are done and for which run: a stopped run goes on there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator

from spiketwin.experiments.protocol import write_bytes
from spiketwin.experiments.reservoirs.senses import Sense, is_events, joined
from spiketwin.models.encoders.shared import whole
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.recording import Recording
from spiketwin.models.reservoirs import INPUT, Liquid, check_alive
from spiketwin.rules.readouts.features import Features


def respond(
    liquid: Liquid,
    sense: Sense,
    features: Features,
    X,
    *,
    dt_ms: float,
    duration_ms: float,
    scheme: str = "exact",
    engine: CompiledEngine | None = None,
    at_once: int = 64,
    check: bool = True,
    path: Path | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """What features see of the liquid's answers to all samples [samples, width].

    at_once: samples of a batch, which are what memory holds.  path: a .npy file that takes the rows; the result is a view of it.
    check: raise LiquidError when the first batch leaves the liquid silent or saturated; the message names what to change.
    progress: called with how many samples are done.
    Raises ValueError for at_once below 1, and for a file that holds the states of another liquid or other samples.
    """
    whole(1, at_once=at_once)
    path = path and Path(path)
    engine = engine or CompiledEngine(dtype="float32")
    X = joined(X) if is_events(X) else np.asarray(X)
    shape = (len(X), features.width(liquid.size))
    rows, done = (
        _opened(path, shape, _fingerprint(liquid, sense, features, X, dt_ms, duration_ms, scheme, engine.dtype))
        if path
        else (np.empty(shape), 0)
    )
    record = {p: features.record for p in liquid.read} if features.record else None
    while done < len(X):
        batch = X[done : done + at_once]
        spikes, ends = sense.spikes(batch, dt_ms=dt_ms, duration_ms=duration_ms)
        answer: Recording = engine.run(liquid.network, {INPUT: spikes}, dt_ms=dt_ms, scheme=scheme, record=record)
        if check and done == 0:
            check_alive(answer, liquid)
        rows[done : done + len(batch)] = features.read(answer, liquid.read, ends)
        done += len(batch)
        if path:
            _keep(rows, path, done)
        progress(done)
    return rows


def forget(path: Path) -> None:
    """Remove a file of states and its note, where they are there: states are large, and can be made again."""
    for file in (path, _note(path)):
        file.unlink(missing_ok=True)


def _opened(path: Path, shape: tuple[int, int], of: str) -> tuple[np.ndarray, int]:
    """The file's rows, and how many of them are done."""
    note = _note(path)
    if path.is_file() and note.is_file():
        kept = json.loads(note.read_text())
        if kept["of"] != of:
            raise ValueError(f"{path} holds the states of another liquid or other samples; give another file, or remove it")
        return np.lib.format.open_memmap(path, "r+"), kept["done"]
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.lib.format.open_memmap(path, "w+", dtype=np.float64, shape=shape)
    write_bytes(note, json.dumps({"of": of, "done": 0}).encode())
    return rows, 0


def _keep(rows: np.ndarray, path: Path, done: int) -> None:
    """First the rows, then the note: a kill in between repeats a batch."""
    if isinstance(rows, np.memmap):
        rows.flush()
    note = _note(path)
    write_bytes(note, json.dumps(json.loads(note.read_text()) | {"done": done}).encode())


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


def _fingerprint(liquid: Liquid, sense: Sense, features: Features, X, *settings) -> str:
    """Of all that the rows depend on. Arrays by their bytes: as text, long ones are cut short."""
    digest = hashlib.sha256(f"{settings} {len(X)}".encode())

    def add(*arrays) -> None:
        for array in arrays:
            digest.update(np.ascontiguousarray(array))

    def describe(part: object) -> None:
        """A sense or features, with what it has learnt, and what it is made of."""
        digest.update(type(part).__name__.encode())
        for name, value in sorted(vars(part).items()):
            digest.update(name.encode())
            if isinstance(value, BaseEstimator):
                describe(value)
            elif value is None or isinstance(value, str):
                digest.update(repr(value).encode())
            else:
                add(value)

    describe(sense)
    describe(features)
    for p in liquid.network.populations:
        digest.update(f"{p.name} {p.neuron} {p.size}".encode())
        for values in (p.parameter_values(), p.drive_values(), p.initial_values()):
            add(*(values[name] for name in sorted(values)))
    for projection in liquid.network.projections:
        pre, post, _, delay_ms = projection.synapses()
        add(pre, post, projection.synapse_values(), delay_ms)
    if is_events(X):  # all events may be more than fits into memory
        add(X.numbers, *X.events(0), *X.events(len(X) - 1))
    else:
        add(X)
    return digest.hexdigest()[:24]
