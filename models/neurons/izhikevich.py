"""Izhikevich's simple model, in real units.

    dv/dt = 0.04 v^2 + 5 v + 140 - u + i_ext     v in mV, t in ms
    du/dt = a (b v - u)                          v <- v + w   at each presynaptic spike
    spike when v >= 30 mV, then v <- c and u <- u + d

Written with units, 0.04 is 0.04/(mV ms), 5 is 5/ms, 140 is 140 mV/ms, so that u, d and i_ext are in mV/ms (which is
V/s), a and b in 1/ms: with v in mV and t in ms the numbers are the paper's. The defaults are regular spiking;
PATTERNS holds the others of its figure 2.

Source: Izhikevich 2003, eq. 1-3. There a presynaptic spike adds its weight to the input for one step of 1 ms: the
charge of a jump of v by as many mV.
"""

from __future__ import annotations

from collections.abc import Mapping

from spiketwin.models.spec import NeuronSpec, Parameter

izhikevich = NeuronSpec(
    name="izhikevich",
    equations="""
        dv/dt = 0.04*v**2/(mV*ms) + 5*v/ms + 140*mV/ms - u + i_ext : volt
        du/dt = a*(b*v - u) : volt/second
        i_ext : volt/second
    """,
    parameters=dict(
        a=Parameter(0.02, "1/ms", "(0, inf)", "rate of recovery"),
        b=Parameter(0.2, "1/ms", description="sensitivity of recovery to v"),
        c=Parameter(-65, "mV", description="reset potential"),
        d=Parameter(8, "mV/ms", description="rise of u at a spike"),
        v_peak=Parameter(30, "mV", description="peak of a spike"),
    ),
    threshold="v >= v_peak",
    reset="v = c; u += d",
    inputs=("v",),
    initial={"v": "-65*mV", "u": "b*v"},
    spike_scale="v_peak - c",
    source="Izhikevich 2003, eq. 1-3",
)

# Figure 2 of the paper: a and b in 1/ms, c in mV, d in mV/ms.
PATTERNS: Mapping[str, Mapping[str, float]] = {
    "regular spiking": dict(a=0.02, b=0.2, c=-65, d=8),
    "intrinsically bursting": dict(a=0.02, b=0.2, c=-55, d=4),
    "chattering": dict(a=0.02, b=0.2, c=-50, d=2),
    "fast spiking": dict(a=0.1, b=0.2, c=-65, d=2),
    "low-threshold spiking": dict(a=0.02, b=0.25, c=-65, d=2),
}
