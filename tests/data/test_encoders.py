"""What every code keeps: its protocol, its seed, its grid, its memory, its errors, and the value that comes back."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spiketwin.models import encoders
from spiketwin.models.encoders import ENCODERS, encoder
from spiketwin.models.spikes import Spikes

# name -> settings that the encoder takes, and those of them that reading the value takes
SETTINGS = {
    "bernoulli": (dict(rate_hz=500, duration_ms=400, seed=3), ("rate_hz",)),
    "poisson": (dict(rate_hz=500, duration_ms=400, seed=3), ("rate_hz",)),
    "regular": (dict(rate_hz=500, duration_ms=100), ("rate_hz",)),
    "time_to_first_spike": (dict(tau_ms=20, threshold=0.2, tmax_ms=100), ("tau_ms", "threshold")),
    "log_temporal": (dict(halving_ms=5, tmax_ms=50), ("halving_ms",)),
    "rank_order": (dict(interval_ms=2), ()),
    "temporal_switch": (dict(tmax_ms=50), ("tmax_ms",)),
    "phase": (dict(phases=6, phase_ms=2, periods=3), ("phases", "phase_ms")),
    "burst": (dict(spikes_max=5, shortest_ms=2, longest_ms=12, duration_ms=60), ("spikes_max", "shortest_ms", "longest_ms")),
    "population": (dict(fields=8, tmax_ms=20), ("fields", "tmax_ms")),
    "bsa": (dict(fir=(0.5, 0.3, 0.2)), ("fir",)),
    "delta": (dict(delta=0.25), ("delta",)),
    "direct_current": (dict(amplitude="0.5 nA", duration_ms=30), ()),
}
SPIKING = [name for name, code in ENCODERS.items() if code.takes == "intensities" and code.gives == "spikes"]
DRAWN = ("bernoulli", "poisson")
# The times of these are real numbers and not multiples of a phase or a sample.
EXACT = ("regular", "time_to_first_spike", "log_temporal", "rank_order", "temporal_switch", "burst", "population")
intensities = arrays(float, st.tuples(st.integers(1, 3), st.integers(1, 8)), elements=st.floats(0, 1))


def encode(name, x, dt_ms=1.0):
    return ENCODERS[name](x, **SETTINGS[name][0], dt_ms=dt_ms)


def value(name, spikes):
    encoding, read = SETTINGS[name]
    return ENCODERS[name].value(spikes, **{key: encoding[key] for key in read})


def images(seed=0, shape=(3, 20)):
    return np.random.default_rng(seed).random(shape)


def test_every_code_has_its_settings_here_and_its_functions_in_the_package():
    assert set(SETTINGS) == set(ENCODERS)
    for name, code in ENCODERS.items():
        assert code.encode is getattr(encoders, name) and code.encode.__name__ == name
        assert code.expected.__name__.startswith(name) and code.expected.__name__.endswith(("_rate_hz", "_ms"))
    assert encoder("phase") is ENCODERS["phase"]
    with pytest.raises(ValueError, match="Did you mean 'poisson'"):
        encoder("poison")


@pytest.mark.parametrize("name", SPIKING)
def test_a_batch_is_its_trials_and_a_call_can_be_repeated(name):
    x = images()
    spikes = encode(name, x)
    assert isinstance(spikes, Spikes) and len(spikes) > 10 and spikes.shape[1] == 3
    assert spikes.shape[2] == {"temporal_switch": 40, "population": 160}.get(name, 20)
    assert spikes.equals(encode(name, x))
    if name not in DRAWN:
        assert all(encode(name, x[b : b + 1]).equals(spikes.trial(b)) for b in range(3))
    else:
        settings, _ = SETTINGS[name]
        assert not spikes.equals(ENCODERS[name](x, **settings | {"seed": 4}))
    assert spikes.dense().sum() == len(spikes)  # a step holds one spike of a neuron


@pytest.mark.parametrize("name", EXACT)
def test_the_times_do_not_depend_on_the_grid(name):
    x = images(1)
    coarse, fine = encode(name, x, 1.0), encode(name, x, 0.25)
    assert fine.shape[0] in (4 * coarse.shape[0], 4 * coarse.shape[0] - 3)  # temporal_switch: one step more, for the end
    order = [np.lexsort((s.times_ms(), s.neuron, s.batch)) for s in (coarse, fine)]
    np.testing.assert_allclose(coarse.times_ms()[order[0]], fine.times_ms()[order[1]], rtol=1e-12)
    for spikes in (coarse, fine):
        np.testing.assert_array_equal(spikes.step, np.floor(spikes.times_ms() / spikes.dt_ms + 1e-9))


@pytest.mark.parametrize("name", SPIKING)
def test_no_dense_tensor_is_made(name):
    x = np.zeros((32, 2000))
    x[np.arange(32), np.arange(32)] = 0.7
    extra = {"periods": 200} if name == "phase" else {}
    length = {"duration_ms": 2000, "tmax_ms": 2000}
    settings, _ = SETTINGS[name]
    settings = settings | {k: v for k, v in length.items() if k in settings} | extra
    tracemalloc.start()
    spikes = ENCODERS[name](x, **settings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    T, B, N = spikes.shape
    assert len(spikes) >= 32
    # x itself has 0.5 MB, and each of the 8 fields of `population` as much; a dense tensor would have 128 MB or more
    assert peak < 20e6 < T * B * N


@pytest.mark.parametrize("name", SPIKING)
def test_silence_is_encoded_as_silence(name):
    spikes = encode(name, np.zeros((2, 5)))
    if name == "population":
        assert (spikes.counts() <= 1).all() and len(spikes) > 0  # the value 0 has its own field
    else:
        assert len(spikes) == 0 and (value(name, spikes) == 0).all()


@pytest.mark.parametrize("name", [n for n, code in ENCODERS.items() if code.takes == "intensities"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.5, np.nan]], "NaN"),
        ([[0.0, 255.0]], "divide by 255"),
        ([[0.0, 16.0]], "divide by 16"),
        ([[-0.1, 0.5]], "0 … 1"),
        ([0.5, 0.5], r"\[B, N\]"),
    ],
)
def test_bad_intensities_are_named(name, x, message):
    with pytest.raises(ValueError, match=message):
        encode(name, np.array(x))


def settings_that_are_wrong():
    wrong = {
        "dt_ms": (-1, "dt_ms"),
        "duration_ms": (30.5, "whole number"),
        "tmax_ms": (100.5, "whole number"),
        "tau_ms": (0, "tau_ms"),
        "threshold": (0.0, "threshold"),
        "halving_ms": (-3, "halving_ms"),
        "rate_hz": (-1, "rate_hz"),
        "interval_ms": (0, "interval_ms"),
        "phases": (60, "1 … 52"),
        "phase_ms": (1.5, "phase_ms"),
        "periods": (0, "periods"),
        "spikes_max": (0, "spikes_max"),
        "shortest_ms": (13, "longest_ms"),
        "longest_ms": (np.inf, "longest_ms"),
        "fields": (2, "at least 3"),
        "amplitude": (np.nan, "amplitude"),
    }
    for name, (taken, _) in SETTINGS.items():
        for key in (*taken, "dt_ms"):
            if key in wrong and ENCODERS[name].takes == "intensities":
                yield pytest.param(name, {key: wrong[key][0]}, wrong[key][1], id=f"{name}-{key}")


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        *settings_that_are_wrong(),
        ("bernoulli", {"rate_hz": 1001}, "more than one spike per step"),
        ("regular", {"rate_hz": 1001}, "a step of at most 0.999"),
        ("burst", {"shortest_ms": 0.5}, "use a finer step"),
        ("burst", {"duration_ms": 18}, "a burst can last 18 ms"),  # k intervals of 12 - 10 k/5 ms: 10, 16, 18, 16
        ("population", {"activation_min": 0.4}, "two fields see each value"),
        ("population", {"overlap": 3.0}, "two fields see each value"),
        ("direct_current", {"amplitude": "half"}, "not a quantity"),
    ],
)
def test_bad_settings_are_named(name, changed, message):
    settings, _ = SETTINGS[name]
    with pytest.raises(ValueError, match=message):
        ENCODERS[name](np.full((1, 2), 0.5), **{"dt_ms": 1.0} | settings | changed)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("bernoulli_rate_hz", {"rate_hz": -5}),
        ("poisson_rate_hz", {"rate_hz": np.nan}),
        ("poisson_rate_hz", {"dt_ms": 0, "rate_hz": 5}),
        ("regular_rate_hz", {"rate_hz": -5, "duration_ms": 10}),
        ("regular_rate_hz", {"duration_ms": 0, "rate_hz": 5}),
        ("phase_rate_hz", {"phase_ms": 0}),
        ("phase_rate_hz", {"phases": 4.5}),
        ("time_to_first_spike_ms", {"tmax_ms": -1}),
        ("log_temporal_ms", {"tmax_ms": np.nan}),
        ("rank_order_ms", {"tmax_ms": 0}),
        ("rank_order_ms", {"interval_ms": -1}),
        ("temporal_switch_ms", {"tmax_ms": -1}),
        ("burst_interval_ms", {"shortest_ms": -1}),
        ("burst_interval_ms", {"shortest_ms": 30}),
        ("burst_count", {"spikes_max": -3}),
        ("burst_count", {"spikes_max": 4.5}),
        ("population_ms", {"fields": 4.5}),
        ("population", {"fields": 4.5}),
        ("direct_current_rate_hz", {"drive_mv": np.nan, "tau_mem_ms": 10, "v_threshold_mv": 15}),
        ("bsa_rate_hz", {"dt_ms": 0, "fir": [1.0]}),
    ],
)
def test_closed_forms_refuse_what_their_encoders_refuse(name, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} = .* must"):
        getattr(encoders, name)([[0.5, 1.0]], **wrong)


def test_a_filter_that_adds_up_to_nothing_has_no_rate():
    for fir, message in (([1.0, -1.0], "adds up to 0"), ([np.nan], "finite numbers"), ([[1.0]], r"fir has shape \(1, 1\)")):
        with pytest.raises(ValueError, match=message):
            encoders.bsa_rate_hz(0.5, fir=fir, dt_ms=1.0)


# -- encoder -> decoder ---------------------------------------------------------------------------------


def lowest(name):
    """The intensity up to which an input is silent."""
    return {"time_to_first_spike": 0.2 / -np.expm1(-5), "log_temporal": 2.0**-10}.get(name, 0.0)


@given(intensities)
@settings(max_examples=50)
@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("regular", 0.5 / 50),  # a count of 50 says x = 1, and counts are rounded
        ("time_to_first_spike", 1e-9),
        ("log_temporal", 1e-9),
        ("temporal_switch", 1e-9),
        ("phase", 2.0**-6),
        ("population", 1e-6),
    ],
)
def test_a_value_comes_back(name, bound, x):
    found = value(name, encode(name, x))
    heard = x > lowest(name) * (1 + 1e-9)
    assert np.abs(found - x)[heard].max(initial=0) <= bound + 1e-12
    assert (found[x < lowest(name) * (1 - 1e-9)] == 0).all()


@given(intensities)
@settings(max_examples=50)
def test_a_burst_brings_a_value_back_where_it_has_an_interval(x):
    spikes = encode("burst", x)
    found, several = value("burst", spikes), spikes.counts() > 1
    assert found[several] == pytest.approx(x[several], abs=1e-9)
    assert (several == (x > 0.2 * (1 + 1e-8))).all()
    assert np.abs(found - x)[~several].max(initial=0) <= 0.1 + 1e-9


@given(intensities)
@settings(max_examples=50)
def test_rank_order_brings_the_order_back(x):
    found = value("rank_order", encode("rank_order", x))
    for a, b in ((x, found), (found, x)):
        assert (np.sign(a[:, :, None] - a[:, None]) == np.sign(b[:, :, None] - b[:, None])).all()


@given(intensities, st.sampled_from(DRAWN))
@settings(max_examples=50)
def test_drawn_rates_bring_the_value_back_within_chance(x, name):
    found = value(name, encode(name, x))
    # x rate D = 200 x spikes; 8 standard deviations, for few spikes stray further than a normal law says. Reading Poisson counts divides by 1 - p >= .6
    spread = 8 * np.sqrt(np.maximum(x, 0.01) / 200) / (0.6 if name == "poisson" else 1)
    assert (np.abs(found - x) <= spread + 1 / 200).all()


@given(intensities, st.sampled_from([0.25, 0.5, 1.0]))
@settings(max_examples=50)
@pytest.mark.parametrize("name", ["time_to_first_spike", "log_temporal", "temporal_switch", "population"])
def test_labels_alone_bring_it_back_to_the_precision_of_the_grid(name, x, dt_ms):
    exact = encode(name, x, dt_ms)
    found = value(name, Spikes(exact.step, exact.batch, exact.neuron, exact.shape, dt_ms))
    heard = x > lowest(name) * (1 + 1e-9)
    bound = {
        # a label is early by at most dt: |dx/dT| there is x (x - threshold)/(threshold tau), taken at the value found, the larger one
        "time_to_first_spike": found * (found - 0.2) / (0.2 * 20) * dt_ms,
        "log_temporal": found * (1 - np.exp2(-dt_ms / 5)),
        "temporal_switch": dt_ms / 50,
        # both logarithms are off by at most dt/(tmax a), the second activation a being at least exp(-1.5²/2) = .325;
        # width²/spacing is 1/(1.5² · 6)
        "population": dt_ms / (20 * 0.325) / (1.5**2 * 6),
    }[name]
    assert (np.abs(found - x) <= bound + 1e-9)[heard].all()
