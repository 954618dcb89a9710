"""Every platform's rules against its own update, written out by hand as that platform codes it.

The hand-written loops share no code with the interpreter: each is the platform's few lines, in its order.
"""

from __future__ import annotations

from math import exp, floor

import numpy as np
import pytest

from spiketwin.models.mapping import PhysicalLIF, to_recurrent
from spiketwin.models.recurrent import run_recurrent_lif, unit_response
from spiketwin.models.semantics import PLATFORMS

M, S, TH, REF = (
    20.0,
    5.0,
    1.0,
    3,
)  # tau_mem and tau_syn in steps of 1 ms, threshold, refractory steps
A, B = exp(-1 / S), exp(-1 / M)
AE, BE = 1 - 1 / S, 1 - 1 / M
P21 = S / (M - S) * (B - A)


def brian2(x, a, b, g):
    v = i = 0.0
    last = -1000
    for n, x_n in enumerate(x):
        active = n - last >= REF
        v_old, i_old = v, i
        if active:
            v = b * v_old + g * i_old
        i = a * i_old
        seen = v
        s = active and v > TH
        i += x_n
        if s:
            v, last = 0.0, n
        yield seen, s


def brian2_delta(x):
    v, last = 0.0, -1000
    for n, x_n in enumerate(x):
        active = n - last >= REF
        if active:
            v = B * v
        seen = v
        s = active and v > TH
        if active and not s:
            v += x_n
        if s:
            v, last = 0.0, n
        yield seen, s


def nest(x):
    v = i = 0.0
    r = 0
    for x_n in x:
        if r == 0:
            v = P21 * i + B * v
        else:
            r -= 1
        i = A * i
        i += x_n
        seen = v
        s = v >= TH
        if s:
            r, v = REF, 0.0
        yield seen, s


def snntorch_leaky(x, b=B, gain=1.0):
    mem = 0.0
    for x_n in x:
        reset = mem > TH
        mem = b * mem + gain * x_n - reset * TH
        yield mem, mem > TH


def snntorch_leaky_zero(x):
    mem = 0.0
    for x_n in x:
        reset = mem > TH
        mem = (1 - reset) * mem
        mem = B * mem + x_n
        yield mem, mem > TH


def snntorch_leaky_no_delay(x):
    mem = 0.0
    for x_n in x:
        mem = B * mem + x_n
        spk = mem > TH
        seen = mem
        mem = mem - spk * TH
        yield seen, spk


def snntorch_rleaky_zero(x):
    mem = 0.0
    for x_n in x:
        reset = mem > TH
        mem = (B * mem + x_n) * (1 - reset)
        yield mem, mem > TH


def snntorch_synaptic(x, a=A, b=B, zero=False):
    syn = mem = 0.0
    for x_n in x:
        reset = mem > TH
        syn = a * syn + x_n
        mem = (b * mem + syn) * (1 - reset) if zero else b * mem + syn - reset * TH
        yield mem, mem > TH


def norse_lif_cell(x):
    v = i = 0.0
    for x_n in x:
        i = i + x_n
        v, i = v + (1 / M) * (0.0 - v + i), i - (1 / S) * i
        z = v > TH
        yield v, z
        v = (1 - z) * v


def norse_lif_refrac(x):
    v = i = 0.0
    rho = 0
    for x_n in x:
        i = i + x_n
        v_new, i = v + (1 / M) * (0.0 - v + i), i - (1 / S) * i
        z = v_new > TH
        mask = rho > 0
        v_seen = v if mask else v_new
        z = (1 - mask) * z
        v = 0.0 if z else v_seen
        rho = REF if z else max(rho - mask, 0)
        yield v_seen, z


def norse_lif_box(x, greater_or_equal=False):
    v = 0.0
    for x_n in x:
        v = v + (1 / M) * (x_n + 0.0 - v)
        z = v >= TH if greater_or_equal else v > TH
        yield v, z
        v = v - z * v


def spikingjelly_undecayed(x):
    v = 0.0
    for x_n in x:
        v = v - (v - 0.0) / M + x_n
        s = v >= TH
        yield v, s
        v = (1 - s) * v


def spytorch(x):
    syn = mem = 0.0
    for x_n in x:
        out = mem > TH
        yield mem, out
        syn, mem = A * syn + x_n, (B * mem + syn) * (1 - out)


