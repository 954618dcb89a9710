"""A small experiment for the tests of sweeps, whose answer is known."""

import importlib
import sys

from spiketwin.experiments.sweeps import Grid, axes

# An experiment whose validation accuracy is known: best at width 6 and rate .01. The test accuracy is the opposite, so
# that whoever looks at it chooses the worst. It notes each run, and leaves a checkpoint until it has ended.
TOY = '''
"""A study of nothing."""
import os, signal, sys, time
from dataclasses import dataclass
from math import log10
from pathlib import Path
from spiketwin.experiments.protocol import single

QUESTION = "What?"

@dataclass(frozen=True)
class Config:
    width: int = 4
    rate: float = 0.01
    notes: str = ""
    pause_ms: float = 0.0

def run(config, seed, *, folder=None):
    print("a line of the log", file=sys.stderr)
    mark = folder / f"checkpoint_{seed}"
    goes_on = mark.exists()
    mark.write_text("half-way")
    if config.notes:
        with Path(config.notes).open("a") as notes:
            print(f"{config.width} {config.rate}", file=notes, flush=True)
    time.sleep(config.pause_ms * 1e-3)
    if config.width == 13:
        raise FloatingPointError("the loss is nan")
    if config.width == 99 and not goes_on:
        os.kill(os.getpid(), signal.SIGKILL)
    value = 90 - (config.width - 6) ** 2 - 10 * abs(log10(config.rate) + 2) + seed
    metrics = {"validation_accuracy": value, "test_accuracy": 100 - value, "goes_on": goes_on}
    return single(sys.modules[__name__], config, seed, metrics)

def smoke():
    return None
'''
GRID = {"width": (4, 6, 8), "rate": (0.001, 0.01)}


def toy_study(folder, monkeypatch):
    """The experiment as a module that worker processes can import too."""
    (folder / "toy_study.py").write_text(TOY)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "toy_study", raising=False)
    return importlib.import_module("toy_study")


def grid(toy, varied=GRID):
    return Grid(axes(toy.Config(), varied))


def seen(trials, but="goes_on"):
    return sorted(((*t.settings.values(),), {n: m["values"] for n, m in t.metrics.items() if n != but}) for t in trials)
