"""Networks that learn, with every kind of statement that a rule may have, for the tests of the engines."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from spiketwin.models import Network, Parameter, PoissonSource, Population, Projection, neuron
from spiketwin.models.plasticity import Normalisation, PlasticityRule
from spiketwin.rules.plasticity.diehl_cook import diehl_cook

FAST = diehl_cook.with_parameters(nu_pre=0.02, nu_post=0.1)  # weights move within seconds


def random_network(rng, size=10, inputs=12, rule=FAST, share=0.4, receptor="i_syn", model="cuba_lif", unit="nA", **options):
    """Plastic input and plastic recurrence, sparse, a delay for each synapse; each neuron is driven near its threshold."""

    def projection(source, name, n_pre, delay_max, scale):
        weights = scipy.sparse.random_array((size, n_pre), density=share, format="csr", rng=rng, data_sampler=lambda size: rng.random(size))
        delays = weights.copy()
        delays.data = rng.uniform(0, delay_max, weights.nnz)
        weights.data *= scale
        return Projection(source, "cells", weights, receptor, unit, delays, name=name, rule=rule, **options)

    # 8 Mohm: a weight of 1 nA lifts the voltage by some 2 mV; currents alone lead to 18 … 23 mV, the threshold is at 20
    cells = Population("cells", neuron(model), size, {"r": 8}, {"i_ext": rng.uniform(2.2e-9, 2.9e-9, size)})
    return Network(
        [cells],
        [projection("input", "feed", inputs, 10, 1.0), projection("cells", "recurrent", size, 6, 0.5)],
        [PoissonSource("input", inputs, 15.0)],
    )


def largest_difference(a, b, name):
    """Of weights at every step and at the end, relative to the largest."""
    x, y = a.states[name]["w"], b.states[name]["w"]
    return max(np.abs(x - y).max(), np.abs(a.weights[name] - b.weights[name]).max()) / np.abs(x).max()


TRIPLET = PlasticityRule(
    # after Pfister & Gerstner 2006: on_pre reads traces of both sides, and changes a weight whose target never fired
    name="triplet_and_drift",
    pre_traces="dr1/dt = -r1/tau_r1 : 1 \n dr2/dt = -r2/tau_r2 : 1",
    post_traces="do1/dt = -o1/tau_o1 : 1 \n do2/dt = -o2/tau_o2 : 1",
    on_pre="w = clip(w - o1*(a2 + a3*r2) + drift, 0, w_max); r1 += 1; r2 += 1",
    on_post="gain = r1*(a2 + a3*o2); w = clip(w + gain, 0, w_max); o1 += 1; o2 += 1",
    parameters=dict(
        tau_r1=Parameter(17, "ms"), tau_r2=Parameter(100, "ms"), tau_o1=Parameter(34, "ms"), tau_o2=Parameter(125, "ms"),
        a2=Parameter(0.02), a3=Parameter(0.03), drift=Parameter(0.001), w_max=Parameter(1),
    ),
    bounds=("0", "w_max"),
)  # fmt: skip
VOLTAGE = PlasticityRule(
    name="voltage",
    post_traces="dy/dt = -y/tau : 1",
    pre_traces="dx/dt = -x/tau : 1",
    on_pre="x = 1; w = clip(w - eta*(v_post - v_0)/mV, 0, 1)",
    on_post="y = 1; w = clip(w + 5*eta*x, 0, 1)",
    parameters=dict(tau=Parameter(20, "ms"), eta=Parameter(0.01), v_0=Parameter(-55, "mV")),
    post_states={"v": "volt"},
    bounds=("0", "1"),
)
EVERYTHING = PlasticityRule(
    # states of synapses, statements in every step, numbers drawn at each place, and a spike that transmits more or less
    name="everything",
    pre_traces="dx/dt = -x/tau : 1",
    post_traces="dy/dt = -y/tau : 1",
    synapse_states="dc/dt = -c/tau_c : 1 \n n : 1",
    on_pre="c -= eta*y*rand(); n += 1; w = clip(w + 0.01*rand() - 0.005, 0, 1); x += 0.5*(1 - x)",
    on_post="c += eta*x; w = clip(w + 0.1*int(rand() < x), 0, 1); y += 1",
    every_step="w = clip(w + dt/tau*(c + 0.001*n*(rand() - 0.5))*x, 0, 1)",
    every_step_if="(v_post > v_0) and (y > 0.01)",
    efficacy="1 - 0.5*x",
    parameters=dict(tau=Parameter(20, "ms"), tau_c=Parameter(200, "ms"), eta=Parameter(0.05), v_0=Parameter(-60, "mV")),
    post_states={"v": "volt"},
    bounds=("0", "1"),
)
# options of random_network
FORMS = {
    "triplet": {"rule": TRIPLET},
    "everything": {"rule": EVERYTHING},
    "voltage": {"rule": VOLTAGE, "normalisation": Normalisation(2.0, every_ms=100)},
    "dense": {"share": 1.0, "normalisation": Normalisation(3.0, every_ms=150)},
    # jumps of v are lost while refractory, and some weights leave the bounds when they are scaled up
    "gated": {"model": "lif_delta", "receptor": "v", "unit": "mV", "normalisation": Normalisation(6.0, every_ms=50)},
}
