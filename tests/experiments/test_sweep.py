"""Sweeps: what is chosen, what survives a kill, who shares the work, what is drawn."""

import importlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from spiketwin.experiments import cli
from spiketwin.experiments.sweeps import (
    Grid,
    Sampler,
    SweepError,
    Trial,
    axes,
    best_table,
    draw_importance,
    draw_parallel,
    draw_parameters,
    importance,
    per_value,
    sweep,
)
from spiketwin.experiments.sweeps.report import best
from spiketwin.experiments.sweeps.storage import Storage

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


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_study.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("toy_study", None)
    yield importlib.import_module("toy_study")
    sys.modules.pop("toy_study", None)


def grid(toy, varied=GRID):
    return Grid(axes(toy.Config(), varied))


def seen(trials, but="goes_on"):
    return sorted(((*t.settings.values(),), {n: m["values"] for n, m in t.metrics.items() if n != but}) for t in trials)


def test_every_point_is_run_and_validation_alone_decides(toy, tmp_path):
    trials = sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "out", seeds=(0, 2), quiet=True)
    assert [tuple(t.settings.values()) for t in trials] == [(w, r) for w in (4, 6, 8) for r in (0.001, 0.01)]
    # at width 6 and rate .01: 90 and 92 with the two seeds
    assert best(trials).settings == {"width": 6, "rate": 0.01} and best(trials).value == 91
    assert best(trials).metrics["test_accuracy"]["mean"] == min(t.metrics["test_accuracy"]["mean"] for t in trials)
    written = json.loads((tmp_path / "out" / "toy_study.json").read_text())
    assert written["best"] == {"number": 3, "settings": {"width": 6, "rate": 0.01}}
    assert written["trials"][0]["metrics"]["validation_accuracy"] == {"mean": 77.0, "std": 2**0.5, "values": [76.0, 78.0]}
    assert written["varied"] == {"width": [4, 6, 8], "rate": [0.001, 0.01]} and written["config"]["notes"] == ""
    assert {"command", "versions", "commit", "wall_s"} <= set(written["provenance"])
    assert all(t["run_s"] > 0 for t in written["trials"])
    log = next((tmp_path / "out" / "trials").glob("*/log.txt")).read_text()
    assert log.count("a line of the log") == 2
    assert not list((tmp_path / "out" / "trials").glob("*/checkpoint_*"))


def test_what_was_run_is_not_run_again(toy, tmp_path):
    config = toy.Config(notes=str(tmp_path / "notes"))
    first = sweep(toy, config, grid(toy), folder=tmp_path / "out", quiet=True)
    assert sweep(toy, config, grid(toy), folder=tmp_path / "out", quiet=True) == first
    assert len((tmp_path / "notes").read_text().splitlines()) == 6


def test_a_sampler_finds_the_best_and_more_trials_continue_it(toy, tmp_path):
    varied = axes(toy.Config(), ["width=1..12", "rate=1e-4..1:log"])
    few = sweep(toy, toy.Config(), Sampler(varied, 4), folder=tmp_path / "a", quiet=True)
    more = sweep(toy, toy.Config(), Sampler(varied, 15), folder=tmp_path / "a", quiet=True)
    assert seen(more[:4]) == seen(few) and len(more) == 15
    assert best(more).value > 80  # the mean over the space is about 65
    assert len({t.settings["rate"] for t in more}) == 15
    assert seen(sweep(toy, toy.Config(), Sampler(varied, 15), folder=tmp_path / "b", quiet=True)) == seen(more)


def test_a_trial_that_fails_is_kept_with_its_reason_and_the_others_go_on(toy, tmp_path, capsys):
    trials = sweep(toy, toy.Config(), grid(toy, {"width": (4, 13, 6)}), folder=tmp_path / "out")
    assert [t.error for t in trials] == ["", "FloatingPointError: the loss is nan", ""]
    assert best(trials).settings == {"width": 6}
    assert "trial 1 failed (width 13): FloatingPointError: the loss is nan" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "toy_study.json").read_text())["trials"][1]["error"]
    with pytest.raises(SweepError, match="no trial of 1 ended well: FloatingPointError"):
        best_table(sweep(toy, toy.Config(), grid(toy, {"width": (13,)}), folder=tmp_path / "all", quiet=True))


