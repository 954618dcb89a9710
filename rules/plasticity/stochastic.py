"""Stochastic STDP: synapses of one or a few bits that switch with a probability.

What a rule with real weights would add a little to each time, such a synapse takes on at once, but rarely. Its weight has `levels`
values from 0 to 1 and moves by one of them, step = 1/(levels - 1); with two levels it is one bit, where a real weight has 32.

    traces:     spike arrives: w <- w - step with probability p_minus y;  neuron fires: w <- w + step with probability p_plus x
                (x, y: traces of nearest spikes, exp(-time since the last spike/tau))
    window:     neuron fires: w <- w + step with probability p_plus where a spike arrived within `window`, else
                w <- w - step with probability p_minus
    graded:     as window, but a step up has probability p_plus x: the longer ago, the rarer

Each synapse draws for itself, the same number in every engine. A postsynaptic spike that switches with probability p after each
pairing leaves a share (1 - p)^n of synapses unchanged after n of them.

Source: Srinivasan & Roy 2019, Front. Neurosci. 13:189 (ReStoCNet), for probabilities that follow the traces; Querlioz, Bichler,
Dollfus & Gamrat 2013, IEEE Trans. Nanotechnol. 12:288, and Suri et al. 2013, for the window; Yousefzadeh, Stromatias, Soto, Serrano &
Linares 2018, Front. Neurosci. 12:665, for one bit and depression without a presynaptic spike. The constants are ours.
"""

from __future__ import annotations

from math import log2

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter

LEVELS = dict(levels=Parameter(2, "1", "[2, inf)", "values that a weight may take, from 0 to 1", is_whole=True))
SWITCH = dict(
    p_plus=Parameter(0.1, "1", "[0, 1]", "largest probability of a step up"),
    p_minus=Parameter(0.05, "1", "[0, 1]", "largest probability of a step down"),
)
UP, DOWN = "clip(w + 1/(levels - 1), 0, 1)", "clip(w - 1/(levels - 1), 0, 1)"


def bits_per_synapse(rule: PlasticityRule) -> float:
    """Bits that a synapse of the rule keeps: log2 of its levels, or of the depths of its two; 32 for a real weight in single precision."""
    states = rule.values.get("levels") or 2 * rule.values.get("depths", 0)
    return log2(states) if states else 32.0


def chosen(p: str, then: str) -> str:
    """`then` with probability p, else the weight as it is."""
    return f"flip = int(rand() < {p}); w = flip*({then}) + (1 - flip)*w"


traces = PlasticityRule(
    name="stochastic_traces",
    pre_traces="dx/dt = -x/tau_plus : 1",
    post_traces="dy/dt = -y/tau_minus : 1",
    on_pre=f"x = 1; {chosen('p_minus*y', DOWN)}",
    on_post=f"y = 1; {chosen('p_plus*x', UP)}",
    parameters=dict(
        tau_plus=Parameter(20, "ms", "(0, inf)", "time constant of potentiation"),
        tau_minus=Parameter(20, "ms", "(0, inf)", "time constant of depression"),
        **SWITCH,
        **LEVELS,
    ),
    bounds=("0", "1"),
    source="Srinivasan & Roy 2019",
)
window = PlasticityRule(
    name="stochastic_window",
    pre_traces="dx/dt = -x/window : 1",
    on_pre="x = 1",
    # a trace is 1/e one window after the spike; a little less, so that a spike exactly that long ago counts whatever the rounding
    on_post=f"recent = int(x > 0.999*exp(-1)); {chosen('recent*p_plus', UP)}; {chosen('(1 - recent)*p_minus', DOWN)}",
    parameters=dict(window=Parameter(20, "ms", "(0, inf)", "how long a spike counts as recent"), **SWITCH, **LEVELS),
    bounds=("0", "1"),
    source="Querlioz et al. 2013",
)
graded = PlasticityRule(
    name="stochastic_graded",
    pre_traces="dx/dt = -x/window : 1",
    on_pre="x = 1",
    on_post=f"recent = int(x > 0.999*exp(-1)); {chosen('recent*p_plus*x', UP)}; {chosen('(1 - recent)*p_minus', DOWN)}",
    parameters=dict(window=Parameter(20, "ms", "(0, inf)", "how long a spike counts as recent"), **SWITCH, **LEVELS),
    bounds=("0", "1"),
    source="Yousefzadeh et al. 2018",
)
