"""Two processes that torchrun starts train as one does: equal gradients, one writer, resumable."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

# 10 samples in batches of 5 and 2 processes: shares of 3 and 2. Gradient descent with rate 1 shows the gradients.
TRAINED = """
import os, sys, torch
from itertools import count
from pathlib import Path
from safetensors.torch import save_file
from torch import nn
from spiketwin.experiments.progress import Silent, is_first
from spiketwin.experiments.training import Constant, Schedule, fit

def tell(*words):  # in one write: the processes share a pipe, where what print writes in parts would mix
    os.write(1, (" ".join(map(str, words)) + chr(10)).encode())

class Loud(Silent):
    def say(self, line):
        tell("SAID", os.environ.get("RANK"), line.split(" · ")[0])

def problem(noise=0.0):
    torch.manual_seed(0)
    x, y = torch.randn(10, 4), torch.randn(10, 2)
    return x, y, nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(noise), nn.Linear(8, 2))

def train(epochs, clip, checkpoint=None, noise=0.0, stop_after=None):
    (x, y, module), calls = problem(noise), count()
    if not is_first():  # every process starts from the weights of the first
        nn.init.zeros_(module[0].weight)

    def loss(index, rng):
        if next(calls) == stop_after:
            raise InterruptedError
        if "RANK" in os.environ:
            rng.random(len(index))  # processes draw different amounts; the order of the data must not notice
        return (module(x[index]) - y[index]).square().mean(), {"samples": float(len(index))}

    history = fit(module, loss, count(epochs).__next__, samples=10, seed=1, checkpoint=checkpoint, show=Loud(),
                  schedule=Schedule(epochs, 5, 1.0, Constant(), clip_norm=clip), optimiser=torch.optim.SGD)
    return module, history

def main(folder):
    one, history = train(1, None)
    three, _ = train(3, 0.5, Path(folder) / "run.safetensors")
    noisy, _ = train(3, None, noise=0.5)
    stopped = Path(folder) / "stopped.safetensors"
    try:
        train(3, None, stopped, noise=0.5, stop_after=3)  # in the second epoch of two batches
    except InterruptedError:
        again, _ = train(3, None, stopped, noise=0.5)
        tell("RESUMED", all(map(torch.equal, noisy.parameters(), again.parameters())))
    if is_first():
        tell("LOSS", history[0]["loss"])
    rank = os.environ["RANK"]
    save_file({f"one.{n}": v for n, v in one.state_dict().items()} | {f"three.{n}": v for n, v in three.state_dict().items()},
              f"{folder}/weights_{rank}")
    tell("FILES", rank, sorted(p.name for p in Path(folder).glob("run*")) if is_first() else "")
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes of one thread each gave."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "program.py").write_text(TRAINED + "\nmain(sys.argv[1])\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    run = subprocess.run(
        [*torchrun, str(folder / "program.py"), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return folder, run.stdout


@pytest.fixture(scope="module")
def here():
    names = {}
    exec(TRAINED, names)
    return names


@pytest.fixture(scope="module")
def alone(here):
    return here["train"]


def test_gradients_of_two_processes_are_those_of_one(two, alone, here):
    folder, _ = two
    *_, start = here["problem"]()
    for name, (epochs, clip) in {"one": (1, None), "three": (3, 0.5)}.items():
        module, _ = alone(epochs, clip)
        for rank in "01":
            trained = load_file(folder / f"weights_{rank}")
            for key, value in module.state_dict().items():
                assert torch.allclose(trained[f"{name}.{key}"], value, rtol=0, atol=1e-6)
                assert not torch.allclose(start.state_dict()[key], value, rtol=0, atol=1e-3)


def test_both_processes_end_with_the_same_weights(two):
    first, second = (load_file(two[0] / f"weights_{rank}") for rank in "01")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_first_process_alone_speaks_and_writes(two, alone):
    folder, said = two
    assert "SAID 0 epoch 1" in said and "SAID 1" not in said
    assert (folder / "run.safetensors").is_file() and (folder / "run.png").is_file()
    (loss,) = (float(line.split()[1]) for line in said.splitlines() if line.startswith("LOSS"))
    assert loss == pytest.approx(alone(1, None)[1][0]["loss"], abs=1e-6)  # the mean over both processes' shares


def test_what_two_processes_resume_equals_what_was_not_stopped(two):
    assert two[1].count("RESUMED True") == 2  # bit for bit, in both, with dropout of torch's random numbers
    assert "SAID 0 resumed after epoch 1" in two[1]


def test_one_process_goes_on_where_two_stopped(two, alone):
    """Their checkpoint is that of one process: here it is finished, and its weights are the best."""
    module, history = alone(3, 0.5, two[0] / "run.safetensors")
    assert len(history) == 3
    trained = load_file(two[0] / "weights_0")
    assert all(torch.equal(trained[f"three.{name}"], value) for name, value in module.state_dict().items())


def test_shares_hold_every_sample_once():
    from spiketwin.experiments.training.processes import Team

    index = np.arange(7)
    shares = [Team(rank, 3).share(index) for rank in range(3)]
    assert [len(s) for s in shares] == [3, 2, 2]
    assert sorted(np.concatenate(shares)) == list(range(7))
