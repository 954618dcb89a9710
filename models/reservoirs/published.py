"""Networks whose rates and rhythms are published: Vogels & Abbott's CUBA and COBA, and Brunel's four states.

    cuba_network, coba_network    4,000 neurons, 80 % excitatory, 2 % connectivity; Vogels & Abbott 2005, Brette et al. 2007
    brunel_network                10,000 + 2,500 neurons, 1,000 + 250 synapses each; Brunel 2000, model A

Brunel's neurons are tau dV/dt = -V + mu_ext + sigma_ext sqrt(tau) xi, every spike moves V by J or -g J after D = 1.5 ms. The C_E
external Poisson trains of each neuron are given by their mean and variance, mu_ext = C_E J nu_ext tau and
sigma_ext² = J² C_E nu_ext tau, as the paper's theory does; nu_ext is eta times the rate that reaches threshold by its mean alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.sparse

from spiketwin.models import theory
from spiketwin.models.network import Network, Population, Projection
from spiketwin.models.neurons import coba_lif, cuba_lif_2
from spiketwin.models.reservoirs.topology import fixed_in_degree, random_sparse
from spiketwin.models.spec import NeuronSpec, Parameter
from spiketwin.models.units import whole

CELLS = "cells"
TAU_MS, THETA_MV, RESET_MV, REFRACTORY_MS, DELAY_MS = 20.0, 20.0, 10.0, 2.0, 1.5

brunel_lif = NeuronSpec(
    name="brunel_lif",
    equations="""
        dv/dt = (mu_ext - v)/tau_mem + sigma_ext*xi/sqrt(tau_mem) : volt (unless refractory)
    """,
    parameters=dict(
        tau_mem=Parameter(TAU_MS, "ms", "(0, inf)", "membrane time constant"),
        tau_ref=Parameter(REFRACTORY_MS, "ms", "[0, inf)", "refractory period"),
        mu_ext=Parameter(40, "mV", description="mean of the external input"),
        sigma_ext=Parameter(2, "mV", "[0, inf)", "its standard deviation, sqrt(2) times that of v alone"),
        v_threshold=Parameter(THETA_MV, "mV", description="threshold"),
        v_reset=Parameter(RESET_MV, "mV", description="reset potential"),
    ),
    threshold="v > v_threshold",
    reset="v = v_reset",
    refractory="tau_ref",
    inputs=("v",),
    spike_scale="v_threshold",
    source="Brunel 2000, J. Comput. Neurosci. 8:183, eq. 1-5",
)


@dataclass(frozen=True)
class State:
    """Of Brunel's figure 8: g, inhibition over excitation; eta, external rate over threshold rate; the paper's simulated numbers.

    rate_hz, rhythm_hz: of single neurons, and of the global activity; None where the paper gives none.
    Raises ValueError for a g or an eta that is negative or not finite.
    """

    g: float
    eta: float
    rate_hz: float | None = None
    rhythm_hz: float | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite([self.g, self.eta]).all() and min(self.g, self.eta) >= 0):
            raise ValueError(f"g = {self.g} and eta = {self.eta} must be finite and not negative; g is a ratio of absolute values")


STATES: Mapping[str, State] = {
    "synchronous_regular": State(3.0, 2.0),
    "synchronous_fast": State(6.0, 4.0, 60.7, 180.0),
    "asynchronous": State(5.0, 2.0, 37.7),
    "synchronous_slow": State(4.5, 0.9, 5.5, 22.0),
}


def cuba_network(size: int = 4000, connectivity: float = 0.02, *, seed: int = 0) -> Network:
    """Current-based: weights of 1.62 and -9 mV (times 1/r), rest at -60 mV and a current that holds -49 mV."""
    rng, is_excitatory = np.random.default_rng(seed), np.arange(size) < round(0.8 * size)
    start = rng.uniform(-60e-3, -50e-3, size)
    cells = Population(CELLS, cuba_lif_2, size, drives={"i_ext": "110 pA"}, initial={"v": start})
    return _two_receptors(cells, is_excitatory, connectivity, {"i_exc": (16.2, "pA"), "i_inh": (-90.0, "pA")}, rng)


def coba_network(size: int = 4000, connectivity: float = 0.02, *, seed: int = 0) -> Network:
    """Conductance-based: 6 and 67 nS, the same current; v and the conductances start at random."""
    rng, is_excitatory = np.random.default_rng(seed), np.arange(size) < round(0.8 * size)
    start = {
        "v": (rng.standard_normal(size) * 5 - 5 - 60) * 1e-3,
        "g_exc": np.maximum(rng.standard_normal(size) * 1.5 + 4, 0) * 10e-9,
        "g_inh": np.maximum(rng.standard_normal(size) * 12 + 20, 0) * 10e-9,
    }
    cells = Population(CELLS, coba_lif, size, drives={"i_ext": "110 pA"}, initial=start)
    return _two_receptors(cells, is_excitatory, connectivity, {"g_exc": (6.0, "nS"), "g_inh": (67.0, "nS")}, rng)


def brunel_network(state: State, *, excitatory: int = 10_000, share: float = 0.1, j_mv: float = 0.1, seed: int = 0) -> Network:
    """Model A: `excitatory` neurons and a quarter as many inhibitory ones, each with inputs from exactly `share` of both.

    j_mv: the jump of V at an excitatory spike; at an inhibitory one it is -g times that.
    Raises ValueError for fewer than four excitatory neurons, or a share outside 0 … 1.
    """
    whole(4, excitatory=excitatory)
    if not 0 < share <= 1:
        raise ValueError(f"share = {share} of the neurons that each one hears must lie within 0 … 1 and above 0")
    size, inhibitory = excitatory + excitatory // 4, excitatory // 4
    is_excitatory = np.arange(size) < excitatory
    rng = np.random.default_rng(seed)
    weights = fixed_in_degree(round(share * excitatory), round(share * inhibitory))(rng, is_excitatory)
    jump = np.where(is_excitatory, j_mv, -state.g * j_mv)
    signed = scipy.sparse.csr_array((jump[weights.indices], weights.indices, weights.indptr), shape=weights.shape)
    mu, sigma = _external(state, share * excitatory * j_mv, j_mv)
    cells = Population(
        CELLS, brunel_lif, size, {"mu_ext": mu, "sigma_ext": sigma}, initial={"v": 1e-3 * rng.uniform(RESET_MV, THETA_MV, size)}
    )
    return Network([cells], [Projection(CELLS, CELLS, signed, "v", "mV", delay_ms=DELAY_MS)])


def mean_field_rate_hz(state: State, *, excitatory: int = 10_000, share: float = 0.1, j_mv: float = 0.1) -> float:
    """The rate at which Siegert's formula returns what its input assumed: mu = mu_ext + C_E J tau nu (1 - g/4), and the variance
    J² C_E tau nu (1 + g²/4) beside the external one (Brunel 2000, eq. 4-5 and 21-22), for asynchronous firing; the lowest such rate.
    """
    degree = share * excitatory
    mu_ext, sigma_ext = _external(state, degree * j_mv, j_mv)

    def excess(rate_hz: float) -> float:
        own = degree * rate_hz * TAU_MS * 1e-3
        mu = mu_ext + j_mv * own * (1 - state.g / 4)
        sigma = np.sqrt(sigma_ext**2 + j_mv**2 * own * (1 + state.g**2 / 4))
        back = theory.siegert_rate_hz(mu, sigma, tau_mem_ms=TAU_MS, v_threshold_mv=THETA_MV, v_reset_mv=RESET_MV, tau_ref_ms=REFRACTORY_MS)
        return back - rate_hz

    rates = np.geomspace(0.01, 1e3 / REFRACTORY_MS, 60)
    below = next(k for k, rate in enumerate(rates) if excess(rate) < 0)
    return float(scipy.optimize.brentq(excess, rates[max(below - 1, 0)], rates[below])) if below else 0.0


def _external(state: State, charge_mv: float, j_mv: float) -> tuple[float, float]:
    """mu_ext and sigma_ext in mV.  charge_mv: C_E J."""
    per_tau = state.eta * THETA_MV / charge_mv  # C_E nu_ext tau/C_E, the external spikes of a synapse in tau
    return charge_mv * per_tau, float(np.sqrt(j_mv * charge_mv * per_tau))


def _two_receptors(
    cells: Population, is_excitatory: np.ndarray, connectivity: float, weights: Mapping[str, tuple[float, str]], rng: np.random.Generator
) -> Network:
    adjacency = random_sparse(connectivity)(rng, is_excitatory).tocsc()
    edge = int(is_excitatory.sum())
    projections = []
    for (receptor, (value, unit)), columns in zip(weights.items(), (slice(0, edge), slice(edge, None))):
        kept = np.zeros(cells.size)
        kept[columns] = value
        own = scipy.sparse.csr_array(adjacency.astype(float) @ scipy.sparse.diags_array(kept))
        own.eliminate_zeros()
        projections.append(Projection(CELLS, CELLS, own, receptor, unit))
    return Network([cells], projections)
