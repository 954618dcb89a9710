"""Signals of the body: PhysioNet's format by hand, beats cut out of records, synthetic hearts, ripples and what rings like them."""

import sys

import numpy as np
import pytest
import scipy.signal

from spiketwin.experiments.data.biosignals import beats, mit_bih, oscillations, synthetic_ecg, wfdb
from spiketwin.experiments.data.biosignals.windows import Windows, joined
from spiketwin.experiments.data.errors import DataError

# -- the files of PhysioNet -------------------------------------------------------------------------------------

HEADER = (
    "{name} 2 360 {frames} 0:0:0 0/0/0\n{name}.dat 212 200 11 1024 0 0 0 MLII\n{name}.dat 212 100(512)/mV 11 1024 0 0 0 V5\n# a comment\n"
)


def packed(numbers):
    """Format 212, pair by pair."""
    out = []
    for a, b in np.reshape(numbers, (-1, 2)).tolist():
        a, b = a & 0xFFF, b & 0xFFF
        out += [a & 0xFF, a >> 8 | (b >> 8) << 4, b & 0xFF]
    return bytes(out)


def annotations(marks):
    """Words of (code, frame), a skip where a beat is more than 1,023 frames after the last, and a rhythm's name with the first."""
    words, now = [], 0
    for k, (code, frame) in enumerate(marks):
        gap, now = frame - now, frame
        if gap > 1023:
            words += [wfdb.SKIP << 10, gap >> 16, gap & 0xFFFF]
            gap = 0
        words.append(code << 10 | gap)
        if k == 0:
            words += [wfdb.AUX << 10 | 3, ord("(") | ord("N") << 8, 0, wfdb.CHANNEL << 10 | 1, wfdb.SUBTYPE << 10, wfdb.NUMBER << 10]
    return np.array([*words, 0], "<u2").tobytes()


def written(folder, name, numbers, marks):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.hea").write_text(HEADER.format(name=name, frames=len(numbers)))
    (folder / f"{name}.dat").write_bytes(packed(numbers))
    (folder / f"{name}.atr").write_bytes(annotations(marks))


def test_three_bytes_are_two_numbers():
    # 0x12 0x34 0x56: low byte 0x12 with the low nibble 4, low byte 0x56 with the high nibble 3
    assert wfdb.unpacked(bytes([0x12, 0x34, 0x56])).tolist() == [0x412, 0x356]
    # 0xFFF is -1, 0x800 the least of all
    assert wfdb.unpacked(bytes([0xFF, 0x8F, 0x00])).tolist() == [-1, -2048]
    assert wfdb.unpacked(bytes([0x12, 0x34, 0x56, 0x07, 0x00])).tolist() == [0x412, 0x356, 7]


def test_a_record_is_read_as_it_was_written(tmp_path):
    numbers = np.random.default_rng(0).integers(-2048, 2048, (3000, 2))
    written(tmp_path, "100", numbers, [(28, 18), (1, 77), (5, 370), (8, 2900), (14, 2950), (6, 2999)])
    record = wfdb.read(tmp_path, "100")
    assert record.rate_hz == 360 and record.leads == ("MLII", "V5")
    # 200 per mV about the zero of 1,024, and 100 about 512
    np.testing.assert_allclose(record.signals, (numbers - [1024, 512]) / [200, 100])
    assert record.at.tolist() == [77, 370, 2900, 2999] and record.symbols == ("N", "V", "A", "F")  # rhythm and noise are no beats


@pytest.mark.parametrize(
    ("ending", "content", "message"),
    [
        ("hea", b"", "is no WFDB header"),
        ("hea", b"100 1 360 10\n100.dat 16 200 11 1024 0 0 0 MLII\n", r"format \['16'\]"),
        ("hea", b"100 1 360 10\n100.dat 212 200/uV 11 1024 0 0 0 MLII\n", "a signal in uV, expected mV"),
        ("dat", b"\0" * 30, "is truncated: its header announces 3000 frames of 2 signals, found 20"),
        ("atr", np.array([1 << 10 | 5], "<u2").tobytes(), "no end mark"),
        ("atr", np.array([wfdb.SKIP << 10, 1], "<u2").tobytes(), "ends within an annotation"),
        ("atr", np.array([wfdb.SKIP << 10, 1, 0, 1 << 10, 0], "<u2").tobytes(), "a beat at frame 65536"),
    ],
)
def test_a_damaged_record_is_named(tmp_path, ending, content, message):
    written(tmp_path, "100", np.zeros((3000, 2), int), [(1, 77)])
    (tmp_path / f"100.{ending}").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        wfdb.read(tmp_path, "100")
    assert f"100.{ending}" in str(error.value)


