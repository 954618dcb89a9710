"""The trainer: it learns, resumes bit for bit, survives a kill; the network it trains is the one it says."""

import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from spiketwin.experiments import digits_ttfs, training, ttfs, ttfs_training
from spiketwin.experiments.data import load
from spiketwin.experiments.protocol import ResultError
from spiketwin.experiments.training import CheckpointError, Schedule, batches, best_epoch, fit
from spiketwin.models.encoders import time_to_first_spike

SCHEDULE = Schedule(epochs=4, batch_size=8, learning_rate=0.05)


class Stop(Exception):
    pass


def problem(stop_after=None):
    """Linear regression with dropped inputs; `stop_after` batches it raises Stop."""
    torch.manual_seed(0)
    x = torch.randn(30, 5)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    module = nn.Linear(5, 1)
    calls = []

    def loss(index, rng):
        if len(calls) == stop_after:
            raise Stop
        calls.append(index)
        keep = torch.as_tensor(rng.random((len(index), 5)) > 0.1)
        error = (module(x[index] * keep).squeeze(1) - y[index]).square().mean() + 0 * torch.rand(()).sum()
        return error, {"batch": float(len(index))}

    return module, loss, lambda: -(module(x).squeeze(1) - y).square().mean().item()


def trained(checkpoint=None, stop_after=None, schedule=SCHEDULE, seed=5):
    module, loss, validate = problem(stop_after)
    history = fit(module, loss, validate, samples=30, schedule=schedule, seed=seed, checkpoint=checkpoint)
    return module, history


def without_time(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def test_the_loss_falls():
    _, history = trained(schedule=replace(SCHEDULE, epochs=40))
    assert history[-1]["loss"] < 0.3 * history[0]["loss"]
    assert history[0]["batch"] == pytest.approx((3 * 8 * 8 + 6 * 6) / 30)  # means are over samples


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path):
    module, history = trained()
    checkpoint = tmp_path / "run.safetensors"
    with pytest.raises(Stop):
        trained(checkpoint, stop_after=9)  # in the middle of the third epoch of 4 batches
    resumed, rest = trained(checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), resumed.parameters()))
    assert without_time(rest) == without_time(history)
    # a run that was finished is not trained again
    _, loss, validate = problem(stop_after=0)
    assert without_time(fit(module, loss, validate, samples=30, schedule=SCHEDULE, seed=5, checkpoint=checkpoint)) == without_time(history)


def test_the_best_epoch_on_validation_is_kept():
    module = nn.Linear(1, 1)
    accuracies = iter([50.0, 80.0, 80.0, 60.0])
    seen = []

    def validate():
        seen.append(module.weight.detach().clone())
        return next(accuracies)

    history = fit(module, lambda index, rng: (module.weight.sum(), {}), validate, samples=8, schedule=SCHEDULE, seed=0)
    assert best_epoch(history)["epoch"] == 2
    assert torch.equal(module.weight, seen[1]) and not torch.equal(seen[1], seen[3])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 6}, "seed was 5, is 6"), ({"schedule": replace(SCHEDULE, learning_rate=0.1)}, "learning_rate was 0.05, is 0.1")],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, change, message):
    trained(tmp_path / "run")
    with pytest.raises(CheckpointError, match=message):
        trained(tmp_path / "run", **change)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    trained(tmp_path / "run")
    whole = (tmp_path / "run").read_bytes()
    (tmp_path / "run").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        trained(tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_the_run():
    module = nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match="learning_rate"):
        fit(module, lambda index, rng: (module.weight.sum() / 0, {}), lambda: 0.0, samples=8, schedule=SCHEDULE, seed=0)


def test_a_kill_in_the_middle_leaves_a_valid_checkpoint(tmp_path):
    """SIGKILL cannot be caught: what is on disk then is all there is."""
    code = """
        import sys, torch
        from pathlib import Path
        from torch import nn
        from spiketwin.experiments.training import Schedule, fit
        module = nn.Linear(400, 400)
        fit(module, lambda i, rng: (module.weight.square().sum(), {}), lambda: 0.0, samples=4,
            schedule=Schedule(100_000, 4, 1e-3), seed=0, checkpoint=Path(sys.argv[1]))
    """
    path = tmp_path / "run.safetensors"
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path)])
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    module = nn.Linear(400, 400)
    optimiser = torch.optim.Adam(module.parameters())
    history, _ = training.resume(path, module, optimiser, np.random.default_rng(0), Schedule(100_000, 4, 1e-3), 0)
    assert len(history) >= 1


def test_batches_hold_every_sample_once():
    parts = list(batches(10, 4, np.random.default_rng(0)))
    assert [len(p) for p in parts] == [4, 4, 2]
    assert sorted(np.concatenate(parts)) == list(range(10))


def test_the_learning_rate_falls_along_half_a_cosine():
    assert [SCHEDULE.rate(k, 4) for k in (0, 2, 4)] == pytest.approx([0.05, 0.025, 0.0])
    assert replace(SCHEDULE, decay=False).rate(3, 4) == 0.05


# -- the network ---------------------------------------------------------------------------------------------


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
