"""Ears and eyes: send-on-delta and BSA by hand, mel bands against librosa, and what cannot be heard."""

import numpy as np
import pytest
import scipy.signal
from sklearn.base import clone

from spiketwin.experiments.data.recordings import Recordings
from spiketwin.experiments.reservoirs import BSA, Delta, LiquidStateMachine, OnOff, Rates, Spectrogram
from spiketwin.experiments.reservoirs.senses.held_rates import held_rates
from spiketwin.experiments.reservoirs.senses.series import on_grid
from spiketwin.experiments.reservoirs.senses.spectrogram import hz, mel, mel_bands
from spiketwin.models.encoders import bsa, bsa_rate_hz, bsa_value

RATE_HZ = 8000


def column(*values):
    return np.array(values, float)[:, None, None]


def tone(frequency_hz, frames=4000, rate_hz=RATE_HZ):
    return np.sin(2 * np.pi * frequency_hz * np.arange(frames) / rate_hz)


# -- signals on the grid, and send-on-delta ---------------------------------------------------------------------


def test_signals_are_straight_lines_between_their_frames():
    # two frames on four steps: frame 0 at step 0, frame 1 at step 2, held for its share
    assert on_grid(np.array([[[0.0], [1.0]]]), 4)[:, 0, 0].tolist() == [0, 0.5, 1, 1]
    with pytest.raises(ValueError, match="3 frames for 2 steps"):
        on_grid(np.zeros((1, 3, 1)), 2)


def test_each_size_of_move_has_its_channels():
    # a standard deviation of 2: the moves that cost a spike are 1 and 4; up by 4 in four steps, then back
    X = np.array([0, 1, 2, 3, 4, 3, 2, 1, 0, 0], float)[None, :, None]
    X = X / X.std() * 2
    unit = X[0, 1, 0]
    sense = Delta(deltas=(unit / 2, 2 * unit)).fit(X)
    spikes, ends = sense.spikes(X, dt_ms=1.0, duration_ms=10.0)
    assert sense.inputs_ == 4 and ends.tolist() == [10]
    # channels: small up, small down, large up, large down
    assert [spikes.step[spikes.neuron == n].tolist() for n in range(4)] == [[1, 2, 3, 4], [5, 6, 7, 8], [4], [8]]


def test_a_constant_signal_makes_no_change_and_no_spike():
    X = np.ones((2, 5, 3))
    spikes, _ = Delta().fit(X).spikes(X, dt_ms=1.0, duration_ms=20.0)
    assert spikes.shape == (20, 2, 12) and len(spikes) == 0


# -- BSA --------------------------------------------------------------------------------------------------------


def test_bsa_by_hand():
    """h = .5 .3 .2. The signal is h from step 1 plus h from step 2: 0, .5, .3 + .5, .2 + .3, .2.

    t = 0: |0| + |.5| + |.8| = 1.3, |-.5| + |.2| + |.6| = 1.3: 0 closer, no spike
    t = 1: .5 + .8 + .5 = 1.8, 0 + .5 + .3 = .8: 1 closer, spike; what is left is 0 0 .5 .3 .2
    t = 2: .5 + .3 + .2 = 1, less h: 0, spike; nothing is left
    """
    h = np.array([0.5, 0.3, 0.2])
    x = column(0, 0.5, 0.8, 0.5, 0.2)
    spikes = bsa(x, fir=h, threshold=0.9, dt_ms=1.0)
    assert spikes.step.tolist() == [1, 2]
    np.testing.assert_allclose(bsa_value(spikes, fir=h), x, atol=1e-15)
    # half of h at step 0: 1/2 · 1 before, |h/2 - h| = 1/2 after: 0 closer
    assert len(bsa(column(0.25, 0.15, 0.1), fir=h, threshold=0.1, dt_ms=1.0)) == 0
    # .9 of h: .9 before, .1 after: .8 closer
    assert len(bsa(0.9 * column(0.5, 0.3, 0.2), fir=h, threshold=0.8, dt_ms=1.0)) == 1
    assert len(bsa(0.9 * column(0.5, 0.3, 0.2), fir=h, threshold=0.81, dt_ms=1.0)) == 0
    # the signal ends before h does: .5 + .3 closer
    assert bsa(column(0, 0.5, 0.3), fir=h, threshold=0.8, dt_ms=1.0).step.tolist() == [1]