def test_the_split_shares_no_patient_and_leaves_out_the_paced():
    assert len(set(mit_bih.DS1) | set(mit_bih.DS2)) == 44 and set(mit_bih.VALIDATION) < set(mit_bih.DS1)
    assert not {102, 104, 107, 217} & {*mit_bih.DS1, *mit_bih.DS2}
    # 201 and 202 are one person: de Chazal's parts share that one
    assert 201 in mit_bih.DS1 and 202 in mit_bih.DS2


def test_mit_bih_is_loaded_from_its_files_or_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKETWIN_DATA", str(tmp_path))
    with pytest.raises(DataError, match="mit-bih was not found"):
        mit_bih.load()
    assert not mit_bih.is_there()
    rng = np.random.default_rng(1)
    for k, name in enumerate(sorted(mit_bih.DS1 + mit_bih.DS2)):
        # N, A, V, F, and a paced beat; the first and the last lie too near the ends
        written(
            tmp_path / "mit-bih",
            name,
            rng.integers(-500, 500, (2200, 2)),
            [(1, 100), (8, 600), (5, 900), (6, 1300), (12, 1500 + k), (1, 2150)],
        )
    train, validation, test = mit_bih.load()
    assert mit_bih.is_there() and len(train) == 3 * 16 and len(validation) == 3 * 6 and len(test) == 3 * 22
    assert set(train.subjects) | set(validation.subjects) == set(mit_bih.DS1) and set(test.subjects) == set(mit_bih.DS2)
    assert train.labels[:3].tolist() == [1, 2, 3] and train.signals.shape[1:] == (432, 2) and train.duration_ms == 1200


# -- heartbeats -------------------------------------------------------------------------------------------------


def test_beats_are_cut_where_they_are_and_split_into_bands():
    """A slow wave of 2 Hz and a fast one of 20 Hz end up in a band each, of standard deviation 1."""
    time = np.arange(5000) / 250
    lead = 3 + np.sin(2 * np.pi * 2 * time) + 0.1 * np.sin(2 * np.pi * 20 * time)
    record = wfdb.Record(lead[:, None], 250.0, ("x",), np.array([100, 1000, 2000, 2500, 4990]), ("N", "e", "J", "/", "V"))
    windows = beats.cut([record], [7])
    assert windows.labels.tolist() == [0, 1] and windows.subjects.tolist() == [7, 7]  # two too near the ends, and one paced
    assert windows.signals.shape == (2, round(0.85 * 250) + round(0.35 * 250), 2)
    inside = slice(1000 - round(0.85 * 250), 1000 + round(0.35 * 250))
    for channel, frequency_hz in enumerate((2, 20)):
        wave = np.sqrt(2) * np.sin(2 * np.pi * frequency_hz * time[inside])
        assert np.abs(windows.signals[0, :, channel] - wave).max() < 0.2  # no delay; some of the other wave comes through


def test_a_rhythm_has_early_beats_and_pauses():
    symbols, at = synthetic_ecg.rhythm(3000, 200.0, np.random.default_rng(0))
    kinds, gaps = np.array(symbols), np.diff(at, prepend=0)
    share = {kind: np.mean(kinds == kind) for kind in "NAVF"}
    # after a sinus beat a share of .3 is ectopic, after an ectopic one none: .3/1.3 of all
    assert 1 - share["N"] == pytest.approx(0.3 / 1.3, abs=0.02) and share["F"] == pytest.approx(0.06 / 1.3, abs=0.015)
    assert (kinds[1:][kinds[:-1] != "N"] == "N").all()
    usual = np.median(gaps[1:][(kinds[1:] == "N") & (kinds[:-1] == "N")])
    assert usual == pytest.approx(200, rel=0.02)
    assert np.median(gaps[kinds == "A"]) == pytest.approx(0.725 * usual, rel=0.05)
    after_v = gaps[1:][kinds[:-1] == "V"] + gaps[:-1][kinds[:-1] == "V"]
    assert np.median(after_v) == pytest.approx(2 * usual, rel=0.02)  # the sinus keeps its time


