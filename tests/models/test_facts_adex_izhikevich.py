"""AdEx and Izhikevich neurons: rheobase, adaptation, and the published firing patterns."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.models.neurons.izhikevich import PATTERNS


def intervals_ms(run):
    return np.diff(run.spikes["cells"].times_ms())


def test_adex_rheobase_without_adaptation(simulate):
    # g_leak (v_t - v_rest - delta_t) = 30 nS · (20.2 - 2) mV = 0.546 nA, the saddle-node of the exponential neuron
    run = simulate("adex", size=2, drive=np.array([0.5455e-9, 0.5465e-9]), duration_ms=2000, parameters=dict(a=0, b=0))
    silent, fires = run.spikes["cells"].counts()[0]
    assert silent == 0
    assert fires > 0


def test_adex_adapts(simulate):
    run = simulate("adex", drive=1e-9, duration_ms=1000)
    gaps = intervals_ms(run)
    # 1 nA: intervals lengthen to a steady state (b = 80.5 pA, tau_w = 144 ms)
    assert (np.diff(gaps[:5]) > 0).all()
    assert gaps[-1] > 2 * gaps[0]
    assert gaps[-1] == pytest.approx(gaps[-2], rel=0.01)
    # without spike-triggered adaptation it is faster and regular
    regular = simulate("adex", drive=1e-9, duration_ms=1000, parameters=dict(a=0, b=0))
    assert len(regular.spikes["cells"]) > 2 * len(run.spikes["cells"])
    assert np.ptp(intervals_ms(regular)[1:]) < 0.15  # one grid step of 0.1 ms


def test_adex_adaptation_current_in_the_steady_state(simulate):
    # With a = 0, w decays between spikes and gains b at each: just before a spike it is b/(exp(T/tau_w) - 1).
    run = simulate("adex", drive=1e-9, duration_ms=2000, dt_ms=0.05, parameters=dict(a=0))
    w = run.states["cells"]["w"][run.spikes["cells"].step[-1], 0, 0]
    assert w == pytest.approx(80.5e-12 / np.expm1(intervals_ms(run)[-1] / 144), rel=2e-3)


def test_izhikevich_is_the_papers_program(simulate):
    # The paper's equations in mV and ms, forward Euler, written plainly.
    dt, v, u, fired = 0.1, -65.0, 0.2 * -65.0, []
    for step in range(5000):
        v, u = v + dt * (0.04 * v * v + 5 * v + 140 - u + 10), u + dt * 0.02 * (0.2 * v - u)
        if v >= 30:
            v, u = -65.0, u + 8
            fired.append(step)
    assert len(fired) > 8
    run = simulate("izhikevich", drive=10.0, duration_ms=500, scheme="euler")
    np.testing.assert_array_equal(run.spikes["cells"].step, fired)


def pattern(simulate, name):
    """Intervals in ms over one second of 10 mV/ms."""
    return intervals_ms(simulate("izhikevich", drive=10.0, duration_ms=1000, dt_ms=0.02, parameters=PATTERNS[name], record={}))


def test_regular_spiking_slows_down(simulate):
    gaps = pattern(simulate, "regular spiking")
    assert gaps[0] < gaps[-1]
    assert np.ptp(gaps[3:]) < 1
    assert 15 <= len(gaps) <= 30


def test_intrinsically_bursting_begins_with_a_burst(simulate):
    gaps = pattern(simulate, "intrinsically bursting")
    assert gaps[0] < 10  # the burst
    assert (gaps[5:] > 2 * gaps[0]).all()  # then single spikes


def test_chattering_repeats_bursts(simulate):
    gaps = pattern(simulate, "chattering")
    within, between = gaps < 10, gaps > 15
    assert (within | between).all()
    assert within.sum() > 2 * between.sum() > 10  # bursts of three spikes or more, more than five of them


def test_fast_spiking_is_fast_and_does_not_adapt(simulate):
    gaps, regular = pattern(simulate, "fast spiking"), pattern(simulate, "regular spiking")
    assert len(gaps) > 3 * len(regular)
    assert np.ptp(gaps[10:]) < 0.1


def test_low_threshold_spiking_fires_where_regular_spiking_is_silent(simulate):
    small = 2.0  # mV/ms
    counts = [
        len(simulate("izhikevich", drive=small, duration_ms=1000, parameters=PATTERNS[p]).spikes["cells"])
        for p in ("low-threshold spiking", "regular spiking")
    ]
    assert counts[0] > 5
    assert counts[1] == 0
