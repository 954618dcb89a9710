"""Adaptive exponential integrate-and-fire neuron (AdEx).

    c_mem dv/dt       = g_leak (v_rest - v) + g_leak delta_t exp((v - v_t)/delta_t) - w + i_syn + i_ext
    tau_w dw/dt       = a (v - v_rest) - w
    tau_syn di_syn/dt = -i_syn,    i_syn <- i_syn + weight   at each presynaptic spike
    spike when v > v_peak, then v <- v_reset and w <- w + b

v_peak is v_t + 5 delta_t, as in Brian2's example of this paper: from there the paper's 20 mV is 5 us away, while
exp((20 mV - v_t)/delta_t) overflows any step that is not adaptive.

Source: Brette & Gerstner 2005, eq. 1-3 and the regular-spiking parameters of its section "Methods"; an
exponential current stands in for their synaptic conductances.
"""

from __future__ import annotations

from spiketwin.models.spec import NeuronSpec, Parameter

adex = NeuronSpec(
    name="adex",
    equations="""
        dv/dt = (g_leak*(v_rest - v) + g_leak*delta_t*exp((v - v_t)/delta_t) - w + i_syn + i_ext)/c_mem : volt
        dw/dt = (a*(v - v_rest) - w)/tau_w : amp
        di_syn/dt = -i_syn/tau_syn : amp
        i_ext : amp
    """,
    parameters=dict(
        c_mem=Parameter(281, "pF", "(0, inf)", "membrane capacitance"),
        g_leak=Parameter(30, "nS", "(0, inf)", "leak conductance"),
        tau_w=Parameter(144, "ms", "(0, inf)", "time constant of adaptation"),
        tau_syn=Parameter(5, "ms", "(0, inf)", "synaptic time constant"),
        a=Parameter(4, "nS", description="subthreshold adaptation"),
        b=Parameter(80.5, "pA", description="adaptation per spike"),
        delta_t=Parameter(2, "mV", "(0, inf)", "slope factor: sharpness of the spike onset"),
        v_rest=Parameter(-70.6, "mV", description="resting potential"),
        v_t=Parameter(-50.4, "mV", description="threshold potential, where the onset begins"),
        v_peak=Parameter(-40.4, "mV", description="potential that counts as a spike"),
        v_reset=Parameter(-70.6, "mV", description="reset potential"),
    ),
    threshold="v > v_peak",
    reset="v = v_reset; w += b",
    inputs=("i_syn",),
    initial={"v": "v_rest"},
    spike_scale="v_t - v_rest",
    source="Brette & Gerstner 2005, eq. 1-3",
)
