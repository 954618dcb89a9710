"""Synthetic electrocardiograms with ectopic beats: shapes by ECGSYN (of neurokit2), rhythm and noise by us.

Each subject has a heart rate, waves of its own (place, height and width of P, Q, R, S and T vary by a seventh), and its own ectopic shapes.
ECGSYN makes a train of some twelve beats of each shape; single beats are cut out of it and set into a rhythm.

    N   the subject's sinus beat, at its rate, which follows breath and drifts
    S   atrial premature: the P wave flat or inverted and late, QRS and T as in N; at 60 … 85 % of the usual interval, then one of 100 … 115 %
    V   ventricular premature: no P, QRS two to three times as wide, upwards or downwards, T against it; at 55 … 90 %, then a compensatory pause
    F   fusion: the mean of N and V, weighted 30 … 70 %, at 90 … 100 % of the usual interval

To this come breath at .15 … .35 Hz, mains at 50 Hz and muscle noise. These are four kinds as a model makes them, not patients.

Source: McSharry et al. 2003, IEEE Trans. Biomed. Eng. 50:289 (ECGSYN); Makowski et al. 2021, Behav. Res. Methods 53:1689 (neurokit2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.signal

from spiketwin.experiments.data.biosignals.wfdb import Record
from spiketwin.experiments.optional import library

RATE_HZ = 250
SHARES = {"A": 0.12, "V": 0.12, "F": 0.06}  # of beats that follow a sinus beat
SHAPE_MS = 12_000  # of each shape's train: some twelve beats
# ECGSYN's waves: angle in degrees, height, width in radians, of P Q R S T
ANGLE, HEIGHT, WIDTH = (np.array(v) for v in ((-70.0, -15, 0, 15, 100), (1.2, -5.0, 30, -7.5, 0.75), (0.25, 0.1, 0.1, 0.1, 0.4)))


class Shape(NamedTuple):
    """Waves for ECGSYN, and what its output is multiplied by."""

    angle: np.ndarray
    height: np.ndarray
    width: np.ndarray
    gain: float = 1.0


def record(subject: int, beats: int, *, seed: int = 0) -> Record:
    """One lead in mV at 250 Hz [frames, 1], and its beats: N, A (class S), V and F.

    The same for the same subject and seed.  Raises ImportError naming the extra when neurokit2 is missing.
    """
    if beats < 1:
        raise ValueError(f"beats = {beats} must be 1 or more")
    rng = np.random.default_rng([seed, subject])
    rate_per_min = rng.uniform(55, 95)
    interval = 60 / rate_per_min * RATE_HZ
    cut = {symbol: _beats(shape, rate_per_min, rng) for symbol, shape in shapes(rng).items()}
    symbols, at = rhythm(beats, interval, rng)
    lead = np.zeros(int(at[-1] + 2 * interval))
    for symbol, frame in zip(symbols, at, strict=True):
        share = rng.uniform(0.3, 0.7)
        for kind, part in ({"N": share, "V": 1 - share} if symbol == "F" else {symbol: 1.0}).items():
            beat, peak = cut[kind][rng.integers(len(cut[kind]))]
            lead[frame - peak : frame - peak + len(beat)] += part * beat
    return Record((lead + _noise(len(lead), rng))[:, None], float(RATE_HZ), ("synthetic",), at, tuple(symbols))


def shapes(rng: np.random.Generator) -> dict[str, Shape]:
    """A subject's sinus, atrial and ventricular beats."""

    def varied(values):
        return values * rng.uniform(6 / 7, 8 / 7, 5)

    angle, height, width = varied(ANGLE), varied(HEIGHT), varied(WIDTH)
    early_p = np.where(np.arange(5) == 0, rng.uniform(0.65, 0.9), 1.0) * angle
    flat_p = np.where(np.arange(5) == 0, rng.uniform(-1.0, 0.3), 1.0) * height
    # without P, and T against the QRS complex
    wide = np.array([1, *(3 * [rng.uniform(2, 3)]), 1]) * width
    bizarre = height * np.array([0.0, rng.uniform(0, 1), 1.0, rng.uniform(0, 1), -rng.uniform(4, 10)])
    apart = angle * np.array([1, 2.5, 1, 2.5, 1.2])
    up = 1 if rng.random() < 0.6 else -1
    return {
        "N": Shape(angle, height, width),
        "A": Shape(early_p, flat_p, width),
        "V": Shape(apart, bizarre, wide, up * rng.uniform(0.9, 1.6)),
    }


def rhythm(beats: int, interval: float, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Kinds of beats, and frames of their R peaks; after an ectopic one comes a sinus beat."""
    symbols, at, pause, now = [], [], 0.0, 2 * interval
    drift, phase = 0.0, rng.uniform(0, 2 * np.pi)
    for k in range(beats):
        drift = 0.9 * drift + rng.normal(0, 0.008)
        usual = interval * (1 + drift + 0.03 * np.sin(phase + 2 * np.pi * 0.25 * now / RATE_HZ))
        symbol = "N" if pause or not k else str(rng.choice(["N", *SHARES], p=[1 - sum(SHARES.values()), *SHARES.values()]))
        shortest, longest = {"N": (1.0, 1.0), "A": (0.6, 0.85), "V": (0.55, 0.9), "F": (0.9, 1.0)}[symbol]
        gap = pause or usual * rng.uniform(shortest, longest)
        now += gap
        pause = {"N": 0.0, "A": usual * rng.uniform(1.0, 1.15), "V": 2 * usual - gap, "F": 2 * usual - gap}[symbol]
        symbols.append(symbol)
        at.append(round(now))
    return symbols, np.array(at)


def _beats(shape: Shape, rate_per_min: float, rng: np.random.Generator) -> list[tuple[np.ndarray, int]]:
    """Single beats in mV that begin and end at 0, and where their R peaks are."""
    train = _simulated(shape, rate_per_min, int(rng.integers(2**31)))
    interval = 60 / rate_per_min * RATE_HZ
    peaks, _ = scipy.signal.find_peaks(train, prominence=np.ptp(train) / 2, distance=int(interval / 2))
    # P begins after 2/5 of an interval before R, T ends within 3/5 after it
    before, after = round(0.4 * interval), round(0.6 * interval)
    fade = scipy.signal.windows.tukey(before + after, 0.15)
    level = np.median(train)
    return [(shape.gain * fade * (train[p - before : p + after] - level), before) for p in peaks if before <= p <= len(train) - after]


def _simulated(shape: Shape, rate_per_min: float, seed: int) -> np.ndarray:
    train = library("neurokit2", "reservoirs").ecg_simulate(
        duration=SHAPE_MS // 1000,
        sampling_rate=RATE_HZ,
        noise=0,
        heart_rate=rate_per_min,
        heart_rate_std=1,
        method="ecgsyn",
        random_state=seed,
        random_state_distort=seed,
        ti=shape.angle,
        ai=shape.height,
        bi=shape.width,
    )
    return np.asarray(train, float)


def _noise(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Breath, mains and muscle, in mV."""
    time = np.arange(frames) / RATE_HZ
    breath = rng.uniform(0.05, 0.25) * np.sin(2 * np.pi * (rng.uniform(0.15, 0.35) * time + rng.random()))
    mains = rng.uniform(0, 0.03) * np.sin(2 * np.pi * (50 * time + rng.random()))
    return breath + mains + rng.uniform(0.02, 0.06) * rng.standard_normal(frames)
