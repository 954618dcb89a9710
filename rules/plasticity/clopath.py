"""Voltage-based STDP: depression where a spike finds a depolarised neuron, potentiation while voltage is high.

    dx/dt = -x/tau_x,   x <- x + 1/tau_x as a spike arrives (in 1/ms)
    arrival:      w <- w - w_max a_ltd [v_minus - theta_minus]+
    all the time: dw/dt = w_max a_ltp x [v - theta_plus]+ [v_plus - theta_minus]+

v_minus and v_plus are the voltage, filtered; spiketwin.models.neurons.listening(neuron, rule.post_states) adds them to a neuron. Voltages
count in mV, a_ltd per mV, a_ltp per mV². Synapses of a neuron are left alone while its voltage is low. The homeostasis of a_ltd is left out.
The paper reads filtered voltages as they were before the spike that is under way (by a delay as long as a spike): a neuron whose spikes last declares
v_minus and v_plus itself, so that they stand still in a spike and take it in after it. Where they do, the published curve of pairs against
their frequency comes out. A neuron whose spikes take no time, as that of window() by default, hardly potentiates: give window() one whose spikes last,
as neuron=….

Source: Clopath, Büsing, Vasilaki & Gerstner 2010, Nat. Neurosci. 13:344, eq. 1-3 and the constants for visual cortex of its table 1.
"""

from __future__ import annotations

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter

clopath = PlasticityRule(
    name="clopath",
    pre_traces="dx/dt = -x/tau_x : 1",
    on_pre="w = clip(w - w_max*a_ltd*int(v_minus_post > theta_minus)*(v_minus_post - theta_minus)/mV, 0, w_max); x += ms/tau_x",
    every_step="w = clip(w + w_max*a_ltp*dt/ms*x*(v_post - theta_plus)/mV*(v_plus_post - theta_minus)/mV, 0, w_max)",
    every_step_if="(v_post > theta_plus) and (v_plus_post > theta_minus)",
    post_states={"v": "volt", "v_minus": "volt", "v_plus": "volt"},
    parameters=dict(
        a_ltd=Parameter(14e-5, "1", "[0, inf)", "depression, per mV"),
        a_ltp=Parameter(8e-5, "1", "[0, inf)", "potentiation, per mV²"),
        theta_minus=Parameter(-70.6, "mV", "(-inf, inf)", "filtered voltage above which the weight changes"),
        theta_plus=Parameter(-45.3, "mV", "(-inf, inf)", "voltage above which it grows"),
        tau_x=Parameter(15, "ms", "(0, inf)", "time constant of the presynaptic trace"),
        w_max=Parameter(1, "1", "(0, inf)", "largest weight"),
    ),
    bounds=("0", "w_max"),
    source="Clopath et al. 2010, eq. 1-3",
)