@pytest.mark.parametrize(("how", "kind"), [(signal.SIGKILL, "sampler"), (signal.SIGINT, "grid")])
def test_a_stopped_sweep_loses_the_trial_that_ran_at_most(toy, tmp_path, how, kind):
    """A process of its own is stopped in the middle of a trial; what this one resumes equals what was never stopped."""
    plan = grid(toy) if kind == "grid" else Sampler(axes(toy.Config(), ["width=1..12", "rate=1e-4..1:log"]), 6)
    whole = sweep(toy, toy.Config(), plan, folder=tmp_path / "whole", quiet=True)
    code = f"""
from pathlib import Path
import toy_study
from spiketwin.experiments.sweeps import *
space = axes(toy_study.Config(), {dict(GRID)!r} if {kind == "grid"} else ["width=1..12", "rate=1e-4..1:log"])
plan = Grid(space) if {kind == "grid"} else Sampler(space, 6)
sweep(toy_study, toy_study.Config(pause_ms=400, notes={str(tmp_path / "notes")!r}), plan, folder=Path({str(tmp_path / "out")!r}))
"""
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)
    deadline, notes = time.monotonic() + 60, tmp_path / "notes"
    while not (notes.exists() and len(notes.read_text().splitlines()) == 3) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(how)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    if how == signal.SIGINT:
        assert "stopped after 2 of 6 trials; run the same again to go on" in said

    config = toy.Config(pause_ms=400, notes=str(notes))
    kept = Storage(f"sqlite:///{tmp_path / 'out' / 'trials.db'}", "toy_study", plan, mark(toy, config, plan))
    assert len(kept.trials()) == 2 and kept.running() == (1 if how == signal.SIGKILL else 0)
    trials = sweep(toy, config, plan, folder=tmp_path / "out", quiet=True)
    assert seen(trials) == seen(whole)
    assert len(notes.read_text().splitlines()) == 6 + 1  # the one that ran was run again, from its checkpoint
    assert [t.metrics["goes_on"]["mean"] for t in trials].count(1.0) == 1


def mark(toy, config, plan):
    """As `sweep` makes it."""
    fixed = {name: value for name, value in vars(config).items() if name not in plan.axes}
    varied = {name: axis.as_json() for name, axis in plan.axes.items()}
    return {"experiment": "toy_study", "config": fixed, "varied": varied, "seeds": [0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"rate": 0.5}}, "config was"),
        ({"seeds": (0, 1)}, r"seeds was \[0\], is \[0, 1\]"),
        ({"varied": {"width": (4, 5)}}, "varied was"),
        ({"experiment": "other_study"}, "experiment was toy_study, is other_study"),
    ],
)
def test_the_storage_of_another_sweep_is_refused(toy, tmp_path, monkeypatch, change, message):
    sweep(toy, toy.Config(), grid(toy, {"width": (4, 6)}), folder=tmp_path / "out", name="mine", quiet=True)
    monkeypatch.setattr(toy, "__name__", change.get("experiment", "toy_study"))
    with pytest.raises(SweepError, match=f"holds another sweep called 'mine'.*{message}"):
        sweep(
            toy,
            toy.Config(**change.get("config", {})),
            grid(toy, change.get("varied", {"width": (4, 6)})),
            folder=tmp_path / "out",
            seeds=change.get("seeds", (0,)),
            name="mine",
            quiet=True,
        )


def test_a_storage_that_cannot_be_opened_is_named(toy, tmp_path):
    (tmp_path / "broken.db").write_bytes(b"not a database" * 100)
    for url, message in ((f"sqlite:///{tmp_path}/broken.db", "damaged"), ("nothing", "check the address")):
        with pytest.raises(SweepError, match=message):
            sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "out", storage=url, quiet=True)
    with pytest.raises(SweepError) as error:
        sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "out", storage="nosuch://me:secret@host/db", quiet=True)
    assert "nosuch://host/db" in str(error.value) and "secret" not in str(error.value)


def test_an_experiment_without_validation_accuracy_is_refused(toy, tmp_path, monkeypatch):
    run = toy.run

    def blind(config, seed, *, folder=None):
        result = run(config, seed, folder=folder)
        return type(result)(**{**vars(result), "metrics": {"test_accuracy": result.metrics["test_accuracy"]}})

    monkeypatch.setattr(toy, "run", blind)
    with pytest.raises(SweepError, match="'toy_study' reports no validation_accuracy"):
        sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "out", quiet=True)


# -- who shares the work -------------------------------------------------------------------------------------------


