"""Closed forms that simulations are held against: rates, latencies and synaptic potentials.

Voltages are in mV above rest, times in ms. Nothing here reads a declaration or an engine.
"""

from __future__ import annotations

import numpy as np


def lif_rate_hz(drive_mv, *, tau_mem_ms, v_threshold_mv, v_reset_mv=0.0, tau_ref_ms=0.0):
    """Rate in Hz of a leaky integrate-and-fire neuron with constant drive r·i; 0 up to the rheobase.

    drive_mv: array.  1/(tau_ref + tau_mem ln((r i - v_reset)/(r i - v_threshold))).
    Source: Gerstner et al. 2014, Neuronal Dynamics, eq. 5.13.
    """
    interval = lif_latency_ms(drive_mv, tau_mem_ms=tau_mem_ms, v_threshold_mv=v_threshold_mv, v_start_mv=v_reset_mv)
    return 1e3 / (tau_ref_ms + interval)


def lif_latency_ms(drive_mv, *, tau_mem_ms, v_threshold_mv, v_start_mv=0.0):
    """Time in ms from v_start to the threshold under constant drive r·i; inf up to the rheobase."""
    drive = np.asarray(drive_mv, dtype=float)
    above = np.where(drive > v_threshold_mv, drive, np.nan)
    time = tau_mem_ms * np.log((above - v_start_mv) / (above - v_threshold_mv))
    return np.where(np.isnan(time), np.inf, time)[()]


def euler_latency_ms(drive_mv, *, dt_ms, tau_mem_ms, v_threshold_mv):
    """The same time from rest when v follows forward Euler: its steps are powers of 1 - dt/tau, read between grid points."""
    steps = np.log(1 - v_threshold_mv / drive_mv) / np.log1p(-dt_ms / tau_mem_ms)
    return dt_ms * steps


def siegert_rate_hz(mu_mv, sigma_mv, *, tau_mem_ms, v_threshold_mv, v_reset_mv=0.0, tau_ref_ms=0.0) -> float:
    """Rate in Hz of a leaky integrate-and-fire neuron in white noise, tau dv/dt = mu - v + sigma sqrt(tau) xi.

    1/(tau_ref + tau_mem sqrt(pi) integral exp(u^2)(1 + erf u) du), u = (v - mu)/sigma from v_reset to v_threshold.
    The free v has standard deviation sigma/sqrt(2).  Raises ValueError when sigma is not positive.
    Source: Siegert 1951; Brunel 2000, eq. 21.
    """
    from scipy.integrate import quad
    from scipy.special import erfcx

    if not sigma_mv > 0:
        raise ValueError(f"sigma_mv = {sigma_mv} must be positive; without noise use lif_rate_hz")
    low, high = ((v - mu_mv) / sigma_mv for v in (v_reset_mv, v_threshold_mv))
    # erfcx(-u) = exp(u^2)(1 + erf u) without overflow for negative u; beyond 26 the rate is below 1e-280 Hz
    if high > 26:
        return 0.0
    area, _ = quad(lambda u: erfcx(-u), low, high, epsabs=0, epsrel=1e-11)
    return 1e3 / (tau_ref_ms + tau_mem_ms * np.sqrt(np.pi) * area)


def discrete_threshold_shift_mv(sigma_mv: float, *, dt_ms: float, tau_mem_ms: float) -> float:
    """How much higher the threshold of a diffusion looks when it is only tested every dt.

    Paths that cross and return within a step are missed; to first order in sqrt(dt) this moves the barrier
    by 0.5826 = -zeta(1/2)/sqrt(2 pi) standard deviations of one step.  Source: Broadie, Glasserman & Kou 1997.
    """
    return 0.5826 * sigma_mv * np.sqrt(2 * dt_ms / tau_mem_ms)


