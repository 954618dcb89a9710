"""Simulators of one network as systems of a benchmark: ours, and Brian2's C++ stand-alone program. Both say what their time loop takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from harness import BenchmarkError, Outcome, System, equal, fingerprint
from spiketwin.models.network import Network
from spiketwin.models.spikes import Spikes

LOOP = "main loop"
Simulation = Callable[[], tuple[Network, dict[str, Any]]]  # the network, and dt_ms, scheme and duration_ms


class Trains(Mapping):
    """Spike counts and a digest of all trains, computed when asked for: the comparison is not part of the run."""

    def __init__(self, read: Callable[[], Mapping[str, Spikes]]) -> None:
        self.read = read

    @cached_property
    def computed(self) -> dict[str, Any]:
        spikes = list(self.read().values())
        return {"spikes": sum(map(len, spikes)), "trains": fingerprint(*(a for s in spikes for a in (s.step, s.neuron)))}

    def __getitem__(self, key: str) -> Any:
        return self.computed[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.computed)

    def __len__(self) -> int:
        return len(self.computed)


def ours(simulation: Simulation, *, threads: tuple[int, ...] = (1, 2)) -> System:
    """The compiled engine: from the network to its recording in a warm process."""

    def prepare(threads: int) -> Callable[[], Outcome]:
        import numpy as np

        from spiketwin.models.engines.base import prepare as made_ready
        from spiketwin.models.engines.compiled.program import Program

        network, settings = simulation()

        def run() -> Outcome:
            made = Program(made_ready(network, draw_poisson=False, **settings), np.dtype("float64"))
            start = time.perf_counter()
            made.execute(threads)
            loop = time.perf_counter() - start
            spikes = made.recording().spikes
            return Outcome(Trains(lambda: spikes), {LOOP: loop})

        return run

    return System("spiketwin", prepare, is_peer=False, threads=threads)


def brian(simulation: Simulation, *, threads: tuple[int, ...] = (1, 2)) -> System:
    """Brian2's C++ stand-alone program, built once: from the start of the process to its end."""

    def prepare(threads: int) -> Callable[[], Outcome]:
        from peers.brian_standalone import build

        network, settings = simulation()
        program = build(network, threads=threads, **settings)
        peak = program.peak_mb()

        def run() -> Outcome:
            loop = program.run()
            return Outcome(Trains(program.spikes), {LOOP: loop}, peak_mb=peak)

        return run

    return System("brian2 c++", prepare, threads=threads, library="brian2")


def same_trains(least: int) -> Callable[[Mapping[str, list[Mapping]]], None]:
    """A check: all systems gave the same spikes, run by run, at least so many of them."""

    def check(outcomes: Mapping[str, list[Mapping]]) -> None:
        equal(outcomes, "trains")
        if short := [name for name, results in outcomes.items() if "spikes" in results[0] and results[0]["spikes"] < least]:
            raise BenchmarkError(
                f"'{short[0]}' gives {outcomes[short[0]][0]['spikes']} spikes; a network that is awake gives at least {least}"
            )

    return check
