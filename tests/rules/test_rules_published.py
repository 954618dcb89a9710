"""Published curves of rules that read the voltage or calcium."""

from __future__ import annotations

from math import erf, exp, sqrt

import numpy as np
import pytest
from scipy.signal import lfilter

from spiketwin.models import NeuronSpec, Parameter
from spiketwin.models.neurons import lif_delta
from spiketwin.rules import RULES, rule
from spiketwin.rules.plasticity.calcium import CURVES, noisy
from spiketwin.rules.protocols import Protocol, Teacher, pairs, weight_changes

# -- Clopath et al. 2010 ------------------------------------------------------------------------------


def test_clopath_under_voltage_clamp():
    """Fig. 1h: presynaptic spikes at 25 Hz, here two, while the voltage is held at u. v_minus = v_plus = u, and the trace has area 1 per spike, so that
    each changes w by -a_ltd [u - theta_minus]+ + a_ltp [u - theta_plus]+ [u - theta_minus]+, which is zero at theta_plus + a_ltd/a_ltp."""
    made, protocol = rule("clopath"), Protocol([100, 140], [])
    held = [-80, -70, -60, -50, -45, -43.55, -40, -20, 0.0]
    changes = []
    for u in held:
        clamped = lif_delta.with_defaults(v_rest=u, v_threshold=100)
        changes += [*weight_changes(made, [protocol], neuron=clamped, dt_ms=0.5, after_ms=300)]
    low, high = (np.maximum(np.subtract(held, theta), 0) for theta in (-70.6, -45.3))
    # area under a trace of unit area in steps of .5 ms, from the step after the spike; after 300 ms exp(-20) of it is left
    area = 0.5 / 15 * exp(-0.5 / 15) / (1 - exp(-0.5 / 15))
    expected = 2 * (-14e-5 * low + 8e-5 * high * low * area)
    np.testing.assert_allclose(changes, expected, rtol=2e-6, atol=2e-9)
    assert changes[0] == 0 and changes[2] < 0 < changes[-1] and abs(changes[5]) < 0.03 * abs(changes[4])


# The paper's neuron while a teacher makes it fire: a spike of 2 ms, of the paper's mean height, then afterdepolarisation z and adaptation. The filtered
# voltages stand still in a spike and take it in after it, as potentiation reads them as they were before the spike. Its exponential term
# matters for where it fires by itself, and is left out.
AFTER = "clip((0.05*ms - left)/(0.01*ms), 0, 1)"  # 1 in the step in which the spike is over
CELL = NeuronSpec(
    name="clopath_cell",
    equations="""
        dv/dt = (1 - fires)*(g_leak*(v_rest - v) - w_ad + z)/c_mem : volt
        dw_ad/dt = (1 - fires)*(a*(v - v_rest) - w_ad)/tau_w : amp
        dz/dt = -(1 - fires)*z/tau_z : amp
        dv_minus/dt = (1 - fires)*(v - v_minus)/tau_minus : volt
        dv_plus/dt = (1 - fires)*(v - v_plus)/tau_plus : volt
        dleft/dt = -1 : second
        dfires/dt = 0/tau_w : 1
    """,
    parameters=dict(
        c_mem=Parameter(281, "pF"), g_leak=Parameter(30, "nS"), v_rest=Parameter(-70.6, "mV"), v_cut=Parameter(-35, "mV"),
        tau_w=Parameter(144, "ms"), a=Parameter(4, "nS"), b=Parameter(0.0805, "pA"),
        z_up=Parameter(400, "pA"), tau_z=Parameter(40, "ms"), tau_minus=Parameter(10, "ms"), tau_plus=Parameter(7, "ms"),
        v_top=Parameter(31, "mV"), v_after=Parameter(-49.5, "mV"), t_spike=Parameter(2, "ms"), tau_dead=Parameter(4, "ms"),
    ),
    threshold="v > v_cut",
    reset="v = v_top; left = t_spike; fires = 1",
    refractory="tau_dead",
    every_step=f"""
        v_minus = v_minus + fires*{AFTER}*(v_top - v_minus)*(1 - exp(-t_spike/tau_minus))
        v_plus = v_plus + fires*{AFTER}*(v_top - v_plus)*(1 - exp(-t_spike/tau_plus))
        z = z + fires*{AFTER}*(z_up - z)
        w_ad = w_ad + fires*{AFTER}*b
        v = v + fires*{AFTER}*(v_after - v)
        fires = fires*(1 - {AFTER})
    """,
    inputs=("v",),
    initial={"v": "v_rest", "v_minus": "v_rest", "v_plus": "v_rest"},
)  # fmt: skip


