"""Rules of rates, event by event: Hebb, Oja, BCM. A trace is a running estimate of a rate, x/tau spikes per second.

    x, y decay with tau and rise by 1 at each spike
    Hebb:  neuron fires:  w <- w + eta x                    grows without end but for its bounds
    Oja:   neuron fires:  w <- w + eta (x - w y)            ends with weights of length one along the first principal component
    BCM:   neuron fires:  w <- w + eta x (y - theta),       theta a slow running mean of y²/y_0

    theta decays with tau_theta and rises by y tau/(tau_theta y_0) at each spike, which come y/tau times a second: it settles at y²/y_0.
    What the neuron is used to is the threshold between depression and potentiation.

A postsynaptic spike train of rate r is a sum over spikes: these statements, each executed r times per second, are eta r x and so on.

Source: Hebb 1949; Oja 1982, J. Math. Biol. 15:267, eq. 3; Bienenstock, Cooper & Munro 1982, J. Neurosci. 2:32, eq. 4-5, with the
threshold of Intrator & Cooper 1992 (a mean of squares).
"""

from __future__ import annotations

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter

RATES = dict(
    tau=Parameter(100, "ms", "(0, inf)", "time over which rates are estimated"),
    eta=Parameter(1e-3, "1", "[0, inf)", "learning rate"),
)
LARGEST = dict(w_max=Parameter(1, "1", "(0, inf)", "largest weight"))

hebb = PlasticityRule(
    name="hebb",
    pre_traces="dx/dt = -x/tau : 1",
    on_pre="x += 1",
    on_post="w = clip(w + eta*x, 0, w_max)",
    parameters={**RATES, **LARGEST},
    bounds=("0", "w_max"),
    source="Hebb 1949",
)
oja = PlasticityRule(
    name="oja",
    pre_traces="dx/dt = -x/tau : 1",
    post_traces="dy/dt = -y/tau : 1",
    on_pre="x += 1",
    on_post="w = w + eta*(x - w*y); y += 1",
    parameters=RATES,
    source="Oja 1982, eq. 3",
)
bcm = PlasticityRule(
    name="bcm",
    pre_traces="dx/dt = -x/tau : 1",
    post_traces="dy/dt = -y/tau : 1 \n dtheta/dt = -theta/tau_theta : 1",
    on_pre="x += 1",
    # y as before this spike: of a Poisson train it then is the rate times tau on average
    on_post="w = clip(w + eta*x*(y - theta), 0, w_max); theta += y*tau/(tau_theta*y_0); y += 1",
    parameters={
        **RATES,
        "tau_theta": Parameter(10, "second", "(0, inf)", "time over which the threshold follows the neuron's activity"),
        "y_0": Parameter(1, "1", "(0, inf)", "activity y at which the threshold equals the activity"),
        **LARGEST,
    },
    bounds=("0", "w_max"),
    source="Bienenstock, Cooper & Munro 1982, eq. 4-5",
)
