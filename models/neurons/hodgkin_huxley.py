"""Hodgkin-Huxley neuron, one compartment at 6.3 degrees Celsius, per membrane area.

    c_mem dv/dt = i_ext + i_syn - g_leak (v - e_leak) - g_na m^3 h (v - e_na) - g_k n^4 (v - e_k)
    dx/dt       = alpha_x (1 - x) - beta_x x,     x = m, h, n
    alpha_m = 0.1 (v+40)/(1 - exp(-(v+40)/10))    beta_m = 4 exp(-(v+65)/18)
    alpha_h = 0.07 exp(-(v+65)/20)                beta_h = 1/(1 + exp(-(v+35)/10))
    alpha_n = 0.01 (v+55)/(1 - exp(-(v+55)/10))   beta_n = 0.125 exp(-(v+65)/80)       v in mV, rates in 1/ms
    tau_syn di_syn/dt = -i_syn,    i_syn <- i_syn + w   at each presynaptic spike
    spike when v rises through v_spike; it can spike again once v has fallen below

With exprel(x) = (exp(x) - 1)/x, alpha_m is 1/exprel(-(v+40)/10): no 0/0 at -40 mV. v_spike is -40 mV because above
80 uA/cm^2 the peaks stay below 0 mV.

`hh_1952` has the paper's leak reversal, which makes the current at -65 mV vanish; `hh_neuron` that of NEURON's `hh`.

Source: Hodgkin & Huxley 1952, in today's sign convention with the rest near -65 mV; Hines & Carnevale 1997 (hh.mod).
"""

from __future__ import annotations

from dataclasses import replace

from spiketwin.models.spec import NeuronSpec, Parameter

hh_1952 = NeuronSpec(
    name="hh_1952",
    equations="""
        dv/dt = (i_ext + i_syn - g_leak*(v - e_leak) - g_na*m**3*h*(v - e_na) - g_k*n**4*(v - e_k))/c_mem : volt
        dm/dt = alpha_m*(1 - m) - beta_m*m : 1
        dh/dt = alpha_h*(1 - h) - beta_h*h : 1
        dn/dt = alpha_n*(1 - n) - beta_n*n : 1
        di_syn/dt = -i_syn/tau_syn : amp/metre**2
        alpha_m = 1/exprel(-(v + 40*mV)/(10*mV))/ms : hertz
        beta_m = 4*exp(-(v + 65*mV)/(18*mV))/ms : hertz
        alpha_h = 0.07*exp(-(v + 65*mV)/(20*mV))/ms : hertz
        beta_h = 1/(1 + exp(-(v + 35*mV)/(10*mV)))/ms : hertz
        alpha_n = 0.1/exprel(-(v + 55*mV)/(10*mV))/ms : hertz
        beta_n = 0.125*exp(-(v + 65*mV)/(80*mV))/ms : hertz
        i_ext : amp/metre**2
    """,
    parameters=dict(
        c_mem=Parameter(1, "uF/cm**2", "(0, inf)", "membrane capacitance"),
        g_na=Parameter(120, "mS/cm**2", "[0, inf)", "peak sodium conductance"),
        g_k=Parameter(36, "mS/cm**2", "[0, inf)", "peak potassium conductance"),
        g_leak=Parameter(0.3, "mS/cm**2", "[0, inf)", "leak conductance"),
        e_na=Parameter(50, "mV", description="sodium reversal potential"),
        e_k=Parameter(-77, "mV", description="potassium reversal potential"),
        e_leak=Parameter(-54.387, "mV", description="leak reversal potential"),
        tau_syn=Parameter(5, "ms", "(0, inf)", "synaptic time constant"),
        v_spike=Parameter(-40, "mV", description="potential that counts as a spike"),
    ),
    threshold="v > v_spike",
    refractory="v > v_spike",
    inputs=("i_syn",),
    initial={
        "v": "-65*mV",
        "m": "alpha_m/(alpha_m + beta_m)",
        "h": "alpha_h/(alpha_h + beta_h)",
        "n": "alpha_n/(alpha_n + beta_n)",
    },
    spike_scale="10*mV",
    source="Hodgkin & Huxley 1952",
)

hh_neuron = replace(
    hh_1952.with_defaults(name="hh_neuron", e_leak=-54.3),
    source="Hodgkin & Huxley 1952 with the leak reversal of NEURON's hh.mod",
)
