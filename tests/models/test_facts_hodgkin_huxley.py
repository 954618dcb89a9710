"""Hodgkin-Huxley neurons: rest, the smallest current for one spike and for many, the f-I curve, depolarisation block.

The numbers come from an independent program (Runge-Kutta of order 4 or finer).
"""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.models.expressions import evaluate
from spiketwin.models.neurons import neuron

DT_MS = 0.025  # RK4 is exact to 1e-4 Hz here
PER_AREA = 1e-2  # uA/cm**2 in A/m**2
GOLDEN = {
    "hh_neuron": dict(rest=-64.9741, one_spike=2.236, sustained=6.234),
    "hh_1952": dict(rest=-64.9964, one_spike=2.240, sustained=6.260),
}
F_I = {7: 58.46, 10: 68.39, 20: 86.51, 50: 117.06, 100: 147.28}


@pytest.fixture
def at_rest(simulate):
    """at_rest(name) -> the resting state in SI."""

    def settle(name):
        run = simulate(name, duration_ms=500, dt_ms=DT_MS, record={})
        return {state: value[0] for state, value in run.final["cells"].items()}

    return settle


@pytest.mark.parametrize("name", GOLDEN)
def test_rest(at_rest, name):
    assert 1e3 * at_rest(name)["v"][0] == pytest.approx(GOLDEN[name]["rest"], abs=1e-4)


@pytest.mark.parametrize("name", GOLDEN)
def test_smallest_step_for_one_spike_and_for_many(simulate, at_rest, name):
    rest = {state: np.repeat(value, 4) for state, value in at_rest(name).items()}
    one, many = GOLDEN[name]["one_spike"], GOLDEN[name]["sustained"]
    drive = np.array([one - 2e-3, one + 2e-3, many - 2e-3, many + 2e-3]) * PER_AREA
    run = simulate(name, size=4, drive=drive, initial=rest, duration_ms=1000, dt_ms=DT_MS, record={})
    spikes = run.spikes["cells"]
    counts = spikes.counts()[0]
    late = [spikes.times_ms()[(spikes.neuron == k) & (spikes.times_ms() > 700)] for k in range(4)]
    assert list(counts[:2]) == [0, 1]
    assert len(late[2]) == 0 and counts[2] >= 1
    assert 1e3 / np.diff(late[3]).mean() == pytest.approx(50.6, abs=0.3)  # class 2: no lower rates exist


def test_f_i_curve_and_depolarisation_block(simulate):
    drive = np.array([*F_I, 155.0]) * PER_AREA
    spikes = simulate("hh_neuron", size=6, drive=drive, duration_ms=1500, dt_ms=DT_MS, record={}).spikes["cells"]
    for k, frequency in enumerate(F_I.values()):
        times = spikes.times_ms()[(spikes.neuron == k) & (spikes.times_ms() > 300)]
        # one grid step over 1.2 s is 2e-5 of the frequency
        assert 1e3 * (len(times) - 1) / (times[-1] - times[0]) == pytest.approx(frequency, abs=0.01)
    assert not (spikes.times_ms()[spikes.neuron == 5] > 300).any()
    assert (spikes.neuron == 5).any()  # the onset still makes a spike


def test_one_spike_is_counted_once(simulate):
    run = simulate("hh_neuron", drive=10 * PER_AREA, duration_ms=100, dt_ms=DT_MS)
    v = 1e3 * run.states["cells"]["v"][:, 0, 0]
    upward = np.flatnonzero((v[:-1] <= -40) & (v[1:] > -40))
    np.testing.assert_array_equal(run.spikes["cells"].step, upward)
    assert len(upward) > 5


def test_rates_at_the_potentials_where_the_textbook_form_is_0_over_0():
    spec = neuron("hh_1952")
    # the limits of 0.1 x/(1 - exp(-x/10)) and 0.01 x/(1 - exp(-x/10)) at x = 0 are 1 and 0.1 per ms
    assert evaluate("alpha_m", {"v": -0.040}, spec.subexpressions) == pytest.approx(1000, rel=1e-9)
    assert evaluate("alpha_n", {"v": -0.055}, spec.subexpressions) == pytest.approx(100, rel=1e-9)
    spec = neuron("hh_traub_miles")
    # 0.32 · 4, 0.28 · 5 and 0.032 · 5 per ms, at v_t + 13, 40 and 15 mV
    for rate, v_mv, limit in (("alpha_m", 13, 1280), ("beta_m", 40, 1400), ("alpha_n", 15, 160)):
        assert evaluate(rate, {"v": -0.063 + 1e-3 * v_mv, "v_t": -0.063}, spec.subexpressions) == pytest.approx(limit, rel=1e-9)


def test_rates_as_printed_in_the_textbook():
    v = np.linspace(-90, 40, 27) + 0.3  # mV, away from the singular points
    printed = {
        "alpha_m": 0.1 * (v + 40) / (1 - np.exp(-(v + 40) / 10)),
        "beta_m": 4 * np.exp(-(v + 65) / 18),
        "alpha_h": 0.07 * np.exp(-(v + 65) / 20),
        "beta_h": 1 / (1 + np.exp(-(v + 35) / 10)),
        "alpha_n": 0.01 * (v + 55) / (1 - np.exp(-(v + 55) / 10)),
        "beta_n": 0.125 * np.exp(-(v + 65) / 80),
    }
    y = v + 63
    traub = {
        "alpha_m": 0.32 * (13 - y) / (np.exp((13 - y) / 4) - 1),
        "beta_m": 0.28 * (y - 40) / (np.exp((y - 40) / 5) - 1),
        "alpha_h": 0.128 * np.exp((17 - y) / 18),
        "beta_h": 4 / (1 + np.exp((40 - y) / 5)),
        "alpha_n": 0.032 * (15 - y) / (np.exp((15 - y) / 5) - 1),
        "beta_n": 0.5 * np.exp((10 - y) / 40),
    }
    for name, table in (("hh_1952", printed), ("hh_traub_miles", traub)):
        for rate, per_ms in table.items():
            found = evaluate(rate, {"v": 1e-3 * v, "v_t": -0.063}, neuron(name).subexpressions)
            np.testing.assert_allclose(found, 1e3 * per_ms, rtol=1e-9, err_msg=f"{rate} of {name}")


def test_traub_miles(simulate):
    # At a leak reversal of -60 mV it fires by itself (intervals of 72 ms); at -65 mV it rests near there.
    run = simulate("hh_traub_miles", size=2, parameters=dict(e_leak=np.array([-60.0, -65.0])), duration_ms=500, dt_ms=DT_MS)
    spikes = run.spikes["cells"]
    active, silent = spikes.counts()[0]
    assert active == 7 and silent == 0
    np.testing.assert_allclose(np.diff(spikes.times_ms())[1:], 72.17, atol=0.05)
    assert 1e3 * run.states["cells"]["v"][-1, 0, 1] == pytest.approx(-65, abs=0.5)
    # 100 nS of excitation, 17 times the network's weight, brings the silent one to fire
    kicked = simulate("hh_traub_miles", spike=("g_exc", 100e-9), parameters=dict(e_leak=-65), duration_ms=100, dt_ms=DT_MS)
    assert len(kicked.spikes["cells"]) >= 1
