"""Reward-modulated STDP: what a pair of spikes earns is kept in an eligibility trace until a reward cashes it in.

    dc/dt = -c/tau_c      c <- c + a_plus x when the neuron fires, c <- c - a_minus y as a spike arrives
    dw/dt = eta c d       d: the neuromodulator at the target

d is a state of the target population on which rewards act like spikes on any receptor: spiketwin.models.neurons.modulated(neuron) adds
it. It decays with the time constant of the neuron's tau_d; a reward of 1 is a spike with weight 1, a punishment one with weight -1.
Between rewards nothing is computed: where d is below 1e-6, synapses are left alone.

Izhikevich's constants keep eligibility for a second and let dopamine last .2 s; Florian's (MSTDPET) for 25 ms.

Source: Izhikevich 2007, Cereb. Cortex 17:2443, eq. 1-3; Florian 2007, Neural Comput. 19:1468, eq. 3.1-3.5.
"""

from __future__ import annotations

from dataclasses import replace

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter

izhikevich = PlasticityRule(
    name="reward_izhikevich",
    pre_traces="dx/dt = -x/tau_plus : 1",
    post_traces="dy/dt = -y/tau_minus : 1",
    synapse_states="dc/dt = -c/tau_c : 1",
    on_pre="x += 1; c -= a_minus*y",
    on_post="y += 1; c += a_plus*x",
    every_step="w = clip(w + dt*eta*c*d_post, w_min, w_max)",
    every_step_if="abs(d_post) > 1e-6",
    post_states={"d": "1"},
    parameters=dict(
        tau_plus=Parameter(20, "ms", "(0, inf)", "time constant of potentiation"),
        tau_minus=Parameter(20, "ms", "(0, inf)", "time constant of depression"),
        tau_c=Parameter(1, "second", "(0, inf)", "how long a synapse remains eligible"),
        a_plus=Parameter(1, "1", "[0, inf)", "eligibility earned by pre before post"),
        a_minus=Parameter(1.5, "1", "[0, inf)", "eligibility lost by post before pre"),
        eta=Parameter(0.1, "Hz", "[0, inf)", "learning rate, per second of full reward"),
        w_min=Parameter(0, "1", "(-inf, inf)", "smallest weight"),
        w_max=Parameter(1, "1", "(-inf, inf)", "largest weight"),
    ),
    bounds=("w_min", "w_max"),
    source="Izhikevich 2007, eq. 1-3",
)
florian = replace(
    izhikevich.with_parameters(tau_c="25 ms", a_minus=1.0, eta=1.0), name="reward_florian", source="Florian 2007, eq. 3.1-3.5 (MSTDPET)"
)
