"""Liquid state machines as scikit-learn wants them: senses by hand, streams that resume, estimators, searches."""

import gc
import json
import pickle
import tracemalloc
from functools import partial

import distributed
import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from spiketwin.experiments.data.events import EventSamples, HeldEvents
from spiketwin.experiments.reservoirs import Delta, EventInput, LiquidRegressor, LiquidStateMachine, LiquidStates, OnOff, Spectrogram
from spiketwin.models.reservoirs import LiquidError, liquid
from spiketwin.rules.readouts import FilteredSpikes, Membranes, SpikeCounts

SMALL = dict(size=40, duration_ms=80.0, threads=1)


def words(count: int, seed: int, channels: int = 12) -> EventSamples:
    """Two kinds of words: channels that fire one after the other upwards, or downwards, with jitter and noise."""
    rng = np.random.default_rng(seed)
    labels, times, units = rng.integers(0, 2, count), [], []
    for label in labels:
        unit = np.repeat(np.arange(channels), 5)
        place = unit if label else channels - 1 - unit
        time = np.clip(5 + place * 5 + rng.normal(0, 2, unit.size), 0, 79)
        order = np.argsort(time)
        times.append(time[order])
        units.append(unit[order])
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in times])])
    return EventSamples(HeldEvents(np.concatenate(times), np.concatenate(units), offsets), np.arange(count), labels, channels)


TRAIN, TEST = words(80, 1), words(40, 2)


# -- senses ----------------------------------------------------------------------------------------


def test_numbers_fire_at_their_distance_from_the_mean():
    X = np.array([[0.0, 10.0], [2.0, 10.0], [4.0, 40.0]])
    sense = OnOff(rate_hz=50).fit(X)
    spikes, ends = sense.spikes(X, dt_ms=1.0, duration_ms=1000.0)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], axis=1) * 50
    assert sense.inputs_ == 4 and ends.tolist() == [1000] * 3
    assert np.abs(spikes.counts() - expected).max() <= 1  # regular trains: the count is the rate's, rounded up or down
    far, _ = sense.spikes(np.array([[1e9, 10.0]]), dt_ms=1.0, duration_ms=1000.0)
    assert far.counts()[0].tolist() == pytest.approx([150, 0, 0, 50 * 0.70710678], abs=1)


def test_series_hold_each_step_for_its_share():
    X = np.zeros((2, 4, 1))
    X[0, 2] = X[1, 1] = 1.0
    spikes, _ = OnOff(rate_hz=100).fit(X).spikes(X, dt_ms=1.0, duration_ms=400.0)
    up = spikes.step[(spikes.neuron == 0) & (spikes.batch == 0)]
    assert up.size > 10 and up.min() >= 200 and up.max() < 300


def test_a_sample_sounds_the_same_among_others():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, 3))
    sense = OnOff().fit(X)
    whole, _ = sense.spikes(X, dt_ms=0.5, duration_ms=60.0)
    alone, _ = sense.spikes(X[[4]], dt_ms=0.5, duration_ms=60.0)
    np.testing.assert_array_equal(whole.dense()[:, 4], alone.dense()[:, 0])


def test_words_end_with_their_last_event():
    held = HeldEvents(np.array([3.0, 7.0, 20.0, 65.0]), np.array([0, 1, 1, 0]), np.array([0, 2, 4]))
    samples = EventSamples(held, np.arange(2), np.array([0, 1]), 2)
    spikes, ends = EventInput(tail_ms=10).fit(samples).spikes(samples, dt_ms=1.0, duration_ms=70.0)
    assert spikes.shape == (70, 2, 2) and ends.tolist() == [18, 70]
    with pytest.raises(ValueError, match="sample 1 holds no event within duration_ms = 10"):
        EventInput().fit(samples).spikes(samples, dt_ms=1.0, duration_ms=10.0)
    with pytest.raises(ValueError, match="takes EventSamples"):
        EventInput().fit(np.zeros((2, 2)))


# -- states ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [FilteredSpikes(20, 2), SpikeCounts(3), Membranes(reads=2)], ids=["filtered", "counts", "membranes"])
def test_states_do_not_depend_on_the_company(features):
    states = LiquidStates(**SMALL, features=features).fit(TRAIN)
    whole = states.transform(TEST)
    assert whole.shape == (40, features.width(40)) and (whole.std(axis=0) > 0).sum() > 20
    one_by_one = clone(states).set_params(at_once=7).fit(TRAIN).transform(TEST)
    np.testing.assert_array_equal(one_by_one, whole)
    np.testing.assert_array_equal(states.transform(TEST[[5, 3]]), whole[[5, 3]])


