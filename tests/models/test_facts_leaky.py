"""Integrate-and-fire neurons against closed forms: intervals to the step, latency, rheobase, synaptic potentials."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.models import theory
from spiketwin.models.spikes import timestep


def intervals(spikes, neuron=0):
    return np.diff(spikes.step[spikes.neuron == neuron])


def whole_steps(time_ms, dt_ms):
    return int(np.ceil(time_ms / dt_ms))


@pytest.mark.parametrize("name", ["lif", "lif_delta", "cuba_lif", "alpha_lif", "cuba_lif_2", "fast_slow_lif", "coba_lif"])
@pytest.mark.parametrize("share", [1.01, 1.1, 1.5, 2, 3, 5])
def test_intervals_under_constant_current(simulate, name, share):
    # Every model to one scale: tau 20 ms, threshold 20 mV and reset 10 mV above rest, r 100 Mohm (coba: 1/10 nS).
    dt_ms = 0.05
    common = dict(v_rest="-70 mV", v_threshold="-50 mV", v_reset="-60 mV", tau_ref="2 ms")
    run = simulate(name, drive=share * 0.2e-9, duration_ms=500, dt_ms=dt_ms, parameters=common)
    times = dict(tau_mem_ms=20, v_threshold_mv=20)
    rise = whole_steps(theory.lif_latency_ms(20 * share, v_start_mv=10, **times), dt_ms)
    # The refractory period counts the step of the spike itself, so it holds v for tau_ref/dt - 1 steps.
    expected = timestep(2, dt_ms) - 1 + rise
    spikes = run.spikes["cells"]
    assert len(spikes) > 3
    np.testing.assert_array_equal(intervals(spikes), expected)
    assert spikes.step[0] == whole_steps(theory.lif_latency_ms(20 * share, **times), dt_ms) - 1
    rate = theory.lif_rate_hz(20 * share, v_reset_mv=10, tau_ref_ms=2, **times)
    assert 1e3 / (expected * dt_ms) == pytest.approx(rate, rel=rate * dt_ms * 1e-3)  # a period is off by one step at most


@pytest.mark.parametrize("name", ["lif", "cuba_lif"])
def test_rheobase(simulate, name):
    run = simulate(name, size=2, drive=np.array([0.19999e-9, 0.20001e-9]), duration_ms=1000)
    silent, fires = run.spikes["cells"].counts()[0]
    assert silent == 0
    assert fires > 0


def test_perfect_integrator_counts_its_charge(simulate):
    # 93.7 pA into 200 pF is 0.4685 mV/ms: 10 mV take 21.3447 ms, 20 mV from the start 42.6894 ms
    run = simulate("if_neuron", drive=93.7e-12, duration_ms=500)
    assert run.spikes["cells"].step[0] == 427 - 1
    assert set(intervals(run.spikes["cells"])) == {214}


@pytest.mark.parametrize("dt_ms", [2, 1, 0.5, 0.1, 0.05, 0.01])
def test_euler_crosses_early(simulate, voltage, dt_ms):
    # The distance to r i shrinks by one factor per step, so the crossing between grid points is read on a log scale.
    distance = 30 - (voltage(simulate("lif", drive=0.3e-9, duration_ms=21, dt_ms=dt_ms, scheme="euler"))[:, 0] + 70)
    factor = distance[1] / distance[0]
    crossing = dt_ms * np.log(10 / 30) / np.log(factor)
    late = 100 * (crossing / (20 * np.log(3)) - 1)
    assert late == pytest.approx({2: -5.09, 1: -2.52, 0.5: -1.26, 0.1: -0.250, 0.05: -0.125, 0.01: -0.0250}[dt_ms], abs=5e-3)


@pytest.mark.parametrize(("tau_mem", "tau_syn"), [(20, 5), (5, 20), (10, 10), (10, 10 + 1e-9)])
def test_synaptic_potential(simulate, voltage, tau_mem, tau_syn):
    parameters = dict(tau_mem=tau_mem, tau_syn=tau_syn)
    taus = dict(tau_mem_ms=tau_mem, tau_syn_ms=tau_syn)
    run = simulate("cuba_lif", spike=("i_syn", 0.05e-9), duration_ms=60, parameters=parameters)
    # 0.05 nA · 100 Mohm = 5 mV; the spike acts at the end of its step
    expected = 5 * theory.psp_mv(run.time_ms - 0.1, **taus)
    assert expected.max() > 0.5
    np.testing.assert_allclose(voltage(run)[:, 0] + 70, expected, atol=1e-11)
    run = simulate("alpha_lif", spike=("h_syn", 0.05e-9), duration_ms=60, parameters=parameters)
    np.testing.assert_allclose(voltage(run)[:, 0] + 70, 5 * theory.alpha_psp_mv(run.time_ms - 0.1, **taus), atol=1e-7)
    # the weight is the peak of the current, one tau_syn after the spike
    assert run.states["cells"]["i_syn"].max() == pytest.approx(0.05e-9, rel=1e-4)
    assert run.time_ms[run.states["cells"]["i_syn"].argmax()] - 0.1 == pytest.approx(tau_syn, abs=0.1)


def test_synaptic_potential_of_the_read_out(simulate, voltage):
    # 10 nA · 1 Mohm, tau 10 and 5 ms: 2.500 mV at 10 ln 2 = 6.93 ms, which is 69.3 steps
    run = simulate("leaky_readout", spike=("i_syn", 10e-9), duration_ms=40)
    assert voltage(run).max() == pytest.approx(2.5, abs=1e-3)
    assert voltage(run)[:, 0].argmax() in (70, 71)


def test_receptors_add_up(simulate, voltage):
    exc = simulate("cuba_lif_2", spike=("i_exc", 0.04e-9), duration_ms=60)
    inh = simulate("cuba_lif_2", spike=("i_inh", -0.04e-9), duration_ms=60)
    expected = (
        4 * theory.psp_mv(exc.time_ms - 0.1, tau_mem_ms=20, tau_syn_ms=5),
        -4 * theory.psp_mv(exc.time_ms - 0.1, tau_mem_ms=20, tau_syn_ms=10),
    )
    np.testing.assert_allclose(voltage(exc)[:, 0] + 60, expected[0], atol=1e-11)
    np.testing.assert_allclose(voltage(inh)[:, 0] + 60, expected[1], atol=1e-11)


@pytest.mark.parametrize(("receptor", "tau_syn"), [("i_fast", 2), ("i_slow", 100)])
def test_fast_and_slow_receptors_have_their_own_time_constants(simulate, voltage, receptor, tau_syn):
    run = simulate("fast_slow_lif", spike=(receptor, 0.04e-9), duration_ms=100)
    expected = 4 * theory.psp_mv(run.time_ms - 0.1, tau_mem_ms=20, tau_syn_ms=tau_syn)
    assert expected.max() > 0.3
    np.testing.assert_allclose(voltage(run)[:, 0] + 70, expected, atol=1e-11)


def test_delta_synapse_jumps_and_decays(simulate, voltage):
    run = simulate("lif_delta", spike=("v", 3e-3), duration_ms=60)
    v = voltage(run)[:, 0] + 70
    assert v[0] == 0
    np.testing.assert_allclose(v[1:], 3 * np.exp(-(run.time_ms[1:] - 0.1) / 20), atol=1e-11)


def test_conductances_pull_towards_their_reversal_potentials(simulate, voltage):
    # Constant conductances (synapses that hardly decay): v = sum(g e)/sum(g)
    slow = dict(tau_exc=1e12, tau_inh=1e12, v_threshold=100)
    run = simulate("coba_lif", duration_ms=500, parameters=slow, initial=dict(g_exc=4e-9, g_inh=6e-9))
    expected = (10 * -60 + 4 * 0 + 6 * -80) / (10 + 4 + 6)
    assert voltage(run)[-1, 0] == pytest.approx(expected, abs=1e-8)


def test_subtraction_keeps_what_is_above_the_threshold(simulate, voltage):
    run = simulate("rnn_lif", drive=3e-9, duration_ms=50, dt_ms=1)
    v, fired = voltage(run)[:, 0], run.spikes["cells"].dense()[:, 0, 0]
    assert fired.sum() > 10
    ahead = 3 + (v - 3) * np.exp(-1 / 10)  # one step towards r i = 3 mV
    np.testing.assert_allclose(v[1:], (ahead - fired)[:-1], atol=1e-12)
    np.testing.assert_array_equal(fired, ahead > 1)


def test_adaptive_threshold(simulate):
    drive = 0.39e-9
    run = simulate("adaptive_lif", drive=drive, duration_ms=3000, dt_ms=0.05)
    spikes = run.spikes["cells"]
    gaps = intervals(spikes) * 0.05
    neuron = dict(tau_mem_ms=20, v_threshold_mv=20, v_reset_mv=10, tau_ref_ms=2)
    # The first interval has one rise behind it; the last ones are the steady state's, longer by at most two steps of rounding.
    assert gaps[0] < 0.7 * gaps[-1]
    rate = theory.adaptive_rate_hz(39, theta_plus_mv=2, tau_theta_ms=100, **neuron)
    assert gaps[-20:].mean() == pytest.approx(1e3 / rate, abs=0.1)
    # theta right before a spike is theta_plus/(exp(T/tau_theta) - 1)
    theta = 1e3 * run.states["cells"]["theta"][spikes.step[-1], 0, 0]
    assert theta == pytest.approx(2 / np.expm1(gaps[-1] / 100), rel=5e-3)
