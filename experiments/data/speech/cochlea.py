"""A cochlea: sound in, spikes of frequency channels out, the same each time.

    filter    n(f) = t³ exp(-2π b t) cos(2π f t), b = 1.019 ERB(f), ERB(f) = 24.7 (1 + 4.37 f/kHz)      gammatone, gain 1 at f
    hair cell k = g (s + A)/(s + A + B) for s > -A, else 0          s sound of the channel, k permeability
              dq/dt = y (1 - q) - k q + x w                         transmitter free, in the cleft, and on its way back
              dc/dt = k q - (l + r) c
              dw/dt = r c - x w
    fibres    fire at the rate h c each
    neuron    tau_mem dv/dt = -v + h c/threshold; a spike when v > 1, then v = 0 for tau_ref

Channels are evenly spaced along the basilar membrane. A neuron hears so many like fibres that only their mean rate counts; its
threshold lies above the spontaneous rate (15.5 Hz), so that silence is silent. The data of Cramer et al. are made by the same
chain of membrane, hair cells and neurons that many of these reach, with other equations for the first and last link.

Source: Patterson et al. 1992 (gammatone); Glasberg & Moore 1990, Hear. Res. 47, eq. 3-4 (ERB); Hohmann 2002, Acta Acustica 88
(the filter as a cascade of complex poles); Meddis, Hewitt & Shackleton 1990, JASA 87, table II (hair cell of a fibre of medium
spontaneous rate); Cramer et al. 2022, IEEE TNNLS 33.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spiketwin.models.units import whole

# Meddis et al. 1990, table II; rates per second, A and B in units of a sound of 30 dB
A, B, G, Y, L, R, X, H = 10.0, 3000.0, 1000.0, 5.05, 2500.0, 6580.0, 66.31, 50000.0
UNIT_DB = 30.0


@dataclass(frozen=True)
class Cochlea:
    """Raises ValueError for a number of channels, frequencies or times that make no cochlea."""

    channels: int = 64
    """Frequency channels."""
    lowest_hz: float = 80.0
    """Centre of channel 0."""
    highest_hz: float = 3600.0
    """Centre of the last channel."""
    level_db: float = 80.0
    """Sound pressure level that each recording is brought to."""
    threshold_hz: float = 25.0
    """Rate of its fibres that a neuron must hear to spike at last."""
    tau_mem_ms: float = 10.0
    """Membrane time constant of the neurons."""
    tau_ref_ms: float = 1.0
    """Time after a spike in which a neuron is silent."""

    def __post_init__(self) -> None:
        whole(1, channels=self.channels)
        if not 0 < self.lowest_hz <= self.highest_hz:
            raise ValueError(f"0 < lowest_hz <= highest_hz must hold; got {self.lowest_hz}, {self.highest_hz}")
        if not math.isfinite(self.level_db):
            raise ValueError(f"level_db = {self.level_db} must be finite")
        for name in ("threshold_hz", "tau_mem_ms", "tau_ref_ms"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive")

    @property
    def centre_hz(self) -> np.ndarray:
        """Of each channel, evenly spaced in equivalent rectangular bandwidths: 21.4 log10(1 + 4.37 f/kHz)."""
        low, high = (math.log1p(4.37e-3 * f) for f in (self.lowest_hz, self.highest_hz))
        return np.expm1(np.linspace(low, high, self.channels)) / 4.37e-3

    def hear(self, sound: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
        """Times in ms and channels of the spikes that a sound [T] at `rate_hz` causes, in order of time.

        Silence (all samples equal) causes none.  Raises ValueError where a channel lies above half of rate_hz, or for values that
        are not finite.
        """
        sound = np.asarray(sound, dtype=np.float64)
        if sound.ndim != 1 or not np.isfinite(sound).all():
            raise ValueError(f"a sound is one row of finite numbers, got shape {sound.shape}")
        if not self.highest_hz < rate_hz / 2:
            raise ValueError(f"highest_hz = {self.highest_hz} must lie below {rate_hz / 2:g} Hz, half the rate of the recording")
        from spiketwin.experiments.data.speech.cochlea_kernel import listen

        dt_s = 1 / rate_hz
        steps, units = listen(self._scaled(sound), *poles(self.centre_hz, rate_hz), dt_s, *self._neuron(dt_s))
        return 1e3 * dt_s * steps, units

    def _scaled(self, sound: np.ndarray) -> np.ndarray:
        """At level_db, in units of 30 dB; nothing where there is no more than the rounding of a constant."""
        if not len(sound):
            return sound
        change = sound - sound.mean()
        size = math.sqrt(np.mean(change**2))
        if size <= 1e-12 * np.abs(sound).max():
            return np.zeros(len(sound))
        return change * (10 ** ((self.level_db - UNIT_DB) / 20) / size)

    def _neuron(self, dt_s: float) -> tuple[float, float, int]:
        """What a step makes of the fibres' rate: share of the way v goes, 1/threshold, steps of silence."""
        return -math.expm1(-1e3 * dt_s / self.tau_mem_ms), 1 / self.threshold_hz, round(1e-3 * self.tau_ref_ms / dt_s)


def poles(centre_hz: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each channel the pole of its four stages, complex, and the factor on their output's real part: gain 1 at the centre."""
    width_hz = 1.019 * 24.7 * (1 + 4.37e-3 * centre_hz)
    shrink = np.exp(-2 * np.pi * width_hz / rate_hz)
    return shrink * np.exp(2j * np.pi * centre_hz / rate_hz), 2 * (1 - shrink) ** 4


def rest() -> tuple[float, float, float]:
    """q, c, w after a long silence (Meddis et al. 1990, section V)."""
    return steady(G * A / (A + B))


def steady(k: float) -> tuple[float, float, float]:
    """q, c, w where the permeability stays k."""
    c = Y * k / (L * k + Y * (L + R))
    return c * (L + R) / k, c, c * R / X
