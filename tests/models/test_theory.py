"""The closed forms themselves, against tabulated numbers and each other."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.models import theory

DRIVES = 20 * np.array([1.01, 1.1, 1.5, 2, 3, 5])  # r i in mV for a threshold of 20 mV
NEURON = dict(tau_mem_ms=20, v_threshold_mv=20, v_reset_mv=10, tau_ref_ms=2)


def test_rate_of_a_leaky_neuron():
    with_reset = theory.lif_rate_hz(DRIVES, **NEURON)
    np.testing.assert_allclose(with_reset, [12.401, 26.430, 63.040, 98.919, 154.730, 229.586], atol=6e-4)
    plain = theory.lif_rate_hz(DRIVES, tau_mem_ms=10, v_threshold_mv=20)
    np.testing.assert_allclose(plain, [21.668, 41.703, 91.024, 144.270, 246.630, 448.142], atol=6e-4)


def test_rate_is_zero_up_to_the_rheobase():
    np.testing.assert_array_equal(theory.lif_rate_hz([-5.0, 0.0, 20.0], **NEURON), 0)
    assert theory.lif_rate_hz(20.0001, **NEURON) > 0


def test_latency_is_the_time_to_one_third_of_the_way_left():
    # 20 ms · ln(30/(30 - 20)) = 20 ms · ln 3
    assert theory.lif_latency_ms(30, tau_mem_ms=20, v_threshold_mv=20) == pytest.approx(21.9722, abs=5e-5)


def test_euler_is_early_in_proportion_to_the_step():
    steps = np.array([2, 1, 0.5, 0.1, 0.05, 0.01])
    late = theory.euler_latency_ms(30, dt_ms=steps, tau_mem_ms=20, v_threshold_mv=20) / (20 * np.log(3)) - 1
    np.testing.assert_allclose(100 * late, [-5.09, -2.52, -1.26, -0.250, -0.125, -0.0250], atol=5e-3)


@pytest.mark.parametrize(
    ("mu", "sigma", "rate"),
    [(10, 5, 0.8819), (15, 5, 9.4608), (20, 5, 27.3406), (25, 5, 47.2174), (20, 1, 14.7631), (25, 1, 42.0168)],
)
def test_siegert_rate(mu, sigma, rate):
    assert theory.siegert_rate_hz(mu, sigma, **NEURON) == pytest.approx(rate, abs=6e-5)


def test_siegert_rate_without_noise_is_the_leaky_neurons():
    assert theory.siegert_rate_hz(30, 0.01, **NEURON) == pytest.approx(theory.lif_rate_hz(30, **NEURON), rel=1e-4)
    assert theory.siegert_rate_hz(10, 0.01, **NEURON) == 0
    with pytest.raises(ValueError, match="sigma_mv = 0 must be positive"):
        theory.siegert_rate_hz(10, 0, **NEURON)


def test_escape_rate_with_a_hard_threshold_is_the_leaky_neurons():
    # a hazard of 1 GHz at threshold and a softness of 10 uV let v pass the threshold by some 0.1 mV at most
    hard = theory.escape_rate_hz(30, hazard_0_hz=1e5, delta_v_mv=0.01, **NEURON)
    assert hard == pytest.approx(theory.lif_rate_hz(30, **NEURON), rel=5e-3)


def test_escape_rate_of_a_constant_hazard():
    # v is always at the threshold, so 100 Hz between refractory periods of 2 ms: 1/(10 ms + 2 ms)
    rate = theory.escape_rate_hz(20, hazard_0_hz=100, delta_v_mv=2, tau_mem_ms=20, v_threshold_mv=20, v_reset_mv=20, tau_ref_ms=2)
    assert rate == pytest.approx(1e3 / 12, rel=1e-4)


def test_adaptive_rate():
    still = theory.adaptive_rate_hz(30, theta_plus_mv=0, tau_theta_ms=100, **NEURON)
    assert still == pytest.approx(theory.lif_rate_hz(30, **NEURON))
    assert 0 < theory.adaptive_rate_hz(30, theta_plus_mv=2, tau_theta_ms=100, **NEURON) < still
    assert theory.adaptive_rate_hz(20, theta_plus_mv=2, tau_theta_ms=100, **NEURON) == 0


def test_synaptic_potential_of_10_and_5_ms():
    # r w = tau_mem/dt = 10 mV: 10 · (exp(-t/10) - exp(-t/5)), at t = 10 ln 2 this is 10 · (1/2 - 1/4)
    time, height = theory.psp_peak(tau_mem_ms=10, tau_syn_ms=5)
    assert time == pytest.approx(10 * np.log(2))
    assert 10 * height == pytest.approx(2.5)
    # the loop U <- beta U + I, I <- alpha I without the input gain: sum of beta^(n-1-k) alpha^k, highest at n = 7
    alpha, beta = np.exp(-1 / 5), np.exp(-1 / 10)
    naive = (beta ** np.arange(20) - alpha ** np.arange(20)) / (beta - alpha)
    assert naive.argmax() == 7
    assert naive.max() == pytest.approx(2.903, abs=5e-4)
    assert naive.max() / 2.5 - 1 == pytest.approx(0.16, abs=5e-3)


@pytest.mark.parametrize(("tau_mem_ms", "tau_syn_ms"), [(10, 5), (5, 10), (10, 10), (10, 10 + 1e-7), (20, 0.01)])
def test_synaptic_potentials_solve_their_equations(tau_mem_ms, tau_syn_ms):
    from scipy.integrate import solve_ivp

    def rate(t, x):
        v, i, v_alpha, i_alpha, h = x
        return [(i - v) / tau_mem_ms, -i / tau_syn_ms, (i_alpha - v_alpha) / tau_mem_ms, (np.e * h - i_alpha) / tau_syn_ms, -h / tau_syn_ms]

    time = np.linspace(0, 60, 13)
    truth = solve_ivp(rate, (0, 60), [0, 1, 0, 0, 1], t_eval=time, method="LSODA", rtol=1e-10, atol=1e-13).y
    taus = dict(tau_mem_ms=tau_mem_ms, tau_syn_ms=tau_syn_ms)
    np.testing.assert_allclose(theory.psp_mv(time, **taus), truth[0], atol=1e-8)
    np.testing.assert_allclose(theory.alpha_psp_mv(time, **taus), truth[2], atol=1e-6)  # 1e-6: series beside equal constants
    peak_time, height = theory.psp_peak(**taus)
    assert theory.psp_mv(peak_time, **taus) == pytest.approx(height, rel=1e-6)
