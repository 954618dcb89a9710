"""Inhibitory STDP: inhibition grows until the neuron fires at its target rate.

    x, y decay with tau; x <- x + 1 as an (inhibitory) spike arrives, y <- y + 1 when the neuron fires
    arrival:  w <- w + eta (y - 2 rho_0 tau)
    spike:    w <- w + eta x,     w in 0 … w_max

A neuron that fires at rho_0 has y = rho_0 tau on average: what its spikes add and what its inhibitory inputs take is then equal.

Source: Vogels, Sprekeler, Zenke, Clopath & Gerstner 2011, Science 334:1569, eq. 1.
"""

from __future__ import annotations

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter

inhibitory = PlasticityRule(
    name="inhibitory",
    pre_traces="dx/dt = -x/tau : 1",
    post_traces="dy/dt = -y/tau : 1",
    on_pre="x += 1; w = clip(w + eta*(y - 2*rho_0*tau), 0, w_max)",
    on_post="y += 1; w = clip(w + eta*x, 0, w_max)",
    parameters=dict(
        tau=Parameter(20, "ms", "(0, inf)", "time constant of both traces"),
        eta=Parameter(1e-2, "1", "[0, inf)", "learning rate"),
        rho_0=Parameter(5, "Hz", "[0, inf)", "target rate"),
        w_max=Parameter(1, "1", "(0, inf)", "largest weight"),
    ),
    bounds=("0", "w_max"),
    source="Vogels et al. 2011, eq. 1",
)