def test_processes_share_the_trials_and_a_killed_one_loses_only_its_own(toy, tmp_path):
    """Width 99 kills the process that runs it, once."""
    plan = grid(toy, {"width": (4, 6, 99, 8)})
    with pytest.raises(SweepError, match="a worker was lost"):
        sweep(toy, toy.Config(), plan, folder=tmp_path / "out", workers=2, quiet=True)
    trials = sweep(toy, toy.Config(), plan, folder=tmp_path / "out", workers=2, quiet=True)
    assert sorted(t.settings["width"] for t in trials) == [4, 6, 8, 99]
    assert not any(t.error for t in trials)


def test_machines_with_one_storage_never_run_the_same(toy, tmp_path):
    plan, url = grid(toy), f"sqlite:///{tmp_path / 'shared.db'}"
    here, there = (Storage(url, "shared", plan, {"experiment": "toy"}) for _ in range(2))
    there.here = {"machine": "elsewhere", "process": 1}
    begun = [storage.ask() for storage in (here, there) * 3]
    assert sorted(tuple(t.params.values()) for t in begun) == sorted((w, r) for w in (4, 6, 8) for r in (0.001, 0.01))
    assert here.ask() is None and there.ask() is None
    # both look at the same moment and want the same: the later one steps back
    late = Storage(url, "late", plan, {})
    late.plan = Wanting({"width": 4, "rate": 0.01}, {"width": 4, "rate": 0.01}, {"width": 8, "rate": 0.01})
    assert late.ask().params == {"width": 4, "rate": 0.01}
    assert late.ask().params == {"width": 8, "rate": 0.01}


class Wanting:
    """A plan that wants these, whatever is taken."""

    def __init__(self, *points):
        self.points, self.sampler = iter(points), grid.__globals__["Grid"].sampler.__get__(self)

    def next(self, taken, lost):
        return next(self.points)


def test_a_trial_of_another_machine_is_taken_over_when_its_heart_stops(toy, tmp_path):
    plan, file = grid(toy, {"width": (4, 6)}), tmp_path / "shared.db"
    there = Storage(f"sqlite:///{file}", "shared", plan, {})
    there.here = {"machine": "elsewhere", "process": 1}
    assert there.ask().params == {"width": 4}
    here = Storage(f"sqlite:///{file}", "shared", plan, {})
    assert here.give_back_killed() == 0 and here.ask().params == {"width": 6} and here.ask() is None
    with sqlite3.connect(file) as database:
        assert database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour') WHERE trial_id = 1").rowcount == 1
    assert here.give_back_killed() == 1
    assert here.ask().params == {"width": 4}


def test_a_dask_cluster_runs_the_trials(toy, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        trials = sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "out", workers=2, dask=cluster.scheduler_address, quiet=True)
    assert seen(trials) == seen(sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "here", quiet=True))


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        ("optuna", {}, r"spiketwin\[sweep\]"),
        ("joblib.externals.loky", {"workers": 2}, r"spiketwin\[sweep\]"),
        ("distributed", {"dask": "tcp://nowhere:1"}, r"dask\[distributed\]"),
    ],
)
def test_what_is_not_installed_is_named(toy, tmp_path, monkeypatch, module, options, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=message):
        sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "out", quiet=True, **options)


def test_a_sweep_under_torchrun_is_refused(toy, tmp_path, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(SweepError, match="without torchrun"):
        sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "out", quiet=True)


def test_no_workers_are_refused(toy, tmp_path):
    with pytest.raises(SweepError, match="workers = 0"):
        sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "out", workers=0, quiet=True)


# -- what is drawn ---------------------------------------------------------------------------------------------------


def trial(number, width, rate, accuracy, run_s):
    metrics = {"validation_accuracy": {"mean": accuracy, "std": 0.5, "values": [accuracy - 0.5, accuracy + 0.5]}}
    return Trial(number, {"width": width, "rate": rate}, metrics, run_s)


TRIALS = [trial(0, 4, 0.1, 50.0, 1.0), trial(1, 4, 0.2, 60.0, 3.0), trial(2, 8, 0.1, 80.0, 5.0), trial(3, 8, 0.2, 84.0, 6.0)]


@pytest.fixture
def space(toy):
    return axes(toy.Config(), {"width": (4, 8), "rate": (0.1, 0.2)})


