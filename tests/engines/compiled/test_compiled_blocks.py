"""One trial in blocks of neurons, side by side, is the trial in one piece, to the last bit."""

import numpy as np
import pytest
import scipy.sparse

from spiketwin.models.engines.base import prepare
from spiketwin.models.engines.compiled import CompiledEngine, split
from spiketwin.models.network import Network, PoissonSource, Population, Projection, SpikeSource
from spiketwin.models.neurons import neuron
from spiketwin.models.spikes import Spikes

SIZE, STEPS, DT_MS = 200, 100, 0.5


def network(model="cuba_lif", source="given"):
    """Everything that can differ between neurons does: parameters, drives, initial states, weights, delays."""
    rng = np.random.default_rng(0)
    sparse = scipy.sparse.csr_array(np.where(rng.random((SIZE, 30)) < 0.3, rng.uniform(0, 150, (SIZE, 30)), 0))
    delays = scipy.sparse.csr_array((rng.uniform(0, 4, sparse.nnz), sparse.indices, sparse.indptr), shape=sparse.shape)
    cells = Population(
        "cells",
        neuron(model),
        SIZE,
        parameters={"tau_mem": rng.uniform(10, 30, SIZE), "v_threshold": "-52 mV"},
        drives={"i_ext": rng.uniform(0.1e-9, 0.2e-9, SIZE)},
        initial={"v": rng.uniform(-70e-3, -55e-3, SIZE)},
    )
    others = Population("others", neuron("cuba_lif"), 130)
    return Network(
        [cells, others],
        [
            Projection("input", "cells", sparse, "i_syn", unit="pA", delay_ms=delays, name="sparse"),
            Projection("input", "cells", rng.uniform(0, 20, (SIZE, 30)), "i_syn", unit="pA", delay_ms=1.0, name="dense"),
            Projection("input", "others", rng.uniform(0, 200, (130, 30)), "i_syn", unit="pA", name="to_others"),
        ],
        [PoissonSource("input", 30, 80.0) if source == "poisson" else SpikeSource("input", 30)],
    )


def inputs(source, trials):
    rng = np.random.default_rng(1)
    varying = {"others.i_ext": rng.uniform(0.1e-9, 0.3e-9, (STEPS, 1, 130))}
    if source == "poisson":
        return varying
    return varying | {"input": Spikes.from_dense((rng.random((STEPS, trials, 30)) < 0.04).astype(int), DT_MS)}


@pytest.mark.parametrize(("model", "scheme"), [("cuba_lif", "exact"), ("noisy_lif", "euler_maruyama")])
@pytest.mark.parametrize(("source", "trials"), [("given", 1), ("poisson", 2)])
def test_blocks_give_what_one_piece_gives(monkeypatch, model, scheme, source, trials):
    monkeypatch.setattr(split, "WORTHWHILE", 1)
    net = network(model, source) if model == "cuba_lif" else Network([Population("cells", neuron(model), SIZE, drives={"i_ext": "0.2 nA"})])
    given = inputs(source, trials) if model == "cuba_lif" else {}
    arguments = dict(dt_ms=DT_MS, scheme=scheme, duration_ms=STEPS * DT_MS, trials=trials, record={"cells": ("v", "i_syn")}, seed=4)
    whole, *others = (CompiledEngine(threads=k).run(net, given, **arguments) for k in (1, 2 * trials, 3 * trials))
    assert len(whole.spikes["cells"]) > 50
    for other in others:
        for p in net.populations:
            assert other.spikes[p.name].equals(whole.spikes[p.name])
            for state in p.neuron.states:
                np.testing.assert_array_equal(other.final[p.name][state], whole.final[p.name][state])
        for state in ("v", "i_syn"):
            np.testing.assert_array_equal(other.states["cells"][state], whole.states["cells"][state])


def test_blocks_are_cut_only_where_it_is_allowed_and_pays():
    alone = Network([Population("p", neuron("lif"), 1000)])
    coupled = Network([Population("p", neuron("cuba_lif"), 1000)], [Projection("p", "p", scipy.sparse.csr_array((1000, 1000)), "i_syn")])

    def count(net, threads, duration_ms):
        return split.blocks(prepare(net, dt_ms=0.1, scheme="exact", duration_ms=duration_ms), threads)

    assert count(alone, 2, 1000) == 2 and count(alone, 4, 1000) == 4  # 10^7 neuron steps
    assert count(alone, 4, 100) == 1  # 10^6: the threads would cost more than they gain
    assert count(alone, 0, 1000) == 1
    assert count(coupled, 4, 1000) == 1
    assert count(Network([Population("p", neuron("lif"), 100)]), 4, 100_000) == 1  # fewer than two times 64 neurons


def test_progress_of_blocks_reaches_the_end(monkeypatch):
    monkeypatch.setattr(split, "WORTHWHILE", 1)
    seen = []
    CompiledEngine(threads=2).run(Network([Population("p", neuron("lif"), 200)]), dt_ms=DT_MS, duration_ms=100, progress=seen.append)
    assert seen and seen[-1] == 1