def test_bsa_finds_the_spikes_that_made_a_signal():
    """Spikes at distances of the filter or more: each can be taken away by itself."""
    sense, at = BSA(peak_hz=500), np.array([3, 50, 90, 133, 200])
    h = sense.filter(1.0)
    x = np.zeros(260)
    for t in at:
        x[t : t + h.size] += h
    found = bsa(np.maximum(x, 0)[:, None, None], fir=h, threshold=0.99 * h.sum(), dt_ms=1.0)
    assert found.step.tolist() == at.tolist()


def test_bsa_of_a_level_fires_at_the_rate_in_closed_form():
    h = BSA().filter(1.0)
    level = np.array([0.2, 0.25, 0.5, 0.9])
    spikes = bsa(np.broadcast_to(level, (2000, 1, 4)), fir=h, dt_ms=1.0)
    np.testing.assert_allclose(spikes.rates_hz()[0], bsa_rate_hz(level, fir=h, dt_ms=1.0), rtol=0.02)
    # the code is no finer than the height of h
    assert 0.1 < h.max() < 0.12 and len(bsa(np.full((2000, 1, 1), 0.1), fir=h, dt_ms=1.0)) == 0
    assert bsa_rate_hz([0.0, 0.5], fir=(0.5, 0.3, 0.2), dt_ms=2.0).tolist() == [0, 250]


@pytest.mark.parametrize("frequency_hz", [1.0, 2.0, 5.0])
def test_bsa_decoded_by_its_filter_is_the_signal(frequency_hz):
    time_s = np.arange(2000) * 1e-3
    X = np.sin(2 * np.pi * frequency_hz * time_s)[None, :, None]
    sense = BSA().fit(X)
    spikes, _ = sense.spikes(X, dt_ms=1.0, duration_ms=2000.0)
    h = sense.filter(1.0)
    decoded = sense.least_ + sense.range_ * bsa_value(spikes, fir=h)
    error = (decoded - X.transpose(1, 0, 2))[50:-50]
    height = 2 * h.max()  # of what one spike adds, in a range of 2
    assert 0.2 < height < 0.25
    # what is left is smaller than a spike, and spread evenly below it has a size of height/sqrt(12) = .06
    assert np.sqrt(np.mean(error**2)) < 0.06, "24 dB below the range"
    assert np.abs(error).max() < height
    # a mean of 1/2 of peak_hz
    assert spikes.rates_hz()[0, 0] == pytest.approx(250, rel=0.1)


# -- sound ------------------------------------------------------------------------------------------------------


def test_mel_bands_are_those_of_librosa():
    librosa = pytest.importorskip("librosa", reason="needs spiketwin[events]: tonic brings librosa")
    ours = mel_bands(RATE_HZ, 256, 32, 80, 3600)
    theirs = librosa.filters.mel(sr=RATE_HZ, n_fft=256, n_mels=32, fmin=80, fmax=3600, dtype=np.float64)
    np.testing.assert_allclose(ours, theirs, atol=1e-13 * theirs.max())


def test_levels_are_decibels_below_the_loudest():
    """The power of Hann windows as scipy has it; a band of a window that holds all of a recording is 0 dB."""
    x = np.random.default_rng(0).standard_normal(RATE_HZ)
    sense = Spectrogram(RATE_HZ, range_db=20)
    # our windows stand in the middle of their hops: (256 - 80)/2 zeros before the first
    hann = scipy.signal.get_window("hann", 256)
    transform = scipy.signal.ShortTimeFFT(hann, 80, RATE_HZ)
    power = np.abs(transform.stft(np.pad(x, 88), p0=0, p1=100, k_offset=128)) ** 2
    bands = (mel_bands(RATE_HZ, 256, 32, 80, 3600) @ power).T
    np.testing.assert_allclose(sense.powers(x[None])[0], bands, rtol=1e-10)
    expected = np.maximum(10 * np.log10(bands / bands.max()), -20)
    np.testing.assert_allclose(sense.levels(x[None])[0], expected, atol=1e-9)
    assert (expected == -20).any() and expected.max() == 0