def test_the_effect_of_a_value_is_the_mean_over_all_other_settings(space):
    first, second = per_value(TRIALS, "width", space["width"])
    # 50 and 60: mean 55, deviations of 5 over n - 1 = 1: sqrt(50)
    assert first["accuracies"]["validation_accuracy"] == pytest.approx({"mean": 55.0, "std": 50**0.5})
    assert first["run_s"] == pytest.approx({"mean": 2.0, "std": 2**0.5})
    assert (second["value"], second["trials"], second["accuracies"]["validation_accuracy"]["mean"]) == (8, 2, 82.0)


def test_the_effect_of_a_range_is_that_of_its_fifths(toy):
    trials = [trial(k, 4, (k + 1) / 10, float(k), 1.0) for k in range(10)]
    rows = per_value(trials, "rate", axes(toy.Config(), ["rate=0..2"])["rate"])
    assert [row["value"] for row in rows] == pytest.approx([0.15, 0.35, 0.55, 0.75, 0.95])
    assert [row["accuracies"]["validation_accuracy"]["mean"] for row in rows] == [0.5, 2.5, 4.5, 6.5, 8.5]


def test_the_table_ranks_by_validation_accuracy():
    lines = best_table(TRIALS, rows=2).splitlines()
    assert lines[0] == "|  | width | rate | validation accuracy (%) | run time (s) |"
    assert lines[2:] == ["| 1 | 8 | 0.2 | 84.00 ± 0.50 | 6.0 |", "| 2 | 8 | 0.1 | 80.00 ± 0.50 | 5.0 |"]


def test_what_changes_most_is_most_important(space):
    shares = importance(TRIALS, space)
    assert list(shares) == ["width", "rate"] and sum(shares.values()) == pytest.approx(1) and shares["width"] > 0.7
    assert importance(TRIALS[:3], space) == {}  # too few
    bars = draw_importance(TRIALS, space).axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([shares["rate"], shares["width"]])


def test_the_figure_of_each_setting_has_accuracy_and_run_time_with_spread(space):
    above, _, below, _ = draw_parameters(TRIALS, space).axes
    assert list(above.lines[0].get_ydata()) == [55.0, 82.0] and list(below.lines[0].get_ydata()) == [2.0, 5.5]
    (spread,) = (c for c in above.collections if len(c.get_segments()) == 2)
    ends = spread.get_segments()[0][:, 1]
    assert ends == pytest.approx([55 - 50**0.5, 55 + 50**0.5])
    assert (above.get_ylabel(), below.get_ylabel()) == ("accuracy (%)", "run time (s)")


def test_parallel_coordinates_lead_through_the_settings_to_the_accuracy(toy, space):
    plot = draw_parallel(TRIALS, space).axes[0]
    lines = [list(line.get_ydata()) for line in plot.lines if len(line.get_ydata()) == 3]
    assert lines == [[0, 0, 0], [0, 1, pytest.approx(10 / 34)], [1, 0, pytest.approx(30 / 34)], [1, 1, 1]]
    assert [line.get_linewidth() for line in plot.lines[:4]] == [1, 1, 1, 3]
    logarithmic = axes(toy.Config(), ["rate=0.01..1:log"])
    plot = draw_parallel([trial(k, 4, r, r, 1.0) for k, r in enumerate((0.01, 0.1, 1.0))], logarithmic).axes[0]
    assert [line.get_ydata()[0] for line in plot.lines[:3]] == pytest.approx([0, 0.5, 1])


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_sweeps_digits(tmp_path, capsys):
    out = tmp_path / "digits"
    arguments = ["sweep", "digits_ttfs", "--vary", "hidden=8,16", "learning_rate=1e-5,5e-3", "--epochs", "1", "--out", str(out)]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert "the best of 4 trials, by validation accuracy" in said and "| 0.005 |" in said.splitlines()[4]
    assert {p.name for p in out.iterdir()} >= {
        "digits_ttfs.json",
        "best.md",
        "parameters.png",
        "parallel.png",
        "importance.png",
        "trials.db",
    }
    assert (out / "parameters.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((out / "digits_ttfs.json").read_text())
    assert len(written["trials"]) == 4 and set(written["importance"]) == {"hidden", "learning_rate"}
    assert cli.main([*arguments[:2], "--vary", "hiden=1", "--out", str(out)]) == cli.BAD_INPUT
    assert "Did you mean 'hidden'?" in capsys.readouterr().err
