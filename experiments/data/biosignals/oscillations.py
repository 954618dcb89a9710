"""High-frequency oscillations: is there a ripple of 80 to 250 Hz in a window of an intracranial recording? Synthetic.

    background    noise with power 1/f^a, a 1 … 2 by patient, and white noise of the amplifier
    ripple        5 to 12 cycles under a Gaussian, in half of the windows; a patient's own frequency, give or take a tenth
    distractors   with and without ripple alike: interictal spikes, artefacts with edges below a millisecond, gamma bursts of 35 to 65 Hz

Filtered, an edge rings like a ripple: that is the false alarm that Bénar et al. 2010, Clin. Neurophysiol. 121:301 warn of. The bands are
those of Sharifshazileh et al. 2021, Nature Commun. 12:3095, whose device sends them by delta coding to a spiking network.
"""

from __future__ import annotations

import numpy as np
import scipy.signal

from spiketwin.experiments.data.biosignals.windows import Windows
from spiketwin.models.encoders.shared import positive

RATE_HZ = 2000
WINDOW, LEAD_IN = 400, 600  # frames: 200 ms, and what the filters need to settle
BANDS_HZ = ((4.0, 80.0), (80.0, 250.0), (250.0, 500.0))
RIPPLE = 1  # which of them a ripple lies in
SNR_DB = (0.0, 5.0, 10.0, 15.0)


def patient(number: int, windows: int, *, seed: int = 0) -> Windows:
    """Windows of 200 ms at 2 kHz in three bands [windows, 400, 3], in units of the patient's background; label 1: with a ripple.

    snr_db: peak power of a ripple (half its squared height) over that of the background in its band, one of SNR_DB; windows without
    have one as well, so that those of each value can be scored.  The filters are causal.
    """
    positive(windows=windows)
    rng = np.random.default_rng([seed, number])
    background = coloured(windows, rng.uniform(1, 2), rng)
    labels, snr_db = rng.integers(0, 2, windows), rng.choice(SNR_DB, windows)
    scale = _robust(banded(background)[:, LEAD_IN:])
    frequency_hz = rng.uniform(90, 220) * rng.uniform(0.9, 1.1, windows)
    height = labels * scale[RIPPLE] * np.sqrt(2) * 10 ** (snr_db / 20)
    signal = background + bursts(rng, frequency_hz, rng.uniform(5, 12, windows), height)
    for make, share in ((interictal_spikes, 0.25), (edges, 0.25), (gamma, 0.25)):
        signal += make(rng, windows) * (rng.random(windows) < share)[:, None]
    return Windows((banded(signal)[:, LEAD_IN:] / scale).astype(np.float32), labels, np.full(windows, number), float(RATE_HZ), snr_db)


def coloured(windows: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of standard deviation 1 with power 1/f^exponent above 1 Hz, and a hundredth of white noise [windows, frames]."""
    frames = LEAD_IN + WINDOW
    frequency_hz = np.fft.rfftfreq(frames, 1 / RATE_HZ)
    shaped = np.fft.rfft(rng.standard_normal((windows, frames))) * np.maximum(frequency_hz, 1.0) ** (-exponent / 2)
    noise = np.fft.irfft(shaped, frames)
    return noise / noise.std() + 0.01 * rng.standard_normal((windows, frames))


def bursts(rng: np.random.Generator, frequency_hz: np.ndarray, cycles: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Oscillations under a Gaussian four of whose standard deviations hold the cycles, in the middle three fifths of each window."""
    time = _since(rng, len(height))
    width = cycles / frequency_hz / 4
    phase = rng.uniform(0, 2 * np.pi, (len(height), 1))
    return height[:, None] * np.exp(-0.5 * (time / width[:, None]) ** 2) * np.cos(2 * np.pi * frequency_hz[:, None] * time + phase)


def interictal_spikes(rng: np.random.Generator, windows: int) -> np.ndarray:
    """A sharp deflection with a slow one against it, three to eight standard deviations of the background high."""
    time, sharp = _since(rng, windows), rng.uniform(0.003, 0.008, (windows, 1))
    shape = np.exp(-0.5 * (time / sharp) ** 2) - 0.4 * np.exp(-0.5 * ((time - 5 * sharp) / (3 * sharp)) ** 2)
    return _signed(rng, windows, 3, 8) * shape


def edges(rng: np.random.Generator, windows: int) -> np.ndarray:
    """A jump that decays within milliseconds, one half to two standard deviations high."""
    time = _since(rng, windows)
    return _signed(rng, windows, 0.5, 2) * np.where(time >= 0, np.exp(-np.maximum(time, 0) / rng.uniform(0.001, 0.005, (windows, 1))), 0)


def gamma(rng: np.random.Generator, windows: int) -> np.ndarray:
    return bursts(rng, rng.uniform(35, 65, windows), rng.uniform(4, 8, windows), rng.uniform(0.5, 2, windows))


def banded(signal: np.ndarray) -> np.ndarray:
    """[windows, frames] through three causal Butterworth filters of second order [windows, frames, 3]."""
    filters = [scipy.signal.butter(2, band, "bandpass", fs=RATE_HZ, output="sos") for band in BANDS_HZ]
    return np.stack([scipy.signal.sosfilt(sos, signal, axis=1) for sos in filters], axis=2)


def _robust(values: np.ndarray) -> np.ndarray:
    """Standard deviation of each channel, by the median of its size."""
    return np.median(np.abs(values), axis=(0, 1)) / 0.6745


def _since(rng: np.random.Generator, windows: int) -> np.ndarray:
    """Seconds since an event in the middle three fifths of each window [windows, frames]."""
    event = LEAD_IN + WINDOW * rng.uniform(0.2, 0.8, (windows, 1))
    return (np.arange(LEAD_IN + WINDOW) - event) / RATE_HZ


def _signed(rng: np.random.Generator, windows: int, low: float, high: float) -> np.ndarray:
    return rng.uniform(low, high, (windows, 1)) * rng.choice([-1, 1], (windows, 1))
