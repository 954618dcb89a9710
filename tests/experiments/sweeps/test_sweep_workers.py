"""Who shares the work of a sweep: processes, machines, a cluster."""

import sqlite3
import sys

import distributed
import pytest

from spiketwin.experiments.sweeps import Grid, SweepError, sweep
from spiketwin.experiments.sweeps.storage import Storage
from sweep_toy import grid, seen, toy_study


@pytest.fixture
def toy(tmp_path, monkeypatch):
    yield toy_study(tmp_path, monkeypatch)
    sys.modules.pop("toy_study", None)


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
        self.points, self.sampler = iter(points), Grid.sampler.__get__(self)

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
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        trials = sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "out", workers=2, dask=cluster.scheduler_address, quiet=True)
    assert seen(trials) == seen(sweep(toy, toy.Config(), grid(toy), folder=tmp_path / "here", quiet=True))


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        ("optuna", {}, r"spiketwin\[sweep\]"),
        ("joblib.externals.loky", {"workers": 2}, r"spiketwin\[sweep\]"),
        ("distributed", {"dask": "tcp://nowhere:1"}, r"spiketwin\[cluster\]"),
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
