"""The column of Maass, Natschläger & Markram: 15 × 3 × 3 neurons, connected by their distance.

    tau_mem dv/dt = -v + r (i_exc + i_inh + i_b),  tau_mem 30 ms, r 1 MΩ, i_b 13.5 nA; spike at 15 mV, reset to 13.5 mV
    i_exc, i_inh decay with 3 and 6 ms;  refractory for 3 ms (excitatory) or 2 ms (inhibitory neurons)
    P(a → b) = C exp(-(D(a, b)/lam)²),  C .3 EE, .2 EI, .4 IE, .1 II;  80 % excitatory, at random places
    amplitude A 30 EE, 60 EI, -19 IE, -19 II nA, gamma with a standard deviation of 100 %;  delay 1.5 ms EE, .8 ms all others
    input: 18 nA to excitatory, 9 nA to inhibitory neurons, each channel to 30 % of the neurons (to fewer
    where there are more than four, so that the drive of a neuron does not grow with the number of channels)

Synapses are dynamic there: a spike transmits A u R. Give their rules by kind for that, with the constants of DYNAMICS. Without
a rule each synapse transmits the same share of A all the time: what a dynamic one does in a regular train of STEADY_HZ.

Source: Maass, Natschläger & Markram 2002, Neural Comput. 14:2531, section 4 and figure 1; synapses: Markram, Wang & Tsodyks 1998.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse

from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import cuba_lif_2
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.reservoirs.assembly import Delay, placed_at_random, recurrent, split_by_kind
from spiketwin.models.reservoirs.kinds import ByKind, Ends
from spiketwin.models.reservoirs.liquid import DELAYS_MS, INPUT, POPULATION, Liquid, check_functions, check_scales
from spiketwin.models.reservoirs.response import Receptor
from spiketwin.models.reservoirs.strengths import EXPONENTIAL, drawn
from spiketwin.models.reservoirs.topology import distance_dependent
from spiketwin.models.reservoirs.wiring import Wiring, reaches
from spiketwin.models.stacks.heterogeneity import Sampler
from spiketwin.models.units import whole


class Dynamics(NamedTuple):
    """Of a synapse: use U, time constants of recovery D and of facilitation F."""

    U: float
    tau_rec_ms: float
    tau_facil_ms: float

    def steady_share(self, rate_hz: float) -> float:
        """u R in a regular train of spikes, long after its start (Tsodyks, Pawelzik & Markram 1998, eq. 2.3-2.4)."""
        interval = 1e3 / rate_hz
        facilitated, recovering = np.exp(-interval / self.tau_facil_ms), np.exp(-interval / self.tau_rec_ms)
        u = self.U / (1 - (1 - self.U) * facilitated)
        return float(u * (1 - recovering) / (1 - (1 - u) * recovering))


CONNECTION = ByKind(0.3, 0.2, 0.4, 0.1)
AMPLITUDE_NA = ByKind(30.0, 60.0, -19.0, -19.0)
DYNAMICS = ByKind(Dynamics(0.5, 1100, 50), Dynamics(0.05, 125, 1200), Dynamics(0.25, 700, 20), Dynamics(0.32, 144, 60))
INPUT_NA = ByKind(18.0, 9.0, 0.0, 0.0)
STEADY_HZ = 20.0
# 30 % of the neurons, and no more input per neuron than the four channels of the paper give
HEARD = reaches(0.3, heard=1.2)
V_MV = (13.5, 15.0)  # reset and threshold, between which v starts

maass_lif = cuba_lif_2.with_defaults(
    "maass_lif", tau_mem=30, tau_exc=3, tau_inh=6, tau_ref=3, r="1 Mohm", v_rest=0, v_threshold=V_MV[1], v_reset=V_MV[0]
)


def maass_column(
    inputs: int,
    shape: tuple[int, ...] = (15, 3, 3),
    *,
    lam: float = 2.0,
    excitatory: float = 0.8,
    connection_scale: float = 1.0,
    inhibition: float = 1.0,
    input_scale: float = 1.0,
    amplitude: Sampler = EXPONENTIAL,
    wiring: Wiring = HEARD,
    delay_ms: Delay | ByKind[Delay] = DELAYS_MS,
    rule: ByKind[PlasticityRule | None] | None = None,
    start: int = 0,
    seed: int = 0,
) -> Liquid:
    """One population, 'liquid', with projections 'ee', 'ei', 'ie', 'ii' onto itself and 'input_e', 'input_i' from INPUT.

    inputs: channels.  shape: the grid.  lam: reach of the connections, in its spacing; the paper's columns have 2.
    connection_scale, inhibition, input_scale: factors on all recurrent weights, on those of inhibitory neurons, on those of the input.
    amplitude: spread of the weights, of mean 1.  rule: dynamic synapses by kind; their weights are then the paper's amplitudes.
    start: draws where v begins, uniformly between reset and threshold; another start is the same column from another state.
    Raises ValueError naming the argument to change.
    """
    whole(1, inputs=inputs)
    whole(0, start=start, seed=seed)
    check_scales(connection_scale=connection_scale, inhibition=inhibition, input_scale=input_scale)
    check_functions(amplitude=amplitude, wiring=wiring)
    connect, size = distance_dependent(shape, lam, CONNECTION), int(np.prod(shape))
    draws = [np.random.default_rng([seed, part]) for part in range(5)]
    is_excitatory = placed_at_random(size, excitatory, draws[0])
    ends = Ends(is_excitatory, is_excitatory)
    adjacency = connect(draws[1], is_excitatory)
    weights = drawn(amplitudes(rule), amplitude)(draws[2], adjacency, ends)
    weights = scipy.sparse.csr_array(weights @ scipy.sparse.diags_array(connection_scale * np.where(is_excitatory, 1.0, inhibition)))
    at_excitatory, at_inhibitory = Receptor("i_exc", "nA", 1.0), Receptor("i_inh", "nA", 1.0)
    inside = recurrent(
        POPULATION,
        weights,
        ends,
        draws[3],
        receptors=ByKind(at_excitatory, at_excitatory, at_inhibitory, at_inhibitory),
        delay_ms=delay_ms,
        rule=rule,
    )
    entering_from = Ends(is_excitatory, np.ones(inputs, dtype=bool))
    entering = input_scale * drawn(INPUT_NA, amplitude)(draws[4], wiring(draws[4], size, inputs), entering_from)
    sources = [
        Projection(INPUT, POPULATION, part, "i_exc", "nA", name=f"{INPUT}_{kind[1]}")
        for kind, part in split_by_kind(entering, entering_from).items()
    ]
    cells = Population(
        POPULATION,
        maass_lif,
        size,
        {"tau_ref": np.where(is_excitatory, 3.0, 2.0)},
        {"i_ext": "13.5 nA"},
        {"v": 1e-3 * np.random.default_rng([seed, 5, start]).uniform(*V_MV, size)},
    )
    return Liquid(Network([cells], [*sources, *inside], [SpikeSource(INPUT, inputs)]), (POPULATION,), is_excitatory)


def amplitudes(rule: ByKind[PlasticityRule | None] | None) -> ByKind[float]:
    """Mean weights in nA: the paper's where a rule makes the synapse dynamic, their steady share where not."""

    def of(kind: str) -> float:
        dynamic = rule is not None and rule[kind] is not None
        return AMPLITUDE_NA[kind] * (1.0 if dynamic else DYNAMICS[kind].steady_share(STEADY_HZ))

    return ByKind(*(of(kind) for kind in ("ee", "ei", "ie", "ii")))