def test_a_stopped_stream_goes_on_where_it_was(tmp_path):
    states = LiquidStates(**SMALL, at_once=10).fit(TRAIN)
    path, seen = tmp_path / "states.npy", []

    def stop(done: int) -> None:
        seen.append(done)
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        states.transform(TEST, path=path, progress=stop)
    assert json.loads(path.with_suffix(".json").read_text())["done"] == 20
    rows = states.transform(TEST, path=path, progress=seen.append)
    assert seen == [10, 20, 30, 40]
    np.testing.assert_array_equal(rows, states.transform(TEST))
    np.testing.assert_array_equal(states.transform(TEST, path=str(path)), rows)  # nothing is left to do
    with pytest.raises(ValueError, match="holds the states of another liquid or other samples"):
        LiquidStates(**SMALL, random_state=1).fit(TRAIN).transform(TEST, path=path)
    slower = LiquidStates(partial(liquid, parameters={"tau_mem": 21.0}), **SMALL, at_once=10)
    for other, X in ((states, TEST[:30]), (states, words(40, 3)), (slower.fit(TRAIN), TEST)):
        with pytest.raises(ValueError, match="holds the states of another liquid or other samples"):
            other.transform(X, path=path)


@pytest.mark.parametrize("shape", [None, (4, 12)], ids=["events", "series"])
def test_memory_does_not_grow_with_the_number_of_samples(shape, tmp_path):
    def peak(count: int) -> int:
        """Bytes at most, beside the samples themselves."""
        X = words(count, 1) if shape is None else np.random.default_rng(0).standard_normal((count, *shape))
        states = LiquidStates(size=100, duration_ms=80.0, threads=1, at_once=20, features=FilteredSpikes(reads=8)).fit(X)
        states.transform(X[:20])  # what is compiled or kept for the next run
        gc.freeze()  # the collector need not look at all that was there before
        tracemalloc.start()
        # what runs leave to the garbage collector is not kept: it comes now, not when it likes to
        rows = states.transform(X, path=tmp_path / f"{count}.npy", progress=lambda done: gc.collect())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        gc.unfreeze()
        assert rows.shape == (count, 800) and isinstance(rows, np.memmap)
        return most

    assert peak(400) < 1.1 * peak(40) < 400 * 800 * 8  # the rows of 400 samples are 2.6 MB


def test_a_stream_knows_a_sense_made_of_senses(tmp_path):
    sounds = np.sin(np.outer([300.0, 900.0, 1500.0], 2 * np.pi * np.arange(2400) / 8000))
    path = tmp_path / "states.npy"

    def states(**of_code) -> LiquidStates:
        sense = Spectrogram(bands=8, code=Delta((0.25,)) if of_code else None).set_params(**of_code)
        return LiquidStates(size=40, input_scale=4, sense=sense, duration_ms=300).fit(sounds)

    for made in ({}, {"code__deltas": (0.25,)}):
        rows = states(**made).transform(sounds, path=path)
        np.testing.assert_array_equal(states(**made).transform(sounds, path=path), rows)  # another object, the same sense
        with pytest.raises(ValueError, match="holds the states of another liquid or other samples"):
            states(code__deltas=(0.5,)).transform(sounds, path=path)
        path.unlink()


def test_dead_liquids_are_named():
    with pytest.raises(LiquidError, match=r"silent.*input_scale"):
        LiquidStateMachine(**SMALL, input_scale=0.0).fit(TRAIN, TRAIN.labels)
    with pytest.raises(LiquidError, match=r"saturated.*connection_scale"):
        LiquidStateMachine(**SMALL, input_scale=200.0, inhibition=0.0, connection_scale=50.0).fit(TRAIN, TRAIN.labels)
    with pytest.raises(ValueError, match=r"dt = 20 ms is too large for euler of 'cuba_lif'.*use a smaller dt"):
        LiquidStateMachine(**SMALL, dt_ms=20.0, scheme="euler").fit(TRAIN, TRAIN.labels)
    with pytest.raises(LiquidError, match=r"silent.*input_scale"):  # a pipeline's read-out would learn from zeros
        make_pipeline(LiquidStates(**SMALL, input_scale=0.0), RidgeClassifier()).fit(TRAIN, TRAIN.labels)


# -- estimators ------------------------------------------------------------------------------------


def test_the_order_of_events_is_heard():
    """Counts of channels say nothing about the direction of a sweep; the echoes of a liquid do."""
    lsm = LiquidStateMachine(**SMALL).fit(TRAIN, TRAIN.labels)
    assert lsm.score(TEST, TEST.labels) > 0.9
    counts = [np.bincount(w.events(0)[1], minlength=12) for w in (TRAIN[[k]] for k in range(80))]
    assert RidgeClassifier().fit(counts, TRAIN.labels).score(counts, TRAIN.labels) < 0.75
    np.testing.assert_array_equal(clone(lsm).fit(TRAIN, TRAIN.labels).predict(TEST), lsm.predict(TEST))
    assert lsm.decision_function(TEST).shape == (40,) and not hasattr(lsm, "predict_proba")