def test_the_scale_is_linear_then_logarithmic():
    assert mel(1000.0) == pytest.approx(15) and mel(6400.0) == pytest.approx(42) and mel(200.0) == pytest.approx(3)
    np.testing.assert_allclose(hz(mel(np.array([50.0, 999, 1001, 3000]))), [50, 999, 1001, 3000])


def test_a_tone_is_heard_by_its_band_and_at_any_level():
    X = np.stack([tone(500), tone(2000)])
    sense = Spectrogram(RATE_HZ).fit(X)
    spikes, ends = sense.spikes(X, dt_ms=1.0, duration_ms=500.0)
    assert sense.inputs_ == 64 and spikes.shape == (500, 2, 64) and ends.tolist() == [500, 500]
    centres = hz(np.linspace(mel(80), mel(3600), 34))[1:-1]
    loudest = sense.levels(X).mean(axis=1).argmax(axis=1)
    for sample, frequency_hz in enumerate((500, 2000)):
        assert loudest[sample] in np.argsort(np.abs(centres - frequency_hz))[:2]
        on, off = spikes.counts()[:, loudest[sample]], spikes.counts()[:, 32 + loudest[sample]]
        assert on[sample] > 10 and on[1 - sample] == 0 and off[1 - sample] > 10
    soft, _ = sense.spikes(1e-3 * X, dt_ms=1.0, duration_ms=500.0)
    np.testing.assert_array_equal(soft.counts(), spikes.counts())


def test_sound_keeps_its_pace_and_ends_where_it_ends():
    X = np.zeros((3, 4000))
    X[0], X[1, :1600], X[2, 2000:2400] = tone(500), tone(500, 1600), tone(500, 400)
    sense = Spectrogram(RATE_HZ, OnOff(20)).fit(X)
    _, ends = sense.spikes(X, dt_ms=1.0, duration_ms=300.0)
    assert ends.tolist() == [300, 200, 300]  # cut; 1,600 of 8,000 frames per second; 2,400 of them
    recordings = Recordings.of([X[0][:, None], X[1, :1600, None], X[2, :2400, None]], np.zeros(3), RATE_HZ)
    same, _ = clone(sense).fit(recordings).spikes(recordings, dt_ms=1.0, duration_ms=300.0)
    spikes, _ = sense.spikes(X, dt_ms=1.0, duration_ms=300.0)
    np.testing.assert_array_equal(same.counts(), spikes.counts())


@pytest.mark.parametrize("code", [None, Delta(deltas=(0.5,)), BSA()], ids=["OnOff", "Delta", "BSA"])
def test_a_liquid_tells_tones_apart_by_any_code(code):
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    X = np.stack([tone(f, 2400) * np.linspace(0.1, 1, 2400) for f in np.where(y, 1500, 400) + rng.uniform(-50, 50, 24)])
    X += 1e-3 * rng.standard_normal(X.shape)
    sense = Spectrogram(RATE_HZ, code, bands=16)
    lsm = LiquidStateMachine(size=40, sense=sense, duration_ms=300.0, threads=1).fit(X[:16], y[:16])
    assert lsm.score(X[16:], y[16:]) == 1
    assert lsm.sense_.inputs_ == {"OnOff": 32, "Delta": 32, "BSA": 16}[type(code or OnOff()).__name__]
    again = clone(lsm).set_params(sense__bands=8)
    assert again.get_params()["sense__bands"] == 8 and lsm.sense.bands == 16


# -- mistakes ---------------------------------------------------------------------------------------------------

