"""Every benchmark file, as far as it goes without peers and without taking time."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

import scaling

FOLDER = Path(scaling.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if "\ndef benchmark(quick" in path.read_text())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quick", [True, False])
def test_a_benchmark_says_who_takes_part(name, quick):
    made = importlib.import_module(name).benchmark(quick)
    assert made.name == name and made.question.endswith("?") and made.systems
    names = [system.name for system in made.systems]
    assert len(set(names)) == len(names)
    # the ratios are those to the first that is ours
    assert not made.systems[0].is_peer and made.systems[0].is_timed
    assert all(1 <= min(system.threads) and system.units >= 1 for system in made.systems)
    assert json.dumps(dict(made.notes))


def test_the_training_workloads_are_there():
    assert {"train_feedforward", "train_recurrent", "train_convolutional", "scaling"} <= set(NAMES)


def test_the_curves_come_from_the_rows_of_their_points():
    made = scaling.benchmark(True)
    rows = [{"system": s.name, "median_ms": float(k), "peak_mb": 300.0 + k, "idle_mb": 200.0} for k, s in enumerate(made.systems)]
    curves = made.curves(rows)
    place = [s.name for s in made.systems].index("density 0.005, tensor")
    assert curves["density: time"]["x"] == [0.005, 0.05]
    assert curves["density: time"]["series"]["tensor"][0] == place
    assert curves["density: memory"]["series"]["tensor"][0] == 100 + place
    assert not any(name.startswith("density") for name in made.curves([r for r in rows if r["system"] != "density 0.005, tensor"]))


def test_random_events_have_their_density():
    events = scaling.random_events(100, 20, 50, density=0.02, seed=0)
    # 2,000 draws from 100,000 places, of which about 20 fall on one that is taken
    assert events.shape == (100, 20, 50) and 1950 < len(events) <= 2000
    assert events.dense().sum() == len(events)


def test_generated_speech_has_its_density_and_its_classes():
    recurrent = importlib.import_module("train_recurrent")
    trials, labels = recurrent.events(40)
    batch = recurrent.assemble(trials)
    assert len(batch) / np.prod(batch.shape) == pytest.approx(recurrent.DENSITY, rel=0.1)
    for number, trial in enumerate(trials[:3]):
        step, channel = np.divmod(trial, recurrent.CHANNELS)
        one = batch.trial(number)
        assert np.array_equal(one.step, step) and np.array_equal(one.neuron, channel)
    assert set(labels) <= set(range(recurrent.CLASSES))
