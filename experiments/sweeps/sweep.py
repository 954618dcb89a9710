"""The sweep: ask for settings, run the experiment there, write down what came out, until nothing is left to ask for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spiketwin.experiments.progress import is_launched, progress
from spiketwin.experiments.protocol import Experiment, measured, write_json
from spiketwin.experiments.sweeps.objective import objective as objective_of
from spiketwin.experiments.sweeps.plan import Plan
from spiketwin.experiments.sweeps.report import best, content, effects, short
from spiketwin.experiments.sweeps.space import SweepError
from spiketwin.experiments.sweeps.storage import Storage
from spiketwin.experiments.sweeps.trial import Trial, evaluate
from spiketwin.experiments.sweeps.workers import executor

if TYPE_CHECKING:
    import optuna


def sweep(
    experiment: Experiment,
    config: Any,
    plan: Plan,
    *,
    folder: Path,
    seeds: Sequence[int] = (0,),
    workers: int = 1,
    storage: str | None = None,
    name: str | None = None,
    dask: str | None = None,
    objective: str | None = None,
    quiet: bool = False,
) -> list[Trial]:
    """Run an experiment at every setting of the plan that was not run yet; returns the finished trials, by number.

    config: values of what is not varied.  folder: where trials keep what they resume from, and NAME.json all trials, renewed
    after each; at the end also the effect of each setting.  seeds: runs of each trial; settings are chosen by the mean of
    `objective`, by default the metric that the experiment names (OBJECTIVE in its module), or else validation_accuracy.
    workers: trials at the same time.  storage: database URL (default: sqlite file in `folder`); several machines that
    are given the same one share the work.  name: of the sweep in it (default: that of the experiment).  dask: address of a scheduler.
    A trial that fails is kept with its error, and the others go on. After a kill or Ctrl-C the same call goes on where
    it was; the trials that were running are run again.
    Raises SweepError for a storage that holds another sweep, an experiment without such a metric, an objective that is not of
    validation data, a lost worker, a start under torchrun.
    """
    if is_launched():
        raise SweepError("a sweep runs its trials side by side by itself; start it without torchrun, with workers (--workers 2)")
    title = experiment.__name__.rpartition(".")[2]
    name, objective = name or title, objective_of(experiment, objective)
    folder.mkdir(parents=True, exist_ok=True)
    fixed = {field: value for field, value in asdict(config).items() if field not in plan.axes}
    varied = {field: axis.as_json() for field, axis in plan.axes.items()}
    mark = {"experiment": title, "config": fixed, "varied": varied, "seeds": list(seeds), "objective": objective}
    kept = Storage(storage or f"sqlite:///{(folder / 'trials.db').resolve()}", name, plan, mark)
    begun: list[optuna.Trial] = []

    def run(pool, show, provenance) -> None:
        running: dict[Future, optuna.Trial] = {}
        while True:
            while len(running) < workers and (trial := kept.ask()):
                begun.append(trial)
                running[pool.submit(evaluate, experiment.__name__, config, dict(trial.params), seeds, folder / "trials")] = trial
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                trial = running.pop(future)
                if error := _write_down(kept, title, trial, future):
                    show.say(f"trial {trial.number} failed ({short(trial.params)}): {error}")
                begun.remove(trial)
            trials = kept.trials()
            write_json(folder / f"{name}.json", content(mark, experiment.QUESTION, trials, provenance))
            show.update(len(trials), _best_so_far(trials))

    with measured() as provenance, progress(f"sweep of {title}", len(plan), quiet=quiet) as show:
        if lost := kept.give_back_killed():
            show.say(f"{lost} trial{'s were' if lost > 1 else ' was'} killed and will be run again")
        show.update(len(kept.trials()))
        try:
            with executor(workers, dask) as pool, kept.beating(begun):
                run(pool, show, provenance)
        except BaseException as error:
            for trial in begun:
                kept.give_back(trial.number)
            show.say(f"stopped after {len(kept.trials())} of {len(plan)} trials; run the same again to go on")
            if isinstance(error, BrokenExecutor):  # no more can be submitted
                raise _lost(error) from error
            raise
    trials = kept.trials()
    found = content(mark, experiment.QUESTION, trials, provenance)
    write_json(folder / f"{name}.json", {**found, **effects(trials, plan.axes)})
    return trials


def _write_down(kept: Storage, title: str, trial: optuna.Trial, future: Future) -> str:
    try:
        outcome = future.result()
    except Exception as error:  # what an experiment raises is an outcome: this is of the worker itself
        raise _lost(error) from error
    if not outcome["error"] and kept.objective not in outcome["metrics"]:
        others = ", ".join(metric for metric in outcome["metrics"] if "validation" in metric)
        fix = f"give --objective with one of {others}" if others else "add it to the metrics of its Result"
        raise SweepError(f"'{title}' reports no {kept.objective}, by which settings are chosen; {fix}")
    kept.finish(trial, **outcome)
    return outcome["error"]


def _lost(error: Exception) -> SweepError:
    return SweepError(
        f"a worker was lost, perhaps for want of memory ({str(error).splitlines()[0]}); run the same again to go on, with fewer workers if so"
    )


def _best_so_far(trials: Sequence[Trial]) -> str:
    failed = sum(bool(t.error) for t in trials)
    parts = [f"{failed} failed"] if failed else []
    if any(not t.error for t in trials):
        first = best(trials)
        parts.insert(0, f"best {first.value:.2f} % ({short(first.settings)})")
    return ", ".join(parts)
