"""Sound as the level of its mel bands over time, in any code of numbers.

    power    |FFT|² of Hann windows, one for each hop, centred on it
    bands    triangles of area 1, evenly spaced in mel: f/66.7 Hz below 1 kHz, 15 + 27 ln(f/1 kHz)/ln 6.4 above
    level    10 log10(power/greatest of the recording), not below -range_db

Source: Slaney 1998, Auditory Toolbox, Technical Report 1998-010 (mfcc: the bands).
"""

from __future__ import annotations

import math

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_array

from spiketwin.experiments.data.recordings import Recordings
from spiketwin.experiments.reservoirs.senses.on_off import OnOff
from spiketwin.experiments.reservoirs.senses.protocol import Sense
from spiketwin.models.encoders.shared import positive, whole, whole_steps
from spiketwin.models.spikes import Spikes

LINEAR_HZ, KNEE_HZ, PER_OCTAVES = 200 / 3, 1000.0, math.log(6.4) / 27


class Spectrogram(BaseEstimator):
    """Levels of mel bands through a code: OnOff() fires each band's two channels where it is louder or softer than usual.

    rate_hz: frames of sound per second.  code: a sense of series, such as Delta() or BSA(); None: OnOff().
    bands: their number, between lowest_hz and highest_hz.  window_ms, hop_ms: of the analysis.  range_db: below the loudest is silence.
    X: sounds [samples, frames], filled up with zeros where they are shorter, or Recordings of one channel. Sound keeps its pace: what
    is longer than the run is cut, and a sample ends with its last frame that is not 0.
    Raises ValueError for NaN, for a sample without sound, and for Recordings of another rate.
    """

    def __init__(
        self,
        rate_hz: float = 8000.0,
        code: Sense | None = None,
        *,
        bands: int = 32,
        lowest_hz: float = 80.0,
        highest_hz: float = 3600.0,
        window_ms: float = 32.0,
        hop_ms: float = 10.0,
        range_db: float = 60.0,
    ) -> None:
        self.rate_hz, self.code, self.bands, self.lowest_hz, self.highest_hz = rate_hz, code, bands, lowest_hz, highest_hz
        self.window_ms, self.hop_ms, self.range_db = window_ms, hop_ms, range_db

    def fit(self, X) -> Spectrogram:
        positive(rate_hz=self.rate_hz, window_ms=self.window_ms, hop_ms=self.hop_ms, range_db=self.range_db)
        whole(1, bands=self.bands)
        sounds = self._sounds(X)
        own, hop = lengths(sounds), self.hop_ms * 1e-3 * self.rate_hz
        levels = self.levels(sounds)
        # silence that only fills up is not part of what is usual
        frame = [np.arange(levels.shape[1]) * hop < n for n in own]
        heard = np.concatenate([level[inside] for level, inside in zip(levels, frame)])
        self.code_ = (clone(self.code) if self.code else OnOff()).fit(heard[None])
        self.inputs_ = self.code_.inputs_
        return self

    def spikes(self, X, *, dt_ms: float, duration_ms: float) -> tuple[Spikes, np.ndarray]:
        steps, hops = whole_steps(duration_ms, dt_ms, "duration_ms"), whole_steps(duration_ms, self.hop_ms, "duration_ms")
        sounds = self._sounds(X)
        frames = round(hops * self.hop_ms * 1e-3 * self.rate_hz)
        fitted = np.zeros((len(sounds), frames))
        fitted[:, : sounds.shape[1]] = sounds[:, :frames]
        lasts_ms = lengths(fitted) / self.rate_hz * 1e3
        spikes, _ = self.code_.spikes(self.levels(fitted), dt_ms=dt_ms, duration_ms=duration_ms)
        return spikes, np.clip(np.ceil(lasts_ms / dt_ms - 1e-9).astype(int), 1, steps)

    def levels(self, sounds: np.ndarray) -> np.ndarray:
        """Of sounds [samples, frames]: dB below the loudest [samples, hops, bands], one for each whole or begun hop."""
        power = self.powers(sounds)
        loudest = power.max(axis=(1, 2), keepdims=True)
        return 10 * np.log10(np.maximum(power / np.where(loudest > 0, loudest, 1), 10 ** (-self.range_db / 10)))

    def powers(self, sounds: np.ndarray) -> np.ndarray:
        """The power of each band [samples, hops, bands]."""
        window, hop = (round(ms * 1e-3 * self.rate_hz) for ms in (self.window_ms, self.hop_ms))
        if hop < 1 or window < hop or abs(hop - self.hop_ms * 1e-3 * self.rate_hz) > 1e-6:
            raise ValueError(
                f"hop_ms = {self.hop_ms} must be whole frames of {1e3 / self.rate_hz:g} ms, and window_ms = {self.window_ms} as long or longer"
            )
        hops, before = -(-sounds.shape[1] // hop), (window - hop) // 2
        padded = np.pad(sounds, ((0, 0), (before, hops * hop + window - hop - before - sounds.shape[1])))
        seen = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1)[:, ::hop]
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
        spectrum = np.abs(np.fft.rfft(seen * hann, axis=2)) ** 2
        return spectrum @ mel_bands(self.rate_hz, window, self.bands, self.lowest_hz, self.highest_hz).T

    def _sounds(self, X) -> np.ndarray:
        """[samples, frames], each with some sound."""
        if isinstance(X, Recordings):
            if X.rate_hz != self.rate_hz:
                raise ValueError(
                    f"the recordings have {X.rate_hz:g} frames per second, but rate_hz = {self.rate_hz:g}; set it to theirs, or resample them"
                )
            if X.values.shape[1] != 1:
                raise ValueError(f"the recordings have {X.values.shape[1]} channels; give one of them, or their mean")
            sounds = np.zeros((len(X), int(X.frames.max(initial=0))))
            for b in range(len(X)):
                sounds[b, : X.frames[b]] = X.signal(b)[:, 0]
            X = sounds
        sounds = check_array(X, dtype=float, ensure_min_features=0)
        if (silent := lengths(sounds) == 0).any():
            raise ValueError(f"sample {int(np.argmax(silent))} is empty, or all its frames are 0; leave it out")
        return sounds


