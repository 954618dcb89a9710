"""Recurrent networks of any size in the compiled engine, for curves of time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import scipy.sparse

from harness import Outcome
from peers.simulators import LOOP
from spiketwin.models.engines.base import prepare as made_ready
from spiketwin.models.engines.compiled.program import Program
from spiketwin.models.network import Network, Population, Projection
from spiketwin.models.neurons import neuron

DT_MS = 0.5


def random_network(neurons: int, degree: int) -> Network:
    """LIF neurons, each with `degree` targets. Weights shrink with the degree, so that all sizes fire at about the same rate."""
    rng = np.random.default_rng(0)
    # a random first target, and from there at random distances: no two synapses of a neuron share a target
    gaps = rng.integers(1, max(2 * neurons // degree, 2), (neurons, degree), dtype=np.int32)
    post = np.sort((rng.integers(0, neurons, (neurons, 1), dtype=np.int32) + np.cumsum(gaps, axis=1, dtype=np.int32)) % neurons, axis=1)
    weights = rng.standard_normal(neurons * degree, dtype=np.float32) * np.float32(300 / degree**0.5)
    starts = np.arange(0, neurons * degree + 1, degree, dtype=np.int32)
    matrix = scipy.sparse.csc_array((weights, post.ravel(), starts), shape=(neurons, neurons))
    cells = Population("cells", neuron("cuba_lif"), neurons, drives={"i_ext": rng.uniform(0.18e-9, 0.23e-9, neurons)})
    return Network([cells], [Projection("cells", "cells", matrix, "i_syn", unit="pA")])


def simulation(*, neurons: int = 1000, degree: int = 100, duration_ms: float = 1000.0) -> Callable[[int], Callable[[], Outcome]]:
    """One trial, from the network to its recording; the time loop alone is a part."""

    def prepare(threads: int) -> Callable[[], Outcome]:
        network = random_network(neurons, degree)

        def run() -> Outcome:
            program = Program(made_ready(network, dt_ms=DT_MS, scheme="exact", duration_ms=duration_ms), np.dtype("float64"))
            start = time.perf_counter()
            program.execute(threads)
            loop = time.perf_counter() - start
            return Outcome({"spikes": len(program.recording().spikes["cells"])}, {LOOP: loop})

        return run

    return prepare
