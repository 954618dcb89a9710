"""The trainer: it learns, resumes bit for bit, survives a kill, clips, stops early, draws itself."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from spiketwin.experiments.training import CheckpointError, Constant, Schedule, activity, batches, best_epoch, draw_history, fit
from spiketwin.experiments.training.checkpoints import is_checkpoint

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


def trained(checkpoint=None, stop_after=None, schedule=SCHEDULE, seed=5, samples=30, **options):
    module, loss, validate = problem(stop_after)
    history = fit(module, loss, validate, samples=samples, schedule=schedule, seed=seed, checkpoint=checkpoint, **options)
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
    [
        ({"seed": 6}, "seed was 5, is 6"),
        ({"schedule": replace(SCHEDULE, learning_rate=0.1)}, "learning_rate was 0.05, is 0.1"),
        ({"schedule": replace(SCHEDULE, epochs=9)}, "epochs was 4, is 9"),
        ({"samples": 29}, "samples was 30, is 29"),
        ({"optimiser": torch.optim.SGD}, r"optimiser was Adam\(betas=\(0.9, 0.999\), eps=1e-08\), is SGD\(\)"),
        ({"settings": {"price": 0.2, "widths": (3, 4)}}, r"\(price was 0.1, is 0.2\); give those, or remove it"),
        ({"settings": {"price": 0.1, "widths": (3, 5)}}, r"\(widths was \[3, 4\], is \[3, 5\]\)"),
        ({"settings": {"widths": (3, 4), "slope": 2}}, r"\(slope was not given, is 2; price was 0.1, is not given\)"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, change, message):
    same = {"settings": {"price": 0.1, "widths": (3, 4)}}
    trained(tmp_path / "run", **same)
    with pytest.raises(CheckpointError, match=message):
        trained(tmp_path / "run", **{**same, **change})
    _, history = trained(tmp_path / "run", stop_after=0, **same)  # and with the same it is finished
    assert len(history) == 4


def test_a_checkpoint_without_settings_is_of_an_older_version_and_refused(tmp_path):
    trained(tmp_path / "run")
    with safe_open(tmp_path / "run", framework="pt") as file:
        notes = json.loads(file.metadata()["training"])
    old = {**notes, "schedule": SCHEDULE.settings(), "seed": notes.pop("settings")["seed"]}
    del old["settings"]
    save_file(load_file(tmp_path / "run"), tmp_path / "run", metadata={"training": json.dumps(old)})
    with pytest.raises(CheckpointError, match="run is of an older version, which did not keep its settings; remove it to start anew"):
        trained(tmp_path / "run")


def test_a_checkpoint_is_told_from_weights(tmp_path):
    module, _ = trained(tmp_path / "run")
    save_file(module.state_dict(), tmp_path / "bare")
    save_file(module.state_dict(), tmp_path / "weights", metadata={"config": "{}"})
    assert [is_checkpoint(tmp_path / name) for name in ("run", "bare", "weights")] == [True, False, False]


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


@pytest.mark.parametrize("accuracy", [float("nan"), float("inf")])
def test_a_validation_accuracy_that_is_not_finite_stops_the_run(tmp_path, accuracy):
    module, answers = nn.Linear(1, 1), iter([50.0, accuracy])

    def loss(index, rng):
        return module.weight.sum(), {}

    with pytest.raises(FloatingPointError, match=f"validation accuracy is {accuracy} in epoch 2; give samples .*learning_rate = 0.05"):
        fit(module, loss, lambda: next(answers), samples=8, schedule=SCHEDULE, seed=0, checkpoint=tmp_path / "run")
    assert len(epochs(tmp_path / "run")) == 1


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="samples = 0 must be positive; give training samples"):
        trained(samples=0)


# What a process of its own trains, and this one too: noise in the loss from all random numbers that a checkpoint holds.
KILLED = """
import random, time, torch
from pathlib import Path
from torch import nn
from spiketwin.experiments.training import Schedule, fit

def train(checkpoint, pause_s):
    torch.manual_seed(0)
    x = torch.randn(24, 6)
    module = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 6))
    random.seed(1)

    def loss(index, rng):
        time.sleep(pause_s)
        noise = torch.as_tensor(rng.normal(size=(len(index), 6)), dtype=torch.float32) + random.random()
        return (module(x[index] + noise) - x[index]).square().mean(), {}

    def validate():
        with torch.no_grad():
            return -(module(x) - x).square().mean().item()

    history = fit(module, loss, validate, samples=24, schedule=Schedule(8, 6, 1e-2), seed=3, checkpoint=checkpoint)
    return module, history