def test_clopath_pairs_against_their_frequency():
    """Fig. 2b: 75 pairs, five at a time, (50 single ones for .1 Hz) at +10 and -10 ms; weights in percent, from .5. Numbers of an independent
    program that does what the authors' code does (ModelDB 144566), in steps of 1 ms; those with .1 ms, another spike height in each of its two steps,
    and a teacher that lifts the voltage .1 ms before a spike differ by up to 3.5."""
    rates, deltas = (10, 20, 40, 50), (10.0, -10.0)
    protocols = [pairs(d, count=1) for d in deltas] + [pairs(d, count=5, rate_hz=f) for d in deltas for f in rates]
    changes = weight_changes(rule("clopath"), protocols, neuron=CELL, teacher=Teacher("v", 45.0, "mV", "nV"))
    percent = 100 + 100 * np.r_[50 * changes[:2], 15 * changes[2:]] / 0.5
    single, many = percent[:2], percent[2:].reshape(2, 4)
    np.testing.assert_allclose(single, [100.0, 73.3], atol=4)
    np.testing.assert_allclose(many, [[102.9, 115.7, 146.3, 165.0], [59.1, 59.0, 103.8, 147.1]], atol=4)


# -- Graupner & Brunel 2012, with noise ---------------------------------------------------------------


@pytest.mark.parametrize(("delta_ms", "start"), [(10.0, 0.0), (-20.0, 1.0)])
def test_noisy_calcium_moves_a_share_of_synapses(delta_ms, start):
    """While calcium is high, w is an Ornstein-Uhlenbeck process: of the share of synapses that end above w_star the paper gives the formula
    (Methods, transition probabilities U and D). 20 pairs at 10 Hz, with a time constant of a third of the paper's in place of 60; the
    wells, 500 times weaker than the push, are left out there."""
    made = noisy.with_parameters(tau="50 second")
    n, c = 600, made.values
    protocol = pairs(delta_ms, count=20, rate_hz=10)
    found = weight_changes(made, [protocol] * n, weight=start, dt_ms=0.2) + start
    at = np.arange(0, 2400, 0.01)
    events = np.zeros(len(at))
    for times, jump in ((protocol.pre_ms, c["c_pre"]), (protocol.post_ms, c["c_post"])):
        np.add.at(events, np.rint(np.asarray(times) / 0.01).astype(int), jump)
    calcium = lfilter([1], [1, -exp(-0.01 / 20)], events)
    high, low = (np.sum(calcium > c[theta]) * 0.01e-3 for theta in ("theta_p", "theta_d"))  # seconds above
    push = c["gamma_p"] * high + c["gamma_d"] * low
    goal, left = c["gamma_p"] * high / push, exp(-push / c["tau"])
    mean = goal + (start - goal) * left
    variance = c["sigma"] ** 2 * (high + low) / (2 * push) * (1 - left**2)
    share = 0.5 * (1 + erf((mean - 0.5) / sqrt(2 * variance)))
    assert 0.05 < share < 0.95 and abs(share - start) > 0.1
    # four standard deviations of n draws, and 1 % for time above a threshold in steps of .2 ms
    assert abs(np.mean(found > 0.5) - share) < 4 * sqrt(share * (1 - share) / n) + 0.01
    assert found.mean() == pytest.approx(mean, abs=4 * sqrt(variance / n) + 0.01)
    assert found.std() == pytest.approx(sqrt(variance), rel=4 / sqrt(2 * n) + 0.02)


def test_without_noise_it_is_the_rule_without_noise():
    quiet, protocols = noisy.with_parameters(sigma=0), [pairs(d, count=10, rate_hz=5) for d in (-20, 10)]
    np.testing.assert_allclose(weight_changes(quiet, protocols), weight_changes(RULES["calcium"], protocols), rtol=1e-12)
    assert CURVES["DP"][0] is RULES["calcium"]
