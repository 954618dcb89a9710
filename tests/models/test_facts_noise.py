"""Stochastic neurons against the rates of renewal theory and of Siegert."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.models import theory

SIZE = 200  # neurons per condition: over 2 s at 10 Hz or more, counts are known to about 1 % (CV below 1)


def late_rates(run, conditions):
    """Rate in Hz after 200 ms, one per condition of SIZE neurons."""
    spikes = run.spikes["cells"]
    T, _, N = spikes.shape
    counts = np.bincount(spikes.neuron[spikes.times_ms() >= 200], minlength=N).reshape(conditions, -1)
    return counts.mean(axis=1) / (1e-3 * (T * spikes.dt_ms - 200))


def test_diffusion_fires_at_siegerts_rate(simulate):
    # Threshold 20 and reset 10 mV above rest, tau 20 and tau_ref 2 ms are the defaults; Brunel's sigma 5 mV is sqrt(2) times ours.
    mu, dt_ms = np.array([15, 20, 25]), 0.1
    run = simulate(
        "noisy_lif",
        size=3 * SIZE,
        drive=np.repeat(mu, SIZE) * 1e-11,
        duration_ms=2200,
        parameters=dict(sigma=5 / np.sqrt(2)),
        record={},
        seed=3,
    )
    shift = theory.discrete_threshold_shift_mv(5 / np.sqrt(2), dt_ms=dt_ms, tau_mem_ms=20)
    # tau_ref is held for tau_ref - dt (the spike's own step counts)
    neuron = dict(tau_mem_ms=20, v_threshold_mv=20 + shift, v_reset_mv=10, tau_ref_ms=2 - dt_ms)
    expected = [theory.siegert_rate_hz(m, 5, **neuron) for m in mu]
    np.testing.assert_allclose(late_rates(run, 3), expected, rtol=0.04)  # 3 standard errors at 9 Hz
    uncorrected = [theory.siegert_rate_hz(m, 5, **{**neuron, "v_threshold_mv": 20}) for m in mu]
    assert (late_rates(run, 3) < uncorrected).all()


def test_free_membrane_noise_has_standard_deviation_sigma(simulate):
    run = simulate("noisy_lif", size=SIZE, duration_ms=1000, parameters=dict(v_threshold=100), seed=1)
    v = 1e3 * run.states["cells"]["v"][2000:, 0]
    # 200 neurons × 40 correlation times of tau/2: the standard deviation is known to about 1 %
    assert v.std() == pytest.approx(3, rel=0.03)
    assert v.mean() == pytest.approx(-70, abs=0.15)


def test_escape_noise_fires_at_the_renewal_rate(simulate):
    drives = np.array([15.0, 20.0, 25.0])
    dt_ms = 0.1
    run = simulate("escape_lif", size=3 * SIZE, drive=np.repeat(drives, SIZE) * 1e-11, duration_ms=2200, record={}, seed=5)
    # v follows its course exactly and the draw uses the hazard at the end of the step: half a step early, on average nothing
    expected = [
        theory.escape_rate_hz(d, hazard_0_hz=100, delta_v_mv=2, tau_mem_ms=20, v_threshold_mv=20, v_reset_mv=10, tau_ref_ms=2 - dt_ms)
        for d in drives
    ]
    np.testing.assert_allclose(late_rates(run, 3), expected, rtol=0.04)


@pytest.mark.parametrize("dt_ms", [0.1, 5])
def test_escape_probability_of_a_step(simulate, dt_ms):
    # Always at threshold and never refractory: in each step a spike with probability 1 - exp(-100 Hz · dt), at any dt.
    at_threshold = dict(v_threshold=-70, v_reset=-70, tau_ref=0)
    run = simulate("escape_lif", size=SIZE, duration_ms=2000, dt_ms=dt_ms, parameters=at_threshold, seed=2)
    p = -np.expm1(-0.1 * dt_ms)
    draws = SIZE * 2000 / dt_ms
    assert len(run.spikes["cells"]) == pytest.approx(draws * p, abs=4 * np.sqrt(draws * p * (1 - p)))