def lengths(sounds: np.ndarray) -> np.ndarray:
    """Frames [samples] up to the last that is not 0."""
    return np.max((sounds != 0) * np.arange(1, sounds.shape[1] + 1), axis=1, initial=0)


def mel_bands(rate_hz: float, window: int, bands: int, lowest_hz: float, highest_hz: float) -> np.ndarray:
    """Weight of each frequency of a real FFT of `window` frames in each band [bands, window//2 + 1].

    Raises ValueError where a band is narrower than the frequencies are apart, or lies above half of rate_hz.
    """
    if not 0 <= lowest_hz < highest_hz <= rate_hz / 2:
        raise ValueError(
            f"0 <= lowest_hz < highest_hz must hold up to {rate_hz / 2:g} Hz, half of rate_hz; got {lowest_hz} and {highest_hz}"
        )
    edges = hz(np.linspace(mel(lowest_hz), mel(highest_hz), bands + 2))
    frequency = np.arange(window // 2 + 1) * (rate_hz / window)
    rising = (frequency - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequency) / np.diff(edges)[1:, None]
    weights = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    if (deaf := ~weights.any(axis=1)).any():
        raise ValueError(
            f"band {int(np.argmax(deaf))} of {bands} lies between two frequencies of a window of {window} frames; lower bands or raise window_ms"
        )
    return weights


def mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    linear = np.asarray(frequency_hz, float) / LINEAR_HZ
    return np.where(linear < 15, linear, 15 + np.log(np.maximum(linear, 15) / 15) / PER_OCTAVES)


def hz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < 15, mels * LINEAR_HZ, KNEE_HZ * np.exp(PER_OCTAVES * (np.maximum(mels, 15) - 15)))
