"""One trial shared out over threads: neurons that send each other nothing are run in blocks, each block a network of its own.

The blocks are cut at multiples of 64 neurons. Every neuron computes as it would in one piece, in the same order, so the result is
the same to the last bit however many blocks there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event

import numpy as np

from spiketwin.models.engines.base import Run
from spiketwin.models.engines.compiled.program import Program
from spiketwin.models.engines.threads import run_parts
from spiketwin.models.network import Convolution, Network, Population, Projection
from spiketwin.models.recording import Recording
from spiketwin.models.spikes import Spikes

GRAIN = 64  # neurons; a multiple of every processor's vectors
WORTHWHILE = 2_000_000  # neuron steps of a block; fewer are done within a millisecond or two


def blocks(run: Run, threads: int) -> int:
    """Into how many blocks it pays to cut the neurons: 1 where spikes pass between them, or for little work."""
    populations = run.network.populations
    names = {p.name for p in populations}
    # weights that change are recorded synapse by synapse, in one piece
    if any(p.source in names or getattr(p, "rule", None) for p in run.network.projections):
        return 1
    work = run.steps * run.trials * sum(p.size for p in populations)
    return max(1, min(threads, work // WORTHWHILE, min(p.size for p in populations) // GRAIN))


def block(run: Run, k: int, count: int) -> Run:
    """Block k of `count` blocks of the neurons of each population, with the synapses that reach them."""
    parts = {p.name: _part(p.size, k, count) for p in run.network.populations}
    network = Network(
        [_population(p, parts[p.name]) for p in run.network.populations],
        [_projection(p, parts[p.target]) for p in run.network.projections],
        run.network.sources,
    )
    drives = {p: {name: _last(value, parts[p]) for name, value in values.items()} for p, values in run.drives.items()}
    noise = {key: value[..., parts[key.rpartition(".")[0]]] for key, value in run.noise.items()}
    return replace(run, network=network, drives=drives, noise=noise)


def divided(run: Run, threads: int, dtype: np.dtype) -> Program | Blocks:
    """The run as one program, or in blocks of neurons where more threads than trials can be put to use."""
    count = blocks(run, threads // run.trials)
    return Blocks(run, count, dtype) if count > 1 else Program(run, dtype)


class Blocks:
    """A program for each block of neurons; used as a Program is."""

    def __init__(self, run: Run, count: int, dtype: np.dtype) -> None:
        self.network = run.network
        self.programs = [Program(block(run, k, count), dtype) for k in range(count)]

    def execute(self, threads: int, progress: Callable[[float], None] | None = None) -> None:
        """Run all trials of all blocks, the blocks side by side."""
        shares, stop = [0.0] * len(self.programs), Event()

        def execute(k: int) -> None:
            def note(share: float) -> None:
                shares[k] = share
                if progress:
                    progress(sum(shares) / len(shares))

            try:
                self.programs[k].execute(1, note, stop)
            except BaseException:
                stop.set()
                raise

        run_parts(execute, len(self.programs))

    def recording(self) -> Recording:
        """What execute() left, of all neurons in order."""
        recordings = [p.recording() for p in self.programs]
        first, count = recordings[0], len(recordings)
        spikes, states, final = {}, {}, {}
        for p in self.network.populations:
            some = [r.spikes[p.name] for r in recordings]
            step, batch = (np.concatenate([getattr(s, name) for s in some]) for name in ("step", "batch"))
            neuron = np.concatenate([s.neuron + _part(p.size, k, count).start for k, s in enumerate(some)])
            spikes[p.name] = Spikes(step, batch, neuron, (*some[0].shape[:2], p.size), first.dt_ms)
            if p.name in first.states:
                states[p.name] = {s: np.concatenate([r.states[p.name][s] for r in recordings], axis=-1) for s in first.states[p.name]}
            final[p.name] = {s: np.concatenate([r.final[p.name][s] for r in recordings], axis=-1) for s in first.final[p.name]}
        return replace(first, spikes=spikes, states=states, final=final)


def _part(size: int, k: int, count: int) -> slice:
    first, last = (size if i == count else size * i // count // GRAIN * GRAIN for i in (k, k + 1))
    return slice(first, last)


def _last(value, part: slice):
    """An array cut along its last axis, over neurons; what is the same for all of them as it is."""
    return value if isinstance(value, str) or np.ndim(value) == 0 or np.shape(value)[-1] == 1 else np.asarray(value)[..., part]


def _population(p: Population, part: slice) -> Population:
    cut = {field: {n: _last(v, part) for n, v in getattr(p, field).items()} for field in ("parameters", "drives", "initial")}
    return replace(p, size=part.stop - part.start, **cut)


def _projection(p: Projection, part: slice) -> Projection:
    weights = p.weights.to_sparse() if isinstance(p.weights, Convolution) else p.weights
    return replace(p, weights=_rows(weights, part), delay_ms=p.delay_ms if np.ndim(p.delay_ms) == 0 else _rows(p.delay_ms, part))


def _rows(matrix, part: slice):
    return matrix.tocsr()[part] if hasattr(matrix, "tocsr") else np.asarray(matrix)[part]
