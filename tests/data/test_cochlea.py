"""The cochlea against closed forms of its filter and hair cell, and the whole against a slow loop that shares no code."""

import numpy as np
import pytest
from scipy.signal import freqz, lfilter

from spiketwin.experiments.data.speech import cochlea
from spiketwin.experiments.data.speech.cochlea import Cochlea

RATE_HZ = 8000


def tone(hz, ms=100):
    return np.sin(2 * np.pi * hz * np.arange(int(ms * RATE_HZ / 1e3)) / RATE_HZ)


def test_channels_are_evenly_spaced_on_the_membrane():
    # 21.4 log10(1 + 4.37 f/kHz) at 1 kHz: 21.4 * 0.72997 = 15.62 bandwidths
    centres = Cochlea(channels=21, lowest_hz=100, highest_hz=3000).centre_hz
    bands = 21.4 * np.log10(1 + 4.37e-3 * centres)
    np.testing.assert_allclose(np.diff(bands), (bands[-1] - bands[0]) / 20)
    assert centres[[0, -1]] == pytest.approx([100, 3000]) and 21.4 * np.log10(5.37) == pytest.approx(15.62, abs=0.01)


def test_the_filter_has_gain_one_and_the_bandwidth_of_a_gammatone():
    """|H(f + d)|² = (1 + (d/b)²)^-4, so half the power at d = b sqrt(2^(1/4) - 1); 1.019 · 24.7 · 5.37 = 135.2 Hz is b at 1 kHz."""
    pole, factor = cochlea.poles(np.array([1000.0]), RATE_HZ)
    half = 135.2 * np.sqrt(2**0.25 - 1)
    _, stage = freqz([1], [1, -pole[0]], worN=[1000, 1000 - half, 1000 + half], fs=RATE_HZ)
    # the real part of the output is half of the filter and its mirror image, which lies far off
    gain = np.abs(factor[0] / 2 * stage**4)
    np.testing.assert_allclose(gain, [1, 0.5**0.5, 0.5**0.5], rtol=0.01)


@pytest.mark.parametrize("k", [3.322, 200.0])
def test_the_hair_cell_comes_to_rest_where_its_equations_are_zero(k):
    y, l, r, x = 5.05, 2500, 6580, 66.31
    q, c, w = np.linalg.solve([[-y - k, 0, x], [k, -l - r, 0], [0, r, -x]], [-y, 0, 0])
    assert cochlea.steady(k) == pytest.approx((q, c, w))
    if k < 10:  # 1000 · 10/3010: silence
        assert 50000 * c == pytest.approx(15.5, abs=0.05) and cochlea.rest()[1] == pytest.approx(c, rel=1e-3)


def slow(model, sound):
    """All of it once more: filters by scipy, then one channel at a time."""
    sound = sound - np.mean(sound)
    sound = sound / np.sqrt(np.mean(sound**2)) * 10 ** ((model.level_db - 30) / 20)
    dt, found = 1 / RATE_HZ, []
    for i, f in enumerate(model.centre_hz):
        decay = np.exp(-2 * np.pi * 1.019 * 24.7 * (1 + 4.37 * f / 1000) / RATE_HZ)
        four = np.poly([decay * np.exp(2j * np.pi * f / RATE_HZ)] * 4)
        heard = np.real(lfilter([2 * (1 - decay) ** 4], four, sound.astype(complex)))
        k = 1000 * np.maximum(heard + 10, 0) / (np.maximum(heard + 10, 0) + 3000)
        k0 = 1000 * 10 / 3010
        q, c, w = np.linalg.solve([[-5.05 - k0, 0, 66.31], [k0, -9080, 0], [0, 6580, -66.31]], [-5.05, 0, 0])
        v, silent_until = min(50000 * c / model.threshold_hz, 1), 0
        for n, now in enumerate(k):
            w, back = w + dt * (6580 * c - 66.31 * w), dt * 66.31 * w
            c = now * q / 9080 + (c - now * q / 9080) * np.exp(-9080 * dt)
            q = q + dt * (5.05 * (1 - q) - now * q) + back
            rate = 50000 * c / model.threshold_hz
            v = rate + (v - rate) * np.exp(-1000 * dt / model.tau_mem_ms)
            if n < silent_until:
                v = 0
            elif v > 1:
                found.append((n, i))
                v, silent_until = 0, n + 1 + round(model.tau_ref_ms * RATE_HZ / 1000)
    return sorted(found)


def test_spikes_are_those_of_a_slow_loop():
    model = Cochlea(channels=4, lowest_hz=200, highest_hz=2000)
    sound = np.random.default_rng(0).normal(size=1200) * np.sin(np.arange(1200) / 150)
    times_ms, units = model.hear(sound, RATE_HZ)
    assert list(zip((times_ms * RATE_HZ / 1e3).tolist(), units.tolist())) == slow(model, sound)
    assert len(times_ms) > 20 and set(units) == {0, 1, 2, 3}


@pytest.mark.parametrize("channel", [5, 15, 25])
def test_a_tone_is_heard_most_at_its_place(channel):
    # at a level that does not saturate every fibre
    model = Cochlea(channels=32, level_db=60, threshold_hz=18)
    _, units = model.hear(tone(model.centre_hz[channel]), RATE_HZ)
    counts = np.bincount(units, minlength=32)
    assert counts[channel] == counts.max() > 3
    assert counts[np.abs(np.arange(32) - channel) > 10].sum() == 0


def test_silence_is_silent_and_loudness_is_evened_out():
    model = Cochlea(channels=8)
    for quiet in (np.zeros(800), np.full(800, 0.3), np.zeros(0)):
        assert len(model.hear(quiet, RATE_HZ)[0]) == 0
    loud, faint = model.hear(tone(500), RATE_HZ), model.hear(0.01 * tone(500) + 0.2, RATE_HZ)
    assert len(loud[0]) > 5 and all(np.array_equal(a, b) for a, b in zip(loud, faint))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 0}, "channels = 0 must be a whole number and at least 1"),
        ({"channels": 2.5}, "channels = 2.5 must be a whole number"),
        ({"level_db": float("nan")}, "level_db = nan must be finite"),
        ({"lowest_hz": 500, "highest_hz": 100}, "0 < lowest_hz <= highest_hz"),
        ({"tau_mem_ms": 0}, "tau_mem_ms = 0 must be positive"),
    ],
)
def test_an_impossible_cochlea_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Cochlea(**settings)


def test_bad_sounds_are_refused():
    with pytest.raises(ValueError, match=r"highest_hz = 3600.0 must lie below 2000 Hz, half the rate"):
        Cochlea().hear(np.zeros(10), 4000)
    with pytest.raises(ValueError, match="highest_hz = 3600.0 must lie below nan Hz"):
        Cochlea().hear(np.zeros(10), np.nan)
    with pytest.raises(ValueError, match="one row of finite numbers"):
        Cochlea().hear(np.array([0.0, np.nan]), RATE_HZ)
    with pytest.raises(ValueError, match=r"one row of finite numbers, got shape \(10, 1\)"):
        Cochlea().hear(np.zeros((10, 1)), RATE_HZ)
