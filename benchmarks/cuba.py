"""CUBA: the network of Vogels & Abbott (2005) with current-based synapses, benchmark 2 of Brette et al. 2007; the spikes must be equal.

4000 LIF neurons, 80 % excitatory, 2 % connectivity, weights 1.62 mV and -9 mV, 1 s at dt 0.1 ms.
Ours: from the network to its recording, in a warm process. Brian2: from the start of the built program to its end, both
without code generation and compilation. 'main loop' is the loop over time alone.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse

from harness import Benchmark, Kernel, main
from peers.simulators import LOOP, brian, ours, same_trains
from spiketwin.models.network import Network, Population, Projection
from spiketwin.models.neurons import neuron

SETTINGS = dict(dt_ms=0.1, scheme="exact", duration_ms=1000.0)


def cuba(size: int = 4000, connectivity: float = 0.02) -> Network:
    rng = np.random.default_rng(0)
    excitatory = int(0.8 * size)
    connected = scipy.sparse.random_array((size, size), density=connectivity, format="csc", rng=rng).astype(bool).astype(float)

    def of(columns: slice, weight_pa: float) -> scipy.sparse.csc_array:
        """The synapses of some presynaptic neurons, all with one weight."""
        chosen = np.zeros(size)
        chosen[columns] = weight_pa
        weights = (connected @ scipy.sparse.diags_array(chosen, format="csc")).tocsc()
        weights.eliminate_zeros()
        return weights

    cells = Population("cells", neuron("cuba_lif_2"), size, drives={"i_ext": "110 pA"}, initial={"v": rng.uniform(-60e-3, -50e-3, size)})
    return Network(
        [cells],
        [
            Projection("cells", "cells", of(slice(None, excitatory), 16.2), "i_exc", unit="pA"),
            Projection("cells", "cells", of(slice(excitatory, None), -90.0), "i_inh", unit="pA"),
        ],
    )


def benchmark(quick: bool) -> Benchmark:
    # a smaller network would fall silent: it gets as many synapses per neuron
    size, connectivity = (1000, 0.08) if quick else (4000, 0.02)

    def simulation():
        return cuba(size, connectivity), SETTINGS

    def kernels(threads: int) -> list[Kernel]:
        steps, spikes, degree = 10_000, 6 * size, 80
        # the whole network fits a cache: each synapse (index, weight) and state is fetched once, each spike written; then arithmetic limits
        moved = size * degree * (4 + 8) + size * 3 * 8 + 4 * spikes
        return [Kernel(f"spiketwin, {LOOP}", moved, flops=steps * size * 12 + spikes * degree)]

    return Benchmark(
        "cuba",
        "How long does 1 s of the CUBA network of 4000 neurons take?",
        [ours(simulation), brian(simulation)],
        unit="second of biological time",
        check=same_trains(least=2 * size),
        kernels=kernels,
        notes={
            "wanted": "3 times Brian2's C++ program, 2 in the main loop, at least; better 5 and 4",
            "memory": "the states, 130 kB, lie in the second-level cache, so bytes over copy bandwidth is no bound here",
        },
    )


if __name__ == "__main__":
    main(benchmark)
