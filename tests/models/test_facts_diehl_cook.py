"""The neurons of Diehl & Cook against closed forms: rest, reversal, latency, theta, and the published order of things."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.models.neurons import neuron


def test_the_published_constants():
    exc, inh = ({n: (p.value, p.unit) for n, p in neuron(f"diehl_cook_{kind}").parameters.items()} for kind in ("exc", "inh"))
    mv, ms = "mV", "ms"
    assert [exc[n] for n in ("tau_mem", "v_rest", "v_reset", "tau_ref", "e_inh")] == [(100, ms), (-65, mv), (-65, mv), (5, ms), (-100, mv)]
    assert [inh[n] for n in ("tau_mem", "v_rest", "v_reset", "tau_ref", "e_inh")] == [(10, ms), (-60, mv), (-45, mv), (2, ms), (-85, mv)]
    for one in (exc, inh):
        assert [one[n] for n in ("tau_exc", "tau_inh", "e_exc")] == [(1, ms), (2, ms), (0, mv)]
    assert inh["v_threshold"] == (-40, mv)
    # the published threshold is theta - 72 mV with theta 20 mV at the start
    assert exc["v_threshold"][0] - exc["theta_offset"][0] == -72
    assert [exc[n] for n in ("theta_offset", "theta_plus", "tau_theta")] == [(20, mv), (0.05, mv), (1e7, ms)]


@pytest.mark.parametrize(("kind", "tau_ms", "rest", "threshold"), [("exc", 100, -65, -52), ("inh", 10, -60, -40)])
def test_the_first_spike_of_a_constant_current(simulate, voltage, kind, tau_ms, rest, threshold):
    """I/g_leak = 2 (threshold - rest) crosses after tau ln 2: 69.3 and 6.93 ms."""
    drive = 2 * (threshold - rest) * 1e-3 * 1e-9
    run = simulate(f"diehl_cook_{kind}", drive=drive, duration_ms=1.5 * tau_ms, dt_ms=0.01, scheme="rk4")
    # theta decays by 7e-6 of 20 mV meanwhile; a spike of step n crossed at the step's end
    assert (run.spikes["cells"].step[0] + 1) * 0.01 == pytest.approx(tau_ms * np.log(2), abs=0.011)


def test_conductances_pull_towards_their_reversal_potentials(simulate, voltage):
    """One spike of weight w: v moves by (e - v) w tau/(g_leak tau_mem), to first order in w, before the leak acts."""
    for receptor, e, tau in (("g_exc", 0, 1), ("g_inh", -100, 2)):
        w = 1e-3
        run = simulate("diehl_cook_exc", spike=(receptor, w * 1e-9), duration_ms=15, dt_ms=0.01, scheme="rk4")
        v = voltage(run)[:, 0] + 65
        want = w * (e + 65) / 100 * tau
        # the response is want (e^(-t/100) - e^(-t/tau))/(1 - tau/100)
        t = np.arange(len(v)) * 0.01 - 0.01
        exact = want * (np.exp(-t / 100) - np.exp(-t / tau)) / (1 - tau / 100)
        np.testing.assert_allclose(v[1:], exact[1:], atol=2e-3 * abs(want))  # w itself: second order in w


def test_each_spike_raises_the_threshold(simulate):
    run = simulate("diehl_cook_exc", drive=31e-12, duration_ms=1000, dt_ms=0.1)
    theta = 1e3 * run.states["cells"]["theta"][-1, 0, 0]
    spikes = len(run.spikes["cells"])
    assert spikes > 5
    # 1 s of 1e7 ms: theta has lost 1e-4 of itself
    assert theta == pytest.approx((20 + 0.05 * spikes) * (1 - 1e-4), abs=2e-4)


def test_refractory_neurons_keep_still_but_their_conductances_run_on(simulate, voltage):
    run = simulate("diehl_cook_inh", drive=100e-12, duration_ms=20, dt_ms=0.1)
    first = run.spikes["cells"].step[0]
    v = voltage(run)[:, 0]
    # v at the start of a step: after the reset, 2 ms are the step of the spike and 19 more
    np.testing.assert_allclose(v[first + 1 : first + 21], -45)
    assert v[first + 21] > -45