"""


def test_a_kill_loses_one_epoch_at_most_and_changes_no_bit(tmp_path):
    """SIGKILL cannot be caught: what is on disk then is all there is."""
    here = {}
    exec(KILLED, here)
    module, history = here["train"](None, 0)
    path = tmp_path / "run.safetensors"
    code = KILLED + "import sys\ntrain(Path(sys.argv[1]), 0.05)"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    deadline = time.monotonic() + 60
    while not (path.exists() and len(epochs(path)) >= 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # an epoch takes 0.2 s: in the middle of the third
    assert process.poll() is None, "it was to be killed while it trains"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= len(epochs(path)) < 8
    resumed, rest = here["train"](path, 0)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), resumed.parameters()))
    assert without_time(rest) == without_time(history)


def epochs(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["training"])["history"]


def test_batches_hold_every_sample_once():
    parts = list(batches(10, 4, np.random.default_rng(0)))
    assert [len(p) for p in parts] == [4, 4, 2]
    assert sorted(np.concatenate(parts)) == list(range(10))


def test_a_gradient_longer_than_the_clip_is_shortened_to_it():
    """Gradient (3, 4) of length 5, clipped to 1: (0.6, 0.8); plain gradient descent with rate 1 subtracts it."""
    for clip, change in ((1.0, [0.6, 0.8]), (10.0, [3.0, 4.0])):
        module = nn.Linear(2, 1, bias=False)
        before = module.weight.detach().clone()
        history = fit(
            module,
            lambda index, rng, m=module: ((m.weight * torch.tensor([[3.0, 4.0]])).sum(), {}),
            lambda: 1.0,
            samples=1,
            schedule=Schedule(1, 1, 1.0, Constant(), clip_norm=clip),
            seed=0,
            optimiser=torch.optim.SGD,
        )
        assert (before - module.weight)[0].tolist() == pytest.approx(change, rel=1e-5)
        assert history[0]["gradient_norm"] == pytest.approx(5.0)


def test_training_stops_when_validation_no_longer_rises(tmp_path):
    """Best in epoch 2, none better in 3 and 4: with a patience of 2 the fifth is not trained."""
    module = nn.Linear(1, 1)
    accuracies = [50.0, 80.0, 80.0, 60.0, 90.0]
    schedule, answers = Schedule(10, 8, 0.05, patience=2), iter(accuracies)

    def go():
        return fit(
            module,
            lambda index, rng: (module.weight.sum(), {}),
            lambda: next(answers),
            samples=8,
            schedule=schedule,
            seed=0,
            checkpoint=tmp_path / "run",
        )

    history = go()
    assert [row["validation_accuracy"] for row in history] == accuracies[:4]
    assert go() == history  # a run that stopped early stays so when it is resumed
    assert not schedule.is_over(accuracies[:3]) and schedule.is_over(accuracies[:4])


def test_momentum_of_another_optimiser_is_kept_too(tmp_path):
    def go(stop_after, checkpoint):
        module, loss, validate = problem(stop_after)
        sgd = partial(torch.optim.SGD, momentum=0.9)
        fit(
            module, loss, validate, samples=30, schedule=replace(SCHEDULE, learning_rate=0.01), seed=5, checkpoint=checkpoint, optimiser=sgd
        )
        return module.weight

    whole = go(None, None)
    with pytest.raises(Stop):
        go(9, tmp_path / "run")
    assert torch.equal(go(None, tmp_path / "run"), whole)


def test_the_picture_of_a_training_shows_its_history(tmp_path):
    trained(tmp_path / "run.safetensors")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    rows = [
        {
            "epoch": k + 1,
            "loss": 1.0 / (k + 1),
            "training_accuracy": 50.0 + k,
            "validation_accuracy": a,
            "spikes_per_neuron": 2.0,
            "silent_share": 0.1,
        }
        for k, a in enumerate([40.0, 70.0, 60.0])
    ]
    axes = draw_history(rows).axes
    assert [a.get_ylabel() for a in axes] == ["loss", "accuracy (%)", "spikes per neuron", "silent neurons (share)"]
    best, training, validation = axes[1].lines
    assert list(best.get_xdata()) == [2, 2]
    assert list(training.get_ydata()) == [50, 51, 52] and list(validation.get_ydata()) == [40, 70, 60]
    assert list(axes[0].lines[1].get_ydata()) == [1.0, 1 / 2, 1 / 3]
    with pytest.raises(ValueError, match="no epoch"):
        draw_history([])


def test_activity_counts_spikes_of_a_trial_and_neurons_that_never_fire():
    # two trials of three neurons: 3 and 1 spikes of the first, 2 and 0 of the second, none of the third
    spikes = torch.zeros(4, 2, 3)
    spikes[:3, 0, 0] = spikes[0, 1, 0] = spikes[:2, 0, 1] = 1
    assert activity(spikes) == {"spikes_per_neuron": 6 / 6, "silent_share": pytest.approx(1 / 3)}
