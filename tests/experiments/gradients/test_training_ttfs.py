"""The network that the time-to-first-spike classifiers train is the one they say; it learns, and comes back from disk."""

from dataclasses import replace

import numpy as np
import pytest

from spiketwin.experiments.data import load
from spiketwin.experiments.protocol import ResultError, training_settings
from spiketwin.experiments.studies.gradients import digits_ttfs, fashion_ttfs, ttfs, ttfs_training
from spiketwin.experiments.training import CheckpointError
from spiketwin.models.encoders import time_to_first_spike


def test_a_weight_of_one_has_the_effect_it_has_in_the_recurrent_form():
    """One step of dt adds exactly 1 mV per nA: the gain that the naive mapping assumes."""
    from spiketwin.models.engines import get_engine
    from spiketwin.models.spikes import Spikes

    config = digits_ttfs.Config(hidden=1, recurrent=False, tau_mem_ms=10.0)
    net = ttfs.network(config, 1, 1, seed=0)
    net = replace(net, projections=tuple(replace(p, weights=np.array([[0.1]])) for p in net.projections))
    spikes = Spikes([0], [0], [0], (12, 1, 1), 1.0)
    v = get_engine("torch").run(net, {"input": spikes}, dt_ms=1.0, scheme="exact", record={"hidden": ("v",)}).states["hidden"]["v"][:, 0, 0]
    alpha, beta = np.exp(-1 / 5), np.exp(-1 / 10)
    u, i, expected = 0.0, 0.0, []
    for n in range(12):
        expected.append(u)
        u, i = beta * u + i, alpha * i + (0.1 if n == 0 else 0.0)
    assert max(expected) > 0.25
    assert v * 1e3 == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_batches_of_first_spikes_are_those_of_the_encoder():
    config, data = digits_ttfs.Config(), load("digits")
    spikes = ttfs.FirstSpikes(data.train, config)
    index = np.array([3, 5, 900])
    direct = time_to_first_spike(data.train[index].intensities, tmax_ms=config.tmax_ms)
    assert len(direct) > 20
    batch = spikes.batch(index)
    assert batch.equals(direct)
    assert batch.times_ms() == pytest.approx(direct.times_ms(), rel=1e-15)
    keep = np.random.default_rng(0).random((3, 64)) < 0.5
    assert np.array_equal(spikes.batch(index, keep).dense(), direct.dense() * keep)


def test_mirrored_images_spike_as_their_mirror_images():
    config, data = digits_ttfs.Config(flip_probability=0.5), load("digits")
    before = data.train.images.copy()
    spikes = ttfs.FirstSpikes(data.train, config, data.shape)
    plain, some = spikes.batch(slice(0, 3)).dense(), spikes.batch(slice(0, 3), mirrored=np.array([True, False, True])).dense()
    assert np.array_equal(data.train.images, before)
    rows = plain.reshape(*plain.shape[:2], 8, 8)
    assert not np.array_equal(rows, rows[..., ::-1])
    for k, expected in enumerate((rows[:, 0, :, ::-1], rows[:, 1], rows[:, 2, :, ::-1])):
        assert np.array_equal(some[:, k].reshape(expected.shape), expected)
    for name in ("flip_probability", "input_dropout"):
        with pytest.raises(ValueError, match=f"{name} = 1.5 is a share; give 0 … 1"):
            digits_ttfs.Config(**{name: 1.5})


@pytest.fixture(scope="module")
def small():
    """Twelve epochs of a small network."""
    config = digits_ttfs.Config(hidden=32, epochs=12, tmax_ms=40.0)
    data = load("digits")
    data = replace(data, train=data.train[:600], validation=data.validation[:100], test=data.test[:100])
    return config, data, ttfs_training.train("digits_ttfs", config, data, seed=0, quiet=True)


def test_the_digits_are_learned(small):
    config, data, trained = small
    # chance is 10 %; half the training data, half the neurons
    assert trained.accuracy > 75
    assert trained.history[-1]["spikes_per_neuron"] > 0.2
    assert trained.predictions.shape == (100,) and trained.inputs["input"].shape == (40, 100, 64)


def test_the_exported_network_gives_the_predictions_in_the_engine(small):
    from spiketwin.models.engines import get_engine

    config, _, trained = small
    recording = get_engine("torch").run(
        trained.network, trained.inputs, dt_ms=config.dt_ms, scheme=config.scheme, record={"output": ("v",)}
    )
    assert np.array_equal(ttfs.decide(recording.states["output"]["v"]), trained.predictions)
    assert trained.network.population("hidden").parameters["tau_mem"] == config.tau_mem_ms  # not rounded to single precision


def test_weights_come_back_from_disk_with_their_settings(small, tmp_path):
    config, data, trained = small
    path = ttfs.save_weights(ttfs.weights(tmp_path, 0), trained)
    loaded = ttfs_training.load_weights(path, digits_ttfs.Config, data)
    assert loaded.config == config and loaded.history == trained.history
    assert np.array_equal(loaded.predictions, trained.predictions)
    path.write_bytes(b"nothing")
    with pytest.raises(ResultError, match="does not hold"):
        ttfs_training.load_weights(path, digits_ttfs.Config, data)


def test_a_study_does_not_go_on_from_a_network_of_other_settings(tmp_path):
    config = digits_ttfs.Config(hidden=8, epochs=1)
    first = digits_ttfs.run(config, 0, folder=tmp_path)
    for change, message in (
        (
            {"regulariser": 0.1},
            r"checkpoint_0.safetensors is from other settings \(regulariser was 1e-06, is 0.1\); give those, or remove it",
        ),
        ({"epochs": 2, "tau_mem_ms": 10.0}, "tau_mem_ms was 20.0, is 10.0; epochs was 1, is 2"),
        ({"hidden": 9}, "hidden was 8, is 9"),
    ):
        with pytest.raises(CheckpointError, match=message):
            digits_ttfs.run(replace(config, **change), 0, folder=tmp_path)
    # the same network is read from it, not trained again
    assert digits_ttfs.run(config, 0, folder=tmp_path).curves == first.curves
    with pytest.raises(ValueError, match="epochs = 0 must be positive"):
        digits_ttfs.run(replace(config, epochs=0), 0)


def test_what_only_tests_a_network_may_change_beside_its_checkpoint():
    config = fashion_ttfs.Config()
    for change, same in (({"replayed": 0, "larger": 0}, True), ({"hidden": 50}, False)):
        assert (training_settings(replace(config, **change)) == training_settings(config)) == same