def recurrent_mapping(x):
    current = u = 0.0
    for x_n in x:
        s = u > TH
        yield u, s
        current, u = A * current + x_n, B * u + current - s


def bindsnet_lif(x):
    v, count = 0.0, 0
    for x_n in x:
        v = B * v
        v += (count == 0) * x_n
        count = (count > 0) * (count - 1)
        s = v >= TH
        yield v, s
        if s:
            count, v = REF, 0.0


def bindsnet_current_lif(x):
    v, i, count = 0.0, 0.0, 0
    for x_n in x:
        v = B * v
        i *= A
        count = (count > 0) * (count - 1)
        i += x_n
        v += (count == 0) * i
        s = v >= TH
        yield v, s
        if s:
            count, v = REF, 0.0


def mlgenn_lif(x):
    i = v = 0.0
    for x_n in x:
        i = A * i + x_n
        v = B * v + i
        s = v >= TH
        yield v, s
        v -= s * TH


def lava_lif(x):
    u = v = 0.0
    for x_n in x:
        u = u * (1 - 1 / S) + x_n
        v = v * (1 - 1 / M) + u
        s = v > TH
        yield v, s
        v = v * (not s)


def rockpool_lif_torch(x):
    isyn = v = 0.0
    for x_n in x:
        isyn += x_n
        v *= B
        isyn *= A
        v += isyn
        n = max(floor(v / TH), 0)
        yield v, n
        v -= n * TH


def rockpool_lif_ode_jax(x):
    isyn = v = 0.0
    for x_n in x:
        isyn += (-isyn + x_n) * 1 / S
        v += (-v + isyn) * 1 / M
        n = max(floor(v / TH), 0)
        yield v, n
        v -= n * TH


def sinabs(x, gain):
    i = v = 0.0
    for x_n in x:
        i = A * (i + x_n)
        v = B * v + gain * i
        n = int(v / TH) if v > 0 else 0
        yield v, n
        v -= n * TH


def nir_reference(x):
    i = v = 0.0
    for x_n in x:
        i_old = i
        i = i + 1 / S * (-i + x_n)
        v = v + 1 / M * (0.0 - v + i_old)
        z = v > TH
        yield v, z
        v -= z * TH


def spyx_lif(x):
    v = 0.0
    for x_n in x:
        spikes = v > TH
        yield v, spikes
        v = B * v + x_n - spikes * TH


AS_CODED = {
    "brian2_exact": lambda x: brian2(x, A, B, P21),
    "brian2_euler": lambda x: brian2(x, AE, BE, 1 / M),
    "brian2_delta": brian2_delta,
    "nest_iaf_psc_exp": nest,
    "snntorch_leaky": snntorch_leaky,
    "snntorch_leaky_zero": snntorch_leaky_zero,
    "snntorch_leaky_no_delay": snntorch_leaky_no_delay,
    "snntorch_rleaky_zero": snntorch_rleaky_zero,
    "snntorch_synaptic": snntorch_synaptic,
    "snntorch_synaptic_zero": lambda x: snntorch_synaptic(x, zero=True),
    "snntorch_synaptic_nir": lambda x: snntorch_synaptic(x, AE, BE, zero=True),
    "snntorch_lapicque": lambda x: snntorch_leaky(x, BE, 1 / M),
    "norse_lif_cell": norse_lif_cell,
    "norse_lif_refrac": norse_lif_refrac,
    "norse_lif_box": norse_lif_box,
    "spikingjelly_lif": lambda x: norse_lif_box(x, greater_or_equal=True),
    "spikingjelly_lif_undecayed_input": spikingjelly_undecayed,
    "spytorch": spytorch,
    "recurrent_mapping": recurrent_mapping,
    "bindsnet_lif": bindsnet_lif,
    "bindsnet_current_lif": bindsnet_current_lif,
    "mlgenn_lif": mlgenn_lif,
    "lava_lif": lava_lif,
    "rockpool_lif_torch": rockpool_lif_torch,
    "rockpool_lif_ode_jax": rockpool_lif_ode_jax,
    "sinabs_lif": lambda x: sinabs(x, 1 - B),
    "sinabs_lif_unnormalised": lambda x: sinabs(x, 1.0),
    "nir_reference": nir_reference,
    "spyx_lif": spyx_lif,
}


def test_every_platform_is_written_out():
    assert set(AS_CODED) == set(PLATFORMS)


