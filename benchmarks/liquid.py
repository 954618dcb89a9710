"""A liquid: 1000 LIF neurons with 10 % random connectivity, 1 s at dt 0.5 ms; the spikes must be equal.

Ours: from the network to its recording, in a warm process. Brian2: from the start of the built program to its end, both
without code generation and compilation. 'main loop' is the loop over time alone. The working set of 1.2 MB lies in cache.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse

from harness import Benchmark, Kernel, main
from peers.simulators import LOOP, brian, ours, same_trains
from spiketwin.models.network import Network, Population, Projection
from spiketwin.models.neurons import neuron

CONNECTIVITY, SETTINGS = 0.1, dict(dt_ms=0.5, scheme="exact", duration_ms=1000.0)


def liquid(size: int = 1000, connectivity: float = CONNECTIVITY) -> Network:
    rng = np.random.default_rng(0)
    weights = scipy.sparse.random_array(
        (size, size), density=connectivity, format="csc", rng=rng, data_sampler=lambda size: rng.normal(0, 30, size)
    )
    # 18-23 mV of drive for 20 mV to threshold: irregular firing near 20 Hz
    cells = Population("liquid", neuron("cuba_lif"), size, drives={"i_ext": rng.uniform(0.18e-9, 0.23e-9, size)})
    return Network([cells], [Projection("liquid", "liquid", weights, "i_syn", unit="pA")])


def benchmark(quick: bool) -> Benchmark:
    size = 200 if quick else 1000

    def simulation():
        return liquid(size), SETTINGS

    def kernels(threads: int) -> list[Kernel]:
        steps, spikes = 2000, 21 * size
        # the whole network fits a cache: each synapse (index, weight) and state is fetched once, each spike written; then arithmetic limits
        moved = CONNECTIVITY * size**2 * (4 + 8) + size * 3 * 8 + 4 * spikes
        return [Kernel(f"spiketwin, {LOOP}", moved, flops=steps * size * 8 + spikes * CONNECTIVITY * size)]

    return Benchmark(
        "liquid",
        "How long does 1 s of a liquid of 1000 LIF neurons take?",
        [ours(simulation), brian(simulation)],
        unit="second of biological time",
        check=same_trains(least=5 * size),
        kernels=kernels,
        notes={
            "wanted": "6 times Brian2's C++ program, 2 in the main loop, at least; better 10 and 4",
            "limits": "the loop spends most of its time on adding the weights of some ten spikes a step, and of the whole run Python a third",
            "memory": "the working set lies in cache, so bytes over copy bandwidth is no bound here",
        },
    )


if __name__ == "__main__":
    main(benchmark)
