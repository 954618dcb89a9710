"""Short-term plasticity: what a spike transmits depends on the spikes before it, and is forgotten within a second.

    u decays with tau_facil and rises by U (1 - u) at a spike: the share of resources that it uses
    z decays with tau_rec and rises by u (1 - z): the share of resources that is used up
    a spike transmits w u (1 - z), with u as the spike has raised it and z as it finds it

z is 1 - R of the paper. Depressing synapses have a large U and recover slowly; facilitating ones a small U that is kept long.
In a regular train of rate r the n-th spike transmits what the recursion of eq. 2.3-2.4 says; the steady value falls as
1/(r tau_rec) at high rates.

Source: Tsodyks, Pawelzik & Markram 1998, Neural Comput. 10:821, eq. 2.1-2.4; constants of Markram, Wang & Tsodyks 1998, PNAS 95:5323.
"""

from __future__ import annotations

from dataclasses import replace

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter

depressing = PlasticityRule(
    name="short_term_depression",
    pre_traces="du/dt = -u/tau_facil : 1 \n dz/dt = -z/tau_rec : 1",
    on_pre="u += U*(1 - u); z += u*(1 - z)",
    efficacy="(u + U*(1 - u))*(1 - z)",
    parameters=dict(
        U=Parameter(0.5, "1", "[0, 1]", "share of resources that a spike after a long pause uses"),
        tau_rec=Parameter(800, "ms", "(0, inf)", "time constant of recovery"),
        tau_facil=Parameter(1e-3, "ms", "(0, inf)", "time constant of facilitation; far below the time between spikes: none"),
    ),
    source="Tsodyks, Pawelzik & Markram 1998, eq. 2.1-2.4",
)
facilitating = replace(
    depressing.with_parameters(U=0.03, tau_rec="130 ms", tau_facil="530 ms"),
    name="short_term_facilitation",
    source="Markram, Wang & Tsodyks 1998",
)
