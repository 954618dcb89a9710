"""Hodgkin-Huxley neuron with Traub-Miles kinetics and conductance synapses: benchmark 3 of Brette et al.

    c_mem dv/dt = g_leak (e_leak - v) + g_exc (e_exc - v) + g_inh (e_inh - v)
                  - g_na m^3 h (v - e_na) - g_k n^4 (v - e_k) + i_ext
    dx/dt       = alpha_x (1 - x) - beta_x x,     x = m, h, n;  with y = v - v_t in mV, rates in 1/ms:
    alpha_m = 0.32 (13-y)/(exp((13-y)/4) - 1)     beta_m = 0.28 (y-40)/(exp((y-40)/5) - 1)
    alpha_h = 0.128 exp((17-y)/18)                beta_h = 4/(1 + exp((40-y)/5))
    alpha_n = 0.032 (15-y)/(exp((15-y)/5) - 1)    beta_n = 0.5 exp((10-y)/40)
    g_exc <- g_exc + w (6 nS in the network),  g_inh <- g_inh + w (67 nS)   at each presynaptic spike
    spike when v > v_spike and the last spike is tau_ref ago; no reset

Absolute units, for an area of 20,000 um^2: 200 pF, gNa 20 uS, gK 6 uS, gL 10 nS, so that the COBA weights hold.
With the leak reversal of -60 mV the neuron fires at 14 Hz without input; at -65 mV it is silent.

Source: Traub & Miles 1991; Brette et al. 2007, benchmark 3, with the values of Brian2's COBAHH example.
"""

from __future__ import annotations

from spiketwin.models.spec import NeuronSpec, Parameter

hh_traub_miles = NeuronSpec(
    name="hh_traub_miles",
    equations="""
        dv/dt = (g_leak*(e_leak - v) + g_exc*(e_exc - v) + g_inh*(e_inh - v)
                - g_na*m**3*h*(v - e_na) - g_k*n**4*(v - e_k) + i_ext)/c_mem : volt
        dm/dt = alpha_m*(1 - m) - beta_m*m : 1
        dh/dt = alpha_h*(1 - h) - beta_h*h : 1
        dn/dt = alpha_n*(1 - n) - beta_n*n : 1
        dg_exc/dt = -g_exc/tau_exc : siemens
        dg_inh/dt = -g_inh/tau_inh : siemens
        alpha_m = 1.28/exprel((13*mV - v + v_t)/(4*mV))/ms : hertz
        beta_m = 1.4/exprel((v - v_t - 40*mV)/(5*mV))/ms : hertz
        alpha_h = 0.128*exp((17*mV - v + v_t)/(18*mV))/ms : hertz
        beta_h = 4/(1 + exp((40*mV - v + v_t)/(5*mV)))/ms : hertz
        alpha_n = 0.16/exprel((15*mV - v + v_t)/(5*mV))/ms : hertz
        beta_n = 0.5*exp((10*mV - v + v_t)/(40*mV))/ms : hertz
        i_ext : amp
    """,
    parameters=dict(
        c_mem=Parameter(200, "pF", "(0, inf)", "membrane capacitance"),
        g_na=Parameter(20000, "nS", "[0, inf)", "peak sodium conductance"),
        g_k=Parameter(6000, "nS", "[0, inf)", "peak potassium conductance"),
        g_leak=Parameter(10, "nS", "[0, inf)", "leak conductance"),
        e_na=Parameter(50, "mV", description="sodium reversal potential"),
        e_k=Parameter(-90, "mV", description="potassium reversal potential"),
        e_leak=Parameter(-60, "mV", description="leak reversal potential"),
        e_exc=Parameter(0, "mV", description="reversal potential of excitation"),
        e_inh=Parameter(-80, "mV", description="reversal potential of inhibition"),
        tau_exc=Parameter(5, "ms", "(0, inf)", "time constant of excitation"),
        tau_inh=Parameter(10, "ms", "(0, inf)", "time constant of inhibition"),
        tau_ref=Parameter(3, "ms", "[0, inf)", "shortest time between two counted spikes"),
        v_t=Parameter(-63, "mV", description="shift of the kinetics, sets the threshold"),
        v_spike=Parameter(-20, "mV", description="potential that counts as a spike"),
    ),
    threshold="v > v_spike",
    refractory="tau_ref",
    inputs=("g_exc", "g_inh"),
    initial={
        "v": "e_leak",
        "m": "alpha_m/(alpha_m + beta_m)",
        "h": "alpha_h/(alpha_h + beta_h)",
        "n": "alpha_n/(alpha_n + beta_n)",
    },
    spike_scale="10*mV",
    source="Traub & Miles 1991; Brette et al. 2007, benchmark 3",
)
