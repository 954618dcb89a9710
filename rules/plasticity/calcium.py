"""A synapse that reads its calcium: high levels potentiate, lower ones depress, and in between spikes it stays with one of two states.

    dc/dt = -c/tau_ca      c <- c + c_pre as a presynaptic spike arrives, c <- c + c_post when the neuron fires
    tau dw/dt = -w (1 - w) (w_star - w) + gamma_p (1 - w) [c > theta_p] - gamma_d w [c > theta_d]

w is the efficacy rho of the paper, between 0 (down) and 1 (up); w_star = .5 separates the two wells. Integrated by Euler at the network's
step, so a step of a tenth of tau_ca or less is advised. `calcium` leaves out the noise, and computes the mean path above the thresholds; `calcium_noisy` has it, in whole:

    + sigma sqrt(tau) sqrt([c > theta_d] + [c > theta_p]) eta(t)          eta: Gaussian white noise

so that a protocol moves some synapses from one state to the other and not others, as in the paper's calculation of transition
probabilities. Its numbers are normal ones made of two uniform ones (Box & Muller). Nothing bounds it, as in the paper. A presynaptic spike raises calcium late, by D: give the
projection a delay that contains it.

CURVES holds the sets of constants, each with its D, that give windows of six shapes: D depression, P potentiation, in order of the time
from pre to post. The first, DP, is the rule `calcium`.

Source: Graupner & Brunel 2012, PNAS 109:3991, eq. 1-2 and table S1.
"""

from __future__ import annotations

from dataclasses import replace

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter

calcium = PlasticityRule(
    name="calcium",
    synapse_states="dc/dt = -c/tau_ca : 1",
    on_pre="c += c_pre",
    on_post="c += c_post",
    every_step="""
        push = gamma_p*(1 - w)*int(c > theta_p) - gamma_d*w*int(c > theta_d)
        w = clip(w + dt/tau*(push - w*(1 - w)*(w_star - w)), 0, 1)
    """,
    parameters=dict(
        tau_ca=Parameter(20, "ms", "(0, inf)", "time constant of calcium"),
        tau=Parameter(150, "second", "(0, inf)", "time constant of the efficacy"),
        c_pre=Parameter(1, "1", "[0, inf)", "calcium of a presynaptic spike"),
        c_post=Parameter(2, "1", "[0, inf)", "calcium of a postsynaptic spike"),
        theta_d=Parameter(1, "1", "[0, inf)", "calcium above which the synapse depresses"),
        theta_p=Parameter(1.3, "1", "[0, inf)", "calcium above which it potentiates"),
        gamma_d=Parameter(200, "1", "[0, inf)", "rate of depression, per tau"),
        gamma_p=Parameter(321.808, "1", "[0, inf)", "rate of potentiation, per tau"),
        w_star=Parameter(0.5, "1", "(0, 1)", "efficacy that separates the two states"),
    ),
    bounds=("0", "1"),
    source="Graupner & Brunel 2012, eq. 1-2",
)
noisy = replace(
    calcium,
    name="calcium_noisy",
    every_step="""
        high = int(c > theta_p)
        low = int(c > theta_d)
        push = gamma_p*(1 - w)*high - gamma_d*w*low - w*(1 - w)*(w_star - w)
        normal = sqrt(-2*log(1 - rand()))*cos(6.283185307179586*rand())
        w = w + dt/tau*push + sigma*sqrt(dt/tau*(high + low))*normal
    """,
    parameters={**calcium.parameters, "sigma": Parameter(2.8284, "1", "[0, inf)", "size of the noise")},
    bounds=("-inf", "inf"),
)
# shape of the window, as the paper names it -> rule and D in ms
CURVES = {
    "DP": (calcium, 13.7),
    "DPD": (calcium.with_parameters(c_pre=0.9, c_post=0.9, gamma_d=250, gamma_p=550), 4.6),
    "DPD'": (calcium.with_parameters(theta_p=2.5, gamma_d=50, gamma_p=600), 2.2),
    "P": (calcium.with_parameters(c_pre=2, c_post=2, gamma_d=160, gamma_p=257.447), 0.0),
    "D": (calcium.with_parameters(c_pre=0.6, c_post=0.6, gamma_d=500, gamma_p=550), 0.0),
    "D'": (calcium.with_parameters(theta_p=3.5, gamma_d=60, gamma_p=600), 0.0),
}