def test_synthetic_hearts_have_wide_ventricular_beats_without_p():
    pytest.importorskip("neurokit2", reason="needs spiketwin[reservoirs]")
    record = synthetic_ecg.record(3, 30)
    assert len(record.at) == 30 and np.isfinite(record.signals).all()
    # each R peak, up or down, stands out of what lies around it
    sizes = np.abs(record.signals[record.at, 0])
    assert np.median(sizes[np.array(record.symbols) == "N"]) > 3 * np.median(np.abs(record.signals))
    kinds = synthetic_ecg.shapes(np.random.default_rng(0))
    assert kinds["V"].height[0] == 0 and kinds["N"].height[0] > kinds["A"].height[0]
    width = {}
    for kind, shape in kinds.items():
        beat, peak = synthetic_ecg._beats(shape, 60.0, np.random.default_rng(1))[3]
        assert beat[0] == beat[-1] == 0 and np.abs(beat).argmax() == peak
        width[kind] = scipy.signal.peak_widths(np.abs(beat), [peak])[0][0] / synthetic_ecg.RATE_HZ
    assert 0.01 < width["N"] < 0.05 and width["V"] > 1.8 * width["N"] and width["A"] == pytest.approx(width["N"], rel=0.1)


def test_without_neurokit_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "neurokit2", None)
    with pytest.raises(ImportError, match=r"spiketwin\[reservoirs\]"):
        synthetic_ecg.record(0, 5)
    with pytest.raises(ValueError, match="beats = 0"):
        synthetic_ecg.record(0, 0)


# -- oscillations -----------------------------------------------------------------------------------------------


def test_a_ripple_has_the_power_it_should_have():
    one = oscillations.patient(0, 400)
    assert one.signals.shape == (400, 400, 3) and one.duration_ms == 200 and 0.4 < one.labels.mean() < 0.6
    power = one.signals[:, :, oscillations.RIPPLE].max(axis=1) ** 2 / 2  # half the squared height, in units of the background
    strong, weak, none = (power[(one.labels == label) & (one.snr_db == db)] for label, db in ((1, 15.0), (1, 0.0), (0, 15.0)))
    # 15 dB are a factor of 31.6; noise adds some, the filter's flanks and delay take some
    assert 15 < np.median(strong) < 60 and np.median(none) < np.median(strong) / 4
    assert np.median(weak) < np.median(strong) / 4
    np.testing.assert_array_equal(oscillations.patient(0, 400).signals, one.signals)
    assert np.abs(oscillations.patient(1, 400).signals - one.signals).max() > 1


def test_edges_ring_in_the_band_of_ripples():
    """The distractors are what they are for: without a ripple they pass a threshold that the background alone does not."""
    rng = np.random.default_rng(0)
    quiet = 1e-3 * rng.standard_normal((200, oscillations.LEAD_IN + oscillations.WINDOW))
    for make in (oscillations.edges, oscillations.interictal_spikes):
        loud = oscillations.banded(quiet + make(rng, 200))[:, oscillations.LEAD_IN :, oscillations.RIPPLE]
        assert np.abs(loud).max(axis=1).min() > 20 * np.abs(oscillations.banded(quiet)[..., oscillations.RIPPLE]).std()


def test_the_background_falls_with_its_exponent():
    noise = oscillations.coloured(300, 2.0, np.random.default_rng(0))
    frequency, power = scipy.signal.welch(noise, oscillations.RATE_HZ, nperseg=noise.shape[1])
    mean = power.mean(axis=0)
    low, high = (mean[np.argmin(np.abs(frequency - f))] for f in (20, 80))
    # the window's flanks leak some of the low frequencies upwards, the amplifier's noise is a thousandth of it there
    assert np.log(low / high) / np.log(4) == pytest.approx(2, abs=0.15)
    assert noise.std() == pytest.approx(1, rel=0.01)


def test_windows_that_do_not_fit_are_named():
    signals, numbers = np.zeros((3, 5, 1)), np.zeros(3, int)
    with pytest.raises(ValueError, match="2 labels and 3 subjects"):
        Windows(signals, numbers[:2], numbers, 10.0)
    with pytest.raises(ValueError, match="NaN"):
        Windows(np.full((3, 5, 1), np.nan), numbers, numbers, 10.0)
    with pytest.raises(ValueError, match="frames per second"):
        joined([Windows(signals, numbers, numbers, rate) for rate in (10.0, 20.0)])
    with pytest.raises(DataError, match="hold no beat"):
        beats.cut([wfdb.Record(np.ones((900, 1)), 250.0, ("x",), np.array([400]), ("/",))], [0])
    with pytest.raises(DataError, match="subject 4 holds NaN"):
        beats.cut([wfdb.Record(np.full((900, 1), np.nan), 250.0, ("x",), np.array([400]), ("N",))], [4])
