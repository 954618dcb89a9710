"""The neurons of a trained recurrent network: a hidden one that resets by subtraction, and a read-out that never spikes.

    tau_mem dv/dt     = v_rest - v + r (i_syn + i_ext)
    tau_syn di_syn/dt = -i_syn,    i_syn <- i_syn + w   at each presynaptic spike
    rnn_lif: spike when v > v_threshold, then v <- v - (v_threshold - v_rest)

With v_rest = 0 and v_threshold = 1 mV, r = 1 Mohm and weights in nA, voltages are numbers of thresholds. One step of
this model is the recurrent network I(t+1) = alpha I(t) + W S(t), U(t+1) = beta (U(t) - S(t)) + gain I(t), with
alpha = exp(-dt/tau_syn) and beta = exp(-dt/tau_mem); setting gain = 1 is the usual error of that mapping. Written
with the subtraction after the decay, beta U(t) - S(t), it is the preset `recurrent_mapping` of models/semantics.py.

Source: Neftci, Mostafa & Zenke 2019, eq. 1-6, for the mapping of the differential equation to the recurrent network.
"""

from __future__ import annotations

from dataclasses import replace

from spiketwin.models.spec import NeuronSpec, Parameter

rnn_lif = NeuronSpec(
    name="rnn_lif",
    equations="""
        dv/dt = (v_rest - v + r*(i_syn + i_ext))/tau_mem : volt
        di_syn/dt = -i_syn/tau_syn : amp
        i_ext : amp
    """,
    parameters=dict(
        tau_mem=Parameter(10, "ms", "(0, inf)", "membrane time constant"),
        tau_syn=Parameter(5, "ms", "(0, inf)", "synaptic time constant"),
        r=Parameter(1, "Mohm", "(0, inf)", "input resistance"),
        v_rest=Parameter(0, "mV", description="resting potential"),
        v_threshold=Parameter(1, "mV", description="threshold"),
    ),
    threshold="v > v_threshold",
    reset="v -= v_threshold - v_rest",
    inputs=("i_syn",),
    initial={"v": "v_rest"},
    spike_scale="v_threshold - v_rest",
    source="the RNN mapping; Neftci, Mostafa & Zenke 2019, eq. 1-6",
)

leaky_readout = replace(
    rnn_lif,
    name="leaky_readout",
    parameters={name: p for name, p in rnn_lif.parameters.items() if name != "v_threshold"},
    threshold="",
    reset="",
    spike_scale="",
)