def test_a_machine_offers_what_its_readout_does():
    neighbours = LiquidStateMachine(**SMALL, readout=KNeighborsClassifier(3)).fit(TRAIN, TRAIN.labels)
    chances = neighbours.predict_proba(TEST)
    assert chances.shape == (40, 2) and not hasattr(neighbours, "decision_function")
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_array_equal(neighbours.classes_[chances.argmax(axis=1)], neighbours.predict(TEST))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [LiquidStates(size=30, duration_ms=60, threads=1), LiquidStateMachine(**SMALL), LiquidRegressor(**SMALL)],
    ids=lambda e: type(e).__name__,
)
def test_they_are_estimators_of_scikit_learn(estimator):
    check_estimator(estimator)


def test_they_work_in_pipelines_and_searches():
    X = np.random.default_rng(0).standard_normal((60, 3))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    grid = {"input_scale": [1.0, 2.0], "features__tau_ms": [10.0, 30.0], "readout__alpha": [1.0]}
    lsm = LiquidStateMachine(partial(liquid, background=0.8), **SMALL, features=FilteredSpikes(), readout=RidgeClassifier())
    with joblib.parallel_config("threading", n_jobs=2):
        search = GridSearchCV(lsm, grid, cv=2).fit(X, y)
    again = pickle.loads(pickle.dumps(search.best_estimator_))  # as processes and dask workers get it
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert set(search.best_params_) == set(grid) and len(np.unique(search.cv_results_["mean_test_score"])) > 1
    pipeline = make_pipeline(LiquidStates(**SMALL), LogisticRegression(max_iter=500))
    assert cross_val_score(pipeline, X, y, cv=2).shape == (2,)
    assert cross_val_score(LiquidStateMachine(**SMALL), TRAIN, TRAIN.labels, cv=2).min() > 0.8  # events, too


def test_a_search_on_a_dask_cluster_finds_what_one_here_finds():
    X = np.random.default_rng(1).standard_normal((40, 3))
    y = (X[:, 0] > 0).astype(int)
    grid = {"input_scale": [1.0, 2.0]}
    here = GridSearchCV(LiquidStateMachine(**SMALL), grid, cv=2).fit(X, y)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        there = GridSearchCV(LiquidStateMachine(**SMALL), grid, cv=2).fit(X, y)
    assert there.best_params_ == here.best_params_
    np.testing.assert_array_equal(there.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(there.predict(X), here.predict(X))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: LiquidStateMachine(**SMALL).fit(TRAIN, TRAIN.labels[:-1]), "80 samples, but 79 labels"),
        (lambda: LiquidStateMachine(**SMALL).fit(TRAIN, np.zeros(80)), "all samples are of one class"),
        (lambda: LiquidStates(**SMALL).fit(TRAIN).transform(words(3, 0, channels=5)), "X has 5 channels"),
        (lambda: LiquidStates(**SMALL, sense=OnOff(rate_hz=-1)).fit(np.eye(3)), "rate_hz = -1"),
        (lambda: LiquidStates(**SMALL, sense=EventInput(tail_ms=-1)).fit(TRAIN), "tail_ms = -1"),
        (lambda: LiquidStates(**SMALL).fit(np.zeros((2, 3, 4, 5))), r"give \[samples, features\]"),
        (lambda: LiquidStates(**SMALL).fit(np.full((3, 2), np.nan)), "NaN"),
        (lambda: LiquidStates(**SMALL, features=SpikeCounts(2.5)).fit(np.eye(3)).transform(np.eye(3)), "bins = 2.5 must be a whole number"),
        (lambda: LiquidStates("maass", **SMALL).fit(np.eye(3)), "liquid = 'maass' is no function"),
        (lambda: LiquidStates(**SMALL | {"size": 0}).fit(np.eye(3)), "size = 0"),
        (lambda: LiquidStates(**SMALL, random_state=None).fit(np.eye(3)), "seed = None"),
        (lambda: LiquidStates(**SMALL, at_once=0).fit(np.eye(3)).transform(np.eye(3)), "at_once = 0"),
        (lambda: LiquidStates(**SMALL | {"duration_ms": 80.5}).fit(TRAIN).transform(TEST), "duration_ms = 80.5 is not a whole number"),
    ],
)
def test_a_mistake_is_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()
