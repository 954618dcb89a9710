"""Sweeps: what is chosen, and what survives a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file

from spiketwin.experiments import EXPERIMENTS, cli, experiment
from spiketwin.experiments.protocol import COMMITTED, load
from spiketwin.experiments.sweeps import Sampler, SweepError, axes, best_table, sweep
from spiketwin.experiments.sweeps.objective import accuracies, can_be_swept, objective, of_study
from spiketwin.experiments.sweeps.report import best, per_value
from spiketwin.experiments.sweeps.storage import Storage
from spiketwin.experiments.training import Schedule, fit
from sweep_toy import GRID, grid, seen, toy_study


@pytest.fixture
def toy(tmp_path, monkeypatch):
    yield toy_study(tmp_path, monkeypatch)
    sys.modules.pop("toy_study", None)


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


def test_a_finished_trial_keeps_weights_and_pictures_and_no_checkpoint_whatever_its_name(toy, tmp_path, monkeypatch):
    run = toy.run

    def train(config, seed, *, folder):
        module = torch.nn.Linear(1, 1)
        how = {"samples": 2, "schedule": Schedule(1, 2, 0.1), "seed": seed, "checkpoint": folder / f"network_{seed}.safetensors"}
        fit(module, lambda index, rng: (module.weight.sum(), {}), lambda: 50.0, **how)
        save_file(module.state_dict(), folder / f"weights_{seed}.safetensors")
        return run(config, seed, folder=folder)

    monkeypatch.setattr(toy, "run", train)
    sweep(toy, toy.Config(), grid(toy, {"width": (4, 6)}), folder=tmp_path / "out", quiet=True)
    for own in (tmp_path / "out" / "trials").iterdir():
        assert sorted(p.name for p in own.iterdir()) == ["log.txt", "network_0.png", "weights_0.safetensors"]


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


# -- the objective -----------------------------------------------------------------------------------------------------


def noted(folder):
    """How often the toy study was run."""
    notes = folder / "notes"
    return len(notes.read_text().splitlines()) if notes.exists() else 0


def test_a_study_names_what_is_maximised_and_the_call_may_name_another(toy, tmp_path, monkeypatch):
    run = toy.run

    def of_two(config, seed, *, folder=None):
        """Two networks, of which the wide one is best at the smallest width."""
        result = run(config, seed, folder=folder)
        named = {f"{name}_count": metric for name, metric in result.metrics.items() if name != "goes_on"}
        wide = {"mean": 50.0 - config.width, "std": 0.0, "values": [50.0 - config.width]}
        return type(result)(**{**vars(result), "metrics": {**named, "validation_accuracy_wide": wide}})

    monkeypatch.setattr(toy, "run", of_two)
    monkeypatch.setattr(toy, "OBJECTIVE", "validation_accuracy_count", raising=False)
    plan = grid(toy)
    trials = sweep(toy, toy.Config(), plan, folder=tmp_path / "own", quiet=True)
    assert best(trials).settings == {"width": 6, "rate": 0.01} and best(trials).value == 90
    assert json.loads((tmp_path / "own" / "toy_study.json").read_text())["objective"] == "validation_accuracy_count"
    table = best_table(trials).splitlines()
    assert "| validation accuracy count (%) | test accuracy count (%) | run time (s) |" in table[0] and "| 90.00 | 10.00 |" in table[2]
    # width 6 at both rates: 80 and 90
    assert per_value(trials, "width", plan.axes["width"])[1]["accuracies"]["validation_accuracy_count"]["mean"] == 85
    with pytest.raises(SweepError, match="objective was validation_accuracy_count, is validation_accuracy_wide"):
        sweep(toy, toy.Config(), plan, folder=tmp_path / "own", objective="validation_accuracy_wide", quiet=True)
    other = sweep(toy, toy.Config(), plan, folder=tmp_path / "other", objective="validation_accuracy_wide", quiet=True)
    assert best(other).settings["width"] == 4 and best(other).value == 46
    with pytest.raises(SweepError, match="no validation_loud.* one of validation_accuracy_count, validation_accuracy_wide"):
        sweep(toy, toy.Config(), plan, folder=tmp_path / "typo", objective="validation_loud", quiet=True)


def test_a_study_without_an_objective_is_refused_before_the_first_trial(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(toy, "OBJECTIVE", None, raising=False)
    config = toy.Config(notes=str(tmp_path / "notes"))
    with pytest.raises(SweepError, match="'toy_study' names no validation metric.*digits_ttfs.*--objective"):
        sweep(toy, config, grid(toy), folder=tmp_path / "out", quiet=True)
    assert noted(tmp_path) == 0 and not (tmp_path / "out").exists()
    trials = sweep(toy, config, grid(toy), folder=tmp_path / "out", objective="validation_accuracy", quiet=True)
    assert best(trials).settings == {"width": 6, "rate": 0.01} and noted(tmp_path) == 6


@pytest.mark.parametrize("metric", ["test_accuracy", "accuracy_at_150", "best_test", "test_validation"])
def test_a_sweep_never_maximises_what_is_tested(toy, tmp_path, metric):
    with pytest.raises(SweepError, match=f"'{metric}' is not a validation metric.*such as validation_accuracy"):
        sweep(toy, toy.Config(notes=str(tmp_path / "notes")), grid(toy), folder=tmp_path / "out", objective=metric, quiet=True)
    assert noted(tmp_path) == 0


def test_a_sweep_from_before_there_were_objectives_goes_on(toy, tmp_path):
    plan, config = grid(toy), toy.Config()
    (tmp_path / "out").mkdir()
    Storage(f"sqlite:///{tmp_path / 'out' / 'trials.db'}", "toy_study", plan, mark(toy, config, plan))
    assert len(sweep(toy, config, plan, folder=tmp_path / "out", quiet=True)) == 6
    with pytest.raises(SweepError, match="objective was validation_accuracy, is validation_other"):
        sweep(toy, config, plan, folder=tmp_path / "out", objective="validation_other", quiet=True)


@pytest.mark.parametrize("name", [n for n in EXPERIMENTS if (COMMITTED / f"{n}.json").is_file()])
def test_the_objective_of_every_study_is_among_its_metrics(name):
    study, metrics = experiment(name), load(COMMITTED / f"{name}.json").metrics
    if of_study(study):
        assert objective(study) in metrics and name in can_be_swept()
    else:
        assert "validation_accuracy" not in metrics and name not in can_be_swept()


def test_the_objective_has_kin_on_the_other_data():
    assert accuracies("validation_accuracy") == ("training_accuracy", "validation_accuracy", "test_accuracy")
    assert accuracies("several_validation_accuracy")[2] == "several_test_accuracy"


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


def test_the_command_names_what_can_be_swept_and_refuses_the_rest(tmp_path, capsys):
    assert cli.main(["sweep"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  conv_snn ") for line in lines) and not any(line.startswith("  forgetting ") for line in lines)
    assert "need --objective" in lines[-1] and "forgetting" in lines[-1] and "conv_snn" not in lines[-1]
    arguments = ["--vary", "test_images=10,20", "--out", str(tmp_path / "out")]
    assert cli.main(["sweep", "forgetting", *arguments]) == cli.BAD_INPUT
    assert "'forgetting' names no validation metric" in capsys.readouterr().err
    assert cli.main(["sweep", "conv_snn", "--vary", "steps=5,10", "--objective", "test_accuracy_epoch1"]) == cli.BAD_INPUT
    assert "such as validation_accuracy_count" in capsys.readouterr().err
