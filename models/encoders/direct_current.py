"""Direct current: no spikes are made; the first layer receives a constant drive, or equal increments, and makes its own.

    drive       r i = x · drive_mv                 the membrane follows  v = r i (1 - exp(-t/tau_mem))
    increments  w per step to v = w (1 - beta^n)/(1 - beta), which is the drive w/(1 - beta) sampled at the steps

Source: Rueckauer et al. 2017, Conversion of continuous-valued deep networks, for analogue input of the first layer;
Rathi & Roy 2021, DIET-SNN.
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.decoders import mean_interval_ms
from spiketwin.models.encoders.shared import intensities, positive, whole_steps
from spiketwin.models.spikes import Spikes
from spiketwin.models.theory import lif_rate_hz
from spiketwin.models.units import UnitError, quantity, unit

DRIVES = [unit(name)[1] for name in ("amp", "amp/metre**2", "volt", "volt/second", "siemens", "siemens/metre**2")]


def direct_current(x, *, amplitude: str | float, duration_ms: float, dt_ms: float = 1.0) -> np.ndarray:
    """A constant input x · amplitude in SI [duration/dt, B, N], for inputs['population.drive'] or a SpikingLayer.

    x: intensities [B, N] in 0 … 1.  amplitude: of x = 1, text such as '0.5 nA', or an SI number.
    The result is read-only and takes the memory of one step; a SpikingLayer takes that step, `[:1]`, with steps=T.
    Raises ValueError for NaN, for x outside 0 … 1, for a duration of no whole steps; UnitError for text without a unit
    that drives a neuron.
    """
    x = intensities(x)
    steps = whole_steps(duration_ms, dt_ms, "duration_ms")
    value, dimension = quantity(amplitude)
    if isinstance(amplitude, str) and dimension not in DRIVES:
        raise UnitError(
            f"amplitude = '{amplitude}' is in {dimension}, which drives no neuron; give e.g. '0.5 nA', '15 mV' or '10 uA/cm**2'"
        )
    if not np.isfinite(value):
        raise ValueError(f"amplitude = {amplitude} must be finite")
    return np.broadcast_to(x * value, (steps, *x.shape))


def direct_current_rate_hz(x, *, drive_mv: float, **neuron: float) -> np.ndarray:
    """The rate [B, N] in Hz of a leaky integrate-and-fire neuron that is driven to x · drive_mv above rest.

    drive_mv: r · amplitude, in mV.  neuron: tau_mem_ms, v_threshold_mv, v_reset_mv, tau_ref_ms as in theory.lif_rate_hz.
    Raises ValueError for NaN, for x outside 0 … 1, and for a drive that is not positive.
    """
    positive(drive_mv=drive_mv)
    return lif_rate_hz(intensities(x) * drive_mv, **neuron)


def direct_current_value(
    spikes: Spikes, *, drive_mv: float, tau_mem_ms: float, v_threshold_mv: float, v_reset_mv: float = 0.0, tau_ref_ms: float = 0.0
) -> np.ndarray:
    """The intensities [B, N] behind the spikes of such neurons, from their mean interval; 0 where it cannot be measured.

    Inputs below threshold_mv/drive_mv do not fire and are not told apart.
    """
    positive(drive_mv=drive_mv, tau_mem_ms=tau_mem_ms)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.exp((tau_ref_ms - mean_interval_ms(spikes)) / tau_mem_ms)  # of the distance to the drive, after an interval
        return np.nan_to_num((v_threshold_mv - v_reset_mv * left) / (1 - left) / drive_mv, nan=0.0, posinf=1.0).clip(0, 1)
