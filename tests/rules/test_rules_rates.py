"""What rules of rates are known for: a principal component, selectivity, balance."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from scipy.signal import lfilter

from spiketwin.models import Network, PoissonSource, Population, Projection, Spikes, SpikeSource
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.neurons import coba_lif, cuba_lif, if_neuron
from spiketwin.rules import rule


def test_oja_finds_the_first_principal_component():
    """30 inputs at 20 Hz on average, of which the first ten rise to 100 Hz together. A perfect integrator fires in proportion to w · x, so that
    Oja's rule ends along the first eigenvector of <x xᵀ>, x the traces (Oja 1982, eq. 4-8), wherever it starts; not along their mean."""
    rng = np.random.default_rng(0)
    steps, dt_ms, together = 100_000, 2.0, 10
    rates = np.full((steps, 30), 20.0)
    rates[:, :together] = 100.0 * np.repeat(rng.permutation(steps // 250) % 5 == 0, 250)[:, None]  # half a second each
    dense = rng.random((steps, 30)) < rates * dt_ms * 1e-3
    x = lfilter([1], [1, -np.exp(-dt_ms / 100)], dense, axis=0)
    first, mean = np.abs(np.linalg.eigh(x.T @ x)[1][:, -1]), x.mean(0) / np.linalg.norm(x.mean(0))
    assert mean @ first < 0.9
    inputs = {"input": Spikes.from_dense(dense[:, None, :], dt_ms=dt_ms)}
    for start in (np.r_[np.full(together, 0.02), np.full(20, 0.3)], np.r_[np.full(together, 0.3), np.full(20, 0.02)]):
        learning = Projection("input", "cell", start[None, :], "v", "mV", name="learning", rule=rule("oja").with_parameters(eta=3e-4))
        network = Network([Population("cell", if_neuron, 1)], [learning], [SpikeSource("input", 30)])
        w = CompiledEngine().run(network, inputs, dt_ms=dt_ms, scheme="exact").weights["learning"][0].ravel()
        # the last jumps of w leave some percent in each component
        assert w @ first > 0.99 * np.linalg.norm(w)


@pytest.mark.parametrize("first", [0, 1])
def test_bcm_chooses_one_of_two_patterns(first):
    """Two groups of 50 inputs fire in turn, at 40 Hz against 2. Neurons answer both alike at first, and end with one of them; with which one
    is a matter of the order in which they saw them. With the threshold the mean of y²/y_0 over both patterns, the answer to the one is y = 2 y_0: 2 · .5/100 ms = 10 Hz."""
    start, rng = np.full((6, 100), 0.35), np.random.default_rng(1)

    def begin(eta: float):
        learning = rule("bcm").with_parameters(eta=eta, tau_theta="2 second", y_0=0.5)
        projection = Projection("input", "cells", start, "i_syn", "nA", rule=learning, name="learning")
        network = Network([Population("cells", cuba_lif, 6, {"r": 8})], [projection], [PoissonSource("input", 100, 20.0)])
        return CompiledEngine(threads=1).start(network, dt_ms=1.0, scheme="exact", seed=1)

    def answers(session, rounds: int) -> np.ndarray:
        """Rates of the cells to each pattern [2, 6]."""
        found = np.zeros((2, 6))
        for _ in range(rounds):
            for k in rng.permutation(2) ^ first:
                rates = np.repeat([40.0, 2.0][:: 1 - 2 * k], 50)
                fired = session.run({"input": rates}, duration_ms=500).spikes["cells"]
                found[k] += np.bincount(fired.neuron, minlength=6) / 0.5 / rounds
        return found

    early = answers(begin(0.0), 50)
    assert (early.min(0) > 0.8 * early.max(0)).all()
    session = begin(1e-4)
    answers(session, 500)
    late = answers(session, 100)
    assert (late.min(0) < 0.5).all() and set(late.argmax(0)) == {1 - first}
    # trials differ by a spike or two of five, and y follows a change of pattern with .1 s of delay
    np.testing.assert_allclose(late.max(0), 10, rtol=0.2)


def test_inhibitory_plasticity_balances_a_network():
    """4,000 neurons, Vogels et al. 2011 in the form of Brian2's example, with learning thirty times as fast: excitatory neurons, which fire at
    60 Hz and more without inhibition, come to the target rate within seconds, irregularly, with inhibition that meets excitation."""
    rng = np.random.default_rng(0)
    E, I, rho = 3200, 800, 5.0

    def links(n_post: int, n_pre: int, weight: float):
        return scipy.sparse.random_array(
            (n_post, n_pre), density=0.02, format="csr", rng=rng, data_sampler=lambda size: np.full(size, weight)
        )

    cells = [Population(name, coba_lif, size, drives={"i_ext": "200 pA"}) for name, size in (("exc", E), ("inh", I))]
    projections = [
        Projection("exc", "exc", links(E, E, 0.3), "g_exc", "nS"),
        Projection("exc", "inh", links(I, E, 0.3), "g_exc", "nS"),
        Projection("inh", "inh", links(I, I, 3.0), "g_inh", "nS"),
        Projection(
            "inh", "exc", links(E, I, 1e-10), "g_inh", "nS", name="learning",
            rule=rule("inhibitory").with_parameters(rho_0=f"{rho} Hz", eta=0.3, w_max=100),
        ),
    ]  # fmt: skip
    session = CompiledEngine(threads=1).start(Network(cells, projections), dt_ms=0.5, scheme="exponential_euler", seed=1)
    early = session.run(duration_ms=100).spikes["exc"]
    session.run(duration_ms=2000)
    late = session.run(duration_ms=1000)
    rates = [len(run) / E / seconds for run, seconds in ((early, 0.1), (late.spikes["exc"], 1.0))]
    assert rates[0] > 30 and rates[1] == pytest.approx(rho, rel=0.3)  # it falls to rho_0 from above, slower and slower
    assert irregularity(early) < 0.5 and irregularity(late.spikes["exc"]) > 0.75
    v, excitation, inhibition = (late.final["exc"][x] for x in ("v", "g_exc", "g_inh"))
    inward, outward = 200e-12 + np.mean(excitation * (0 - v)), np.mean(inhibition * (v + 80e-3))
    # the threshold lies 10 nS · 10 mV = 100 pA above rest
    assert inward > 200e-12 and 0 < inward - outward < 100e-12


def irregularity(spikes: Spikes) -> float:
    """Coefficient of variation of the times between spikes of all neurons."""
    order = np.lexsort((spikes.step, spikes.neuron))
    gaps = np.diff(spikes.step[order])[np.diff(spikes.neuron[order]) == 0]
    return gaps.std() / gaps.mean()