def escape_rate_hz(drive_mv, *, hazard_0_hz, delta_v_mv, tau_mem_ms, v_threshold_mv, v_reset_mv=0.0, tau_ref_ms=0.0) -> float:
    """Rate in Hz of a leaky neuron that fires with hazard hazard_0 exp((v - v_threshold)/delta_v).

    A renewal process: the mean interval is tau_ref plus the integral of the survivor function
    exp(-integral of the hazard) along v from v_reset to the drive r·i.
    Source: Gerstner et al. 2014, Neuronal Dynamics, section 9.1.
    """

    def hazard_per_ms(v):
        # e^50 is a certain spike; the bound only keeps exp from overflowing
        return 1e-3 * hazard_0_hz * np.exp(np.minimum((v - v_threshold_mv) / delta_v_mv, 50))

    # v settles within 10 time constants; after that intervals are exponential with the final hazard.
    t = np.linspace(0, 10 * tau_mem_ms + 30 / hazard_per_ms(drive_mv), 200_001)
    hazard = hazard_per_ms(drive_mv + (v_reset_mv - drive_mv) * np.exp(-t / tau_mem_ms))
    survivor = np.exp(-np.concatenate(([0.0], np.cumsum((hazard[1:] + hazard[:-1]) * t[1] / 2))))
    return 1e3 / (tau_ref_ms + np.sum((survivor[1:] + survivor[:-1]) * t[1] / 2))


def adaptive_rate_hz(drive_mv, *, theta_plus_mv, tau_theta_ms, tau_mem_ms, v_threshold_mv, v_reset_mv=0.0, tau_ref_ms=0.0) -> float:
    """Steady rate in Hz of a leaky neuron whose threshold rises by theta_plus at a spike and decays with tau_theta.

    With interval T, theta just before a spike is theta_plus/(exp(T/tau_theta) - 1); T solves v(T) = v_threshold + theta.
    """
    from scipy.optimize import brentq

    def distance(interval):
        v = drive_mv + (v_reset_mv - drive_mv) * np.exp(-(interval - tau_ref_ms) / tau_mem_ms)
        remaining = np.exp(-interval / tau_theta_ms)
        return v - v_threshold_mv - theta_plus_mv * remaining / (1 - remaining)

    if drive_mv <= v_threshold_mv:
        return 0.0
    return 1e3 / brentq(distance, tau_ref_ms + 1e-9, 1e3 * max(tau_theta_ms, tau_mem_ms), xtol=1e-12)


def psp_mv(time_ms, *, tau_mem_ms, tau_syn_ms):
    """Potential in mV at `time_ms` after one spike on an exponential current synapse with r w = 1 mV.

    tau_syn/(tau_mem - tau_syn) (exp(-t/tau_mem) - exp(-t/tau_syn)), and (t/tau) exp(-t/tau) where the two are equal.
    0 before the spike.
    """
    from scipy.special import exprel

    # The same without dividing by tau_mem - tau_syn: exprel(x) = (exp(x) - 1)/x is smooth at 0.
    t = np.maximum(np.asarray(time_ms, dtype=float), 0.0)
    return t / tau_mem_ms * np.exp(-t / np.maximum(tau_mem_ms, tau_syn_ms)) * exprel(-t * np.abs(1 / tau_syn_ms - 1 / tau_mem_ms))


def psp_peak(*, tau_mem_ms, tau_syn_ms) -> tuple[float, float]:
    """Time in ms and height in mV of the peak of `psp_mv`: (tau_syn/tau_mem)^(tau_mem/(tau_mem - tau_syn)) high."""
    if np.isclose(tau_mem_ms, tau_syn_ms, rtol=1e-9):
        return tau_mem_ms, float(np.exp(-1))
    ratio = tau_mem_ms / tau_syn_ms
    time = tau_mem_ms * np.log(ratio) / (ratio - 1)
    return time, float(ratio ** (-ratio / (ratio - 1)))


def alpha_psp_mv(time_ms, *, tau_mem_ms, tau_syn_ms):
    """Potential in mV at `time_ms` after one spike on an alpha synapse whose current peaks at r i = 1 mV.

    The integral of e (s/tau_syn) exp(-s/tau_syn) exp(-(t - s)/tau_mem)/tau_mem, with its limit for equal time constants.
    """
    t = np.maximum(np.asarray(time_ms, dtype=float), 0.0)
    if np.isclose(tau_mem_ms, tau_syn_ms, rtol=1e-6):
        return np.e * t**2 / (2 * tau_mem_ms**2) * np.exp(-t / tau_mem_ms)
    k = 1 / tau_syn_ms - 1 / tau_mem_ms
    return np.e / (tau_syn_ms * tau_mem_ms) * (np.exp(-t / tau_mem_ms) - (1 + k * t) * np.exp(-t / tau_syn_ms)) / k**2
