"""1000 Hodgkin-Huxley neurons that each get another current, 1 s at dt 0.05 ms, exponential Euler in double precision.

Ours and Brian2 integrate with the same scheme and must give equal spikes. NEURON integrates voltages implicitly and gates
exactly, half a step apart, so its spikes differ by a step here and there. The torch engine is our own derived step, without gradients.
Ours: from the network to its recording, in a warm process. Brian2: from the start of the built program to its end. NEURON: the run of cells already made.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from harness import Benchmark, Kernel, Outcome, System, main
from peers.simulators import LOOP, Trains, brian, ours, same_trains
from spiketwin.models.network import Network, Population
from spiketwin.models.neurons import neuron

SETTINGS = dict(dt_ms=0.05, scheme="exponential_euler", duration_ms=1000.0)


def currents(size: int) -> np.ndarray:
    """From just below repetitive firing to 90 Hz, in uA/cm^2."""
    return np.linspace(5, 15, size)


def cells(size: int) -> Network:
    # 1 uA/cm^2 is 0.01 A/m^2
    return Network([Population("cells", neuron("hh_neuron"), size, drives={"i_ext": currents(size) * 1e-2})])


def neuron_simulator(size: int) -> System:
    """NEURON's own hh mechanism, its parameters those of hh_neuron."""

    def prepare(threads: int) -> Callable[[], Outcome]:
        from neuron import h

        h.load_file("stdrun.hoc")
        made = []
        for k, density in enumerate(currents(size)):
            soma = h.Section(name=f"soma{k}")
            soma.L = soma.diam = 10  # um
            soma.insert("hh")
            clamp = h.IClamp(soma(0.5))
            # density in uA/cm^2 times the area in um^2 is 1e-5 nA
            clamp.delay, clamp.dur, clamp.amp = 0, 1e9, density * soma(0.5).area() * 1e-5
            crossing = h.NetCon(soma(0.5)._ref_v, None, sec=soma)
            crossing.threshold = -40
            times = h.Vector()  # one for each cell: threads must not write to the same
            crossing.record(times)
            made.append((soma, clamp, crossing, times))
        parallel = h.ParallelContext()
        parallel.nthread(threads)
        parallel.set_maxstep(10)
        h.celsius, h.dt, h.steps_per_ms = 6.3, SETTINGS["dt_ms"], 1 / SETTINGS["dt_ms"]

        def run() -> Outcome:
            h.finitialize(-65)
            parallel.psolve(SETTINGS["duration_ms"])
            # naming `made` keeps the cells: NEURON deletes sections that Python has forgotten
            return Outcome({"spikes": sum(int(cell[-1].size()) for cell in made), "cells": len(made)})

        return run

    return System(
        "neuron", prepare, differs="implicit Euler for voltages, gates half a step apart; spikes differ by a step", library="neuron"
    )


def torch_engine(size: int) -> System:
    def prepare(threads: int) -> Callable[[], Outcome]:
        import torch

        from spiketwin.models.engines import get_engine

        torch.set_num_threads(threads)
        network, engine = cells(size), get_engine("torch")

        def run() -> Outcome:
            spikes = engine.run(network, **SETTINGS).spikes
            return Outcome(Trains(lambda: spikes))

        return run

    return System("torch engine", prepare, is_peer=False, threads=(2,))


def benchmark(quick: bool) -> Benchmark:
    size = 50 if quick else 1000

    def simulation():
        return cells(size), SETTINGS

    def kernels(threads: int) -> list[Kernel]:
        steps = 20_000
        # states and currents stay in the first cache; 10 exponentials of 28 operations each, 9 divisions and about 80 sums and products
        return [Kernel(f"spiketwin, {LOOP}", bytes=size * 6 * 8, flops=steps * size * (10 * 28 + 9 + 80))]

    others = [neuron_simulator(size)] if find_spec("neuron") else []
    return Benchmark(
        "hodgkin_huxley",
        "How long does 1 s of 1000 Hodgkin-Huxley neurons take?",
        [ours(simulation, threads=(1, 2)), brian(simulation), *others, torch_engine(size)],
        unit="second of biological time",
        check=same_trains(least=10 * size),
        kernels=kernels,
        notes={
            "wanted": "2.3 times Brian2's C++ program at least, better 4",
            "precision": "double; the matrix product of the roofline is in single precision, whose rate is twice that of double",
        },
    )


if __name__ == "__main__":
    main(benchmark)