NOISE = np.random.default_rng(1).standard_normal((2, 800))
HEARING = Spectrogram(RATE_HZ).fit(NOISE)
RUN = dict(dt_ms=1.0, duration_ms=100.0)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Spectrogram().fit(np.where(np.arange(800) == 7, np.nan, NOISE)), "NaN"),
        (lambda: Spectrogram().fit(np.stack([NOISE[0], np.zeros(800)])), "sample 1 is empty"),
        (lambda: Spectrogram().fit(np.zeros((2, 0))), "sample 0 is empty"),
        (lambda: HEARING.spikes(Recordings.of([NOISE.T], np.zeros(1), RATE_HZ), **RUN), "2 channels"),
        (lambda: HEARING.spikes(Recordings.of([NOISE[:1].T], np.zeros(1), 16000), **RUN), "16000 frames per second, but rate_hz = 8000"),
        (lambda: HEARING.spikes(NOISE, dt_ms=1.0, duration_ms=95.0), "duration_ms = 95.0 is not a whole number"),
        (lambda: Spectrogram(highest_hz=5000).fit(NOISE), "4000 Hz, half of rate_hz"),
        (lambda: Spectrogram(bands=200).fit(NOISE), "lower bands or raise window_ms"),
        (lambda: Spectrogram(bands=2.5).fit(NOISE), "bands = 2.5 must be a whole number"),
        (lambda: Recordings.of([], np.zeros(0), RATE_HZ), "signals is empty"),
        (lambda: Spectrogram(hop_ms=40.0).fit(NOISE), "hop_ms = 40"),
        (lambda: Spectrogram(hop_ms=0.3).fit(NOISE), "hop_ms = 0.3"),
        (lambda: Spectrogram(range_db=0).fit(NOISE), "range_db = 0"),
        (lambda: Delta(deltas=()).fit(np.zeros((1, 2, 1))), "deltas is empty"),
        (lambda: Delta(deltas=0.5).fit(np.zeros((1, 2, 1))), "deltas is 0.5, which is no sequence"),
        (lambda: Delta(deltas=(0.5, -1)).fit(np.zeros((1, 2, 1))), "deltas = -1"),
        (lambda: Delta().fit(NOISE), "1 step for each sample"),
        (lambda: BSA(peak_hz=0).fit(NOISE[..., None]), "peak_hz = 0"),
        (lambda: BSA(peak_hz=2000).filter(1.0), "too long for peak_hz"),
        (lambda: BSA(cutoff_hz=600).filter(1.0), "cutoff_hz = 600"),
        (lambda: bsa(column(1, -1), fir=np.ones(2), dt_ms=1.0), "reach down to -1"),
        (lambda: bsa(column(1, np.nan), fir=np.ones(2), dt_ms=1.0), "NaN"),
        (lambda: bsa(column(1, 1), fir=np.ones((2, 2)), dt_ms=1.0), r"fir has shape \(2, 2\)"),
        (lambda: bsa(column(1, 1), fir=np.ones(2), threshold=0, dt_ms=1.0), "threshold = 0"),
    ],
)
def test_a_mistake_is_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_rates_are_regular_trains_of_their_share_of_the_highest() -> None:
    X = np.array([[0.0, 64.0, 255.0], [255.0, 255.0, 0.0]])
    spikes, ends = Rates(rate_hz=100.0, highest=255.0).fit(X).spikes(X, dt_ms=1.0, duration_ms=1000.0)
    assert spikes.shape == (1000, 2, 3) and list(ends) == [1000, 1000]
    counts = np.zeros((2, 3))
    np.add.at(counts, (spikes.batch, spikes.neuron), 1)
    np.testing.assert_allclose(counts, X / 255 * 100, atol=1)
    intervals = np.diff(spikes.step[(spikes.batch == 0) & (spikes.neuron == 2)])
    assert set(intervals) == {10}


def test_a_spike_falls_where_the_phase_passes_a_whole_number() -> None:
    rng = np.random.default_rng(0)
    rates_hz = np.round(rng.uniform(0, 1500, (5, 7, 4)), -1) * (rng.random((5, 7, 4)) < 0.7)  # some above one in a step
    held = rates_hz[:, np.arange(40) * 7 // 40] * 1e-3
    phase = np.cumsum(held, axis=1) + np.arange(4) * 0.6180339887 % 1
    before = np.concatenate([(np.arange(4) * 0.6180339887 % 1 + np.zeros((5, 1, 4))), phase[:, :-1]], axis=1)
    expected = np.nonzero((np.floor(phase + 1e-9) > np.floor(before + 1e-9)).transpose(1, 0, 2))
    found = held_rates(rates_hz, dt_ms=1.0, duration_ms=40.0)
    for a, b in zip((found.step, found.batch, found.neuron), expected):
        np.testing.assert_array_equal(a, b)
    assert len(found) > 300


def test_rates_beyond_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="highest = 1"):
        Rates().fit(np.array([[0.0, 2.0]]))
    with pytest.raises(ValueError, match="rate_hz"):
        Rates(rate_hz=-1.0).fit(np.array([[0.0, 0.5]]))