@pytest.mark.parametrize("name", PLATFORMS)
def test_rules_run_as_the_platform_codes_them(name):
    rules = PLATFORMS[name]
    physical = PhysicalLIF(
        M,
        S if rules.synapse == "exponential" else None,
        v_threshold_mv=TH,
        tau_ref_ms=REF if rules.refractory != "none" else 0.0,
    )
    form = to_recurrent(physical, 1.0, rules)
    rng = np.random.default_rng(1)
    # Mean input 1.3 to 2 thresholds in the steady state, whatever the platform's gain.
    charge = form.gain * form.jump / (1 - form.beta) / (1 - form.alpha)
    x = rng.exponential(3.0 / charge, 400) * (rng.random(400) < 0.6)
    v, s = (np.array(column, dtype=float) for column in zip(*AS_CODED[name](x), strict=True))
    run = run_recurrent_lif(form, x)
    assert 8 <= s.sum() <= 200
    np.testing.assert_allclose(run.v, v, rtol=0, atol=1e-12)  # the same sums in another association
    np.testing.assert_array_equal(run.spikes, s)


# PSP of one unit spike, tau_mem 20, tau_syn 5, dt 1 ms, no gain correction: peak, its step, first step with v > 0.
PSP = {
    "brian2_exact": ("0.1574", 9, 1),
    "nest_iaf_psc_exp": ("0.1574", 9, 1),
    "norse_lif_cell": ("0.1653", 8, 0),
    "sinabs_lif": ("0.1423", 8, 0),
    "snntorch_synaptic": ("3.565", 8, 0),
    "bindsnet_current_lif": ("3.565", 8, 0),
    "spytorch": ("3.565", 10, 2),
    "lava_lif": ("3.307", 8, 0),
    "snntorch_synaptic_nir": ("3.307", 8, 0),
    "rockpool_lif_torch": ("2.919", 8, 0),
    "sinabs_lif_unnormalised": ("2.919", 8, 0),
    "rockpool_lif_ode_jax": ("0.0331", 8, 0),
    "nir_reference": ("0.0331", 9, 1),
}


@pytest.mark.parametrize("name", PSP)
def test_one_spike_moves_the_membrane_as_tabulated(name):
    peak, step, latency = PSP[name]
    v = unit_response(PLATFORMS[name]).v
    assert f"{v.max():.{len(peak) - 2}f}" == peak
    assert (v.argmax(), PLATFORMS[name].latency) == (step, latency)


@pytest.mark.parametrize(
    ("name", "reset"),
    [
        ("brian2_exact", ("same", "before", False)),
        (
            "brian2_delta",
            ("same", "before", True),
        ),  # on_pre='v += w' in the step of a spike is wiped
        ("snntorch_leaky", ("next", "after", False)),
        ("snntorch_leaky_zero", ("next", "before", False)),
        ("snntorch_leaky_no_delay", ("same", "before", False)),
        ("snntorch_synaptic_zero", ("next", "after", True)),
        ("spytorch", ("same", "after", True)),
        ("recurrent_mapping", ("same", "after", False)),
    ],
)
def test_reset_follows_from_the_order(name, reset):
    rules = PLATFORMS[name]
    assert (rules.reset_time, rules.reset_relative_to_decay, rules.swallows_input) == reset


@pytest.mark.parametrize(
    ("name", "silent_steps"),
    [
        ("brian2_exact", 2),
        ("nest_iaf_psc_exp", 3),
        ("norse_lif_refrac", 3),
        ("bindsnet_current_lif", 2),
        ("bindsnet_lif", 3),
    ],
)
def test_refractory_steps_follow_from_where_the_counter_stands(name, silent_steps):
    """tau_ref = 3 dt with an input that fires the neuron in every free step: intervals of silent_steps + 1.

    This project's reference counts the spiking step itself (k - 1 = 2 further steps); NEST and Norse do not.
    """
    rules = PLATFORMS[name]
    form = to_recurrent(PhysicalLIF(M, S if rules.synapse == "exponential" else None, tau_ref_ms=3.0), 1.0, rules)
    spikes = np.flatnonzero(run_recurrent_lif(form, np.full(50, 1e4)).spikes)
    assert len(spikes) > 10
    assert set(np.diff(spikes)) == {silent_steps + 1}
    assert rules.refractory_offset + 3 == silent_steps
