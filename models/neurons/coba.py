"""Conductance-based leaky integrate-and-fire neuron (COBA) with exponential synapses.

    c_mem dv/dt       = g_leak (v_rest - v) + g_exc (e_exc - v) + g_inh (e_inh - v) + i_ext
    tau_exc dg_exc/dt = -g_exc,    g_exc <- g_exc + w   at each excitatory spike (6 nS in the network)
    tau_inh dg_inh/dt = -g_inh,    g_inh <- g_inh + w   at each inhibitory spike (67 nS)
    spike when v > v_threshold, then v <- v_reset, held for tau_ref

Source: Vogels & Abbott 2005; Brette et al. 2007, benchmark 1 (membrane time constant 20 ms).
"""

from __future__ import annotations

from spiketwin.models.spec import NeuronSpec, Parameter

coba_lif = NeuronSpec(
    name="coba_lif",
    equations="""
        dv/dt = (g_leak*(v_rest - v) + g_exc*(e_exc - v) + g_inh*(e_inh - v) + i_ext)/c_mem : volt (unless refractory)
        dg_exc/dt = -g_exc/tau_exc : siemens
        dg_inh/dt = -g_inh/tau_inh : siemens
        i_ext : amp
    """,
    parameters=dict(
        c_mem=Parameter(200, "pF", "(0, inf)", "membrane capacitance"),
        g_leak=Parameter(10, "nS", "(0, inf)", "leak conductance"),
        e_exc=Parameter(0, "mV", description="reversal potential of excitation"),
        e_inh=Parameter(-80, "mV", description="reversal potential of inhibition"),
        tau_exc=Parameter(5, "ms", "(0, inf)", "time constant of excitation"),
        tau_inh=Parameter(10, "ms", "(0, inf)", "time constant of inhibition"),
        tau_ref=Parameter(5, "ms", "[0, inf)", "refractory period"),
        v_rest=Parameter(-60, "mV", description="resting potential"),
        v_threshold=Parameter(-50, "mV", description="threshold"),
        v_reset=Parameter(-60, "mV", description="reset potential"),
    ),
    threshold="v > v_threshold",
    reset="v = v_reset",
    refractory="tau_ref",
    inputs=("g_exc", "g_inh"),
    initial={"v": "v_rest"},
    spike_scale="v_threshold - v_rest",
    source="Vogels & Abbott 2005; Brette et al. 2007, benchmark 1",
)
