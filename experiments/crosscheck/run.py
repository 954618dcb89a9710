"""The cross-check as a list of independent tasks, run on all cores, gathered into one report."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from spiketwin.experiments.crosscheck.checks import LEVELS, Check, Report, missing, with_deviations
from spiketwin.experiments.crosscheck.deviations import DEVIATIONS
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import measured
from spiketwin.models.discretisation import SCHEMES
from spiketwin.models.neurons import NEURONS, neuron
from spiketwin.models.spec import unknown


@dataclass(frozen=True)
class CrosscheckConfig:
    """What to check, and where the report goes."""

    model: tuple[str, ...] = ()
    """Models to check (default: all)."""
    scheme: tuple[str, ...] = ()
    """Integration schemes to check (default: each model's usual one for identity, all for convergence)."""
    dt: float | None = None
    """Time step in ms of the identity level (default: one that suits the model)."""
    data: Literal["digits", "fashion-mnist", "none"] | None = None
    """Data the trained network learns, or 'none' (default: digits, or none when models are named)."""
    all_schemes: bool = False
    """Whether the identity level runs every scheme that can integrate a model."""
    out: Path = Path("out/crosscheck")
    """Folder of report.html, report.md and report.json."""
    seed: int = 0
    """Seed of the trained network."""
    workers: int = 0
    """Processes to use (default: one per core)."""

    @property
    def is_complete(self) -> bool:
        """Whether every model, level and scheme is run, so that an unused deviation is one that is gone."""
        return self.all_schemes and not (self.model or self.scheme or self.dt)


@dataclass(frozen=True)
class Task:
    """One call of a level's check(); the heaviest tasks are run first."""

    level: str
    model: str
    scheme: str = ""
    dt_ms: float | None = None
    weight: float = 1.0


def run_crosscheck(config: CrosscheckConfig) -> Report:
    """Run the levels, write the report to config.out, return it. Raises ValueError for unknown models or schemes."""
    from spiketwin.experiments.crosscheck.report import write_report

    report = crosscheck(config)
    write_report(report, config.out)
    return report


def crosscheck(config: CrosscheckConfig) -> Report:
    """The report, not written."""
    _known(config)
    models = config.model or tuple(NEURONS)
    tasks = sorted(_tasks(config, models), key=lambda t: -t.weight)
    rows: dict[Task, list[Check]] = {}
    curves: dict[str, dict] = {}
    with measured(cpu_s={}) as provenance:
        with progress("cross-check", len(tasks)) as show:
            for done, (task, (checks, drawn, cpu_s)) in enumerate(_results(tasks, config), start=1):
                provenance["cpu_s"][f"{task.level} of {task.model} {task.scheme}".strip()] = round(cpu_s, 1)
                rows[task] = checks
                for figure, content in drawn.items():
                    _merge(curves.setdefault(figure, {}), content)
                show.update(done, f"{task.level} of {task.model}")
    checks = [
        c
        for level in LEVELS
        for model in _in_order(rows, models)
        for t, cs in rows.items()
        for c in cs
        if c.level == level and c.model == model
    ]
    checks, unused = with_deviations(checks, DEVIATIONS)
    problems = missing(checks, models) if not config.scheme else ()
    if config.is_complete:
        present = {c.model for c in checks}
        problems += tuple(
            f"known deviation of '{d.model}', {d.level}, '{d.quantity}' covers no row; remove it" for d in unused if d.model in present
        )
    return Report(tuple(checks), curves, provenance, problems)


def _tasks(config: CrosscheckConfig, models: tuple[str, ...]) -> Iterator[Task]:
    from spiketwin.experiments.crosscheck import cases

    data = config.data or ("none" if config.model or config.scheme else "digits")
    if data != "none":
        yield Task("trained", data, weight=100)
    for name in models:
        spec = neuron(name)
        usable = [s for s in cases.schemes(spec) if not config.scheme or s in config.scheme]
        slow = 20.0 if name.startswith("hh") else 5.0 if spec.name in ("adex", "izhikevich") else 2.0
        for scheme in usable if config.all_schemes or config.scheme else usable[:1]:
            yield Task("identity", name, scheme, config.dt, slow)
        if usable:
            yield Task("convergence", name, ",".join(usable), weight=slow)
        if not config.scheme:
            yield Task("consequence", name, weight=slow / 2)


def perform(task: Task, config: CrosscheckConfig) -> tuple[list[Check], dict, float]:
    """Run one task: its rows, its curves, its processor seconds."""
    start = time.process_time()
    return *_perform(task, config), time.process_time() - start


def _perform(task: Task, config: CrosscheckConfig) -> tuple[list[Check], dict]:
    """An error becomes a row that fails, so that the others are still reported."""
    from spiketwin.experiments.crosscheck import consequence, convergence, identity

    try:
        match task.level:
            case "identity":
                return identity.check(task.model, task.scheme, dt_ms=task.dt_ms)
            case "convergence":
                return convergence.check(task.model, tuple(task.scheme.split(",")))
            case "consequence":
                return consequence.check(task.model)
            case _:
                return _trained(task.model, config)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        level = task.level if task.level in LEVELS else "identity"
        what = f"{task.scheme}: ran to its end ({type(error).__name__}: {error})".removeprefix(": ")
        return [Check(task.model, level, what, 0.0, (1.0, 1.0))], {}


def _trained(data: str, config: CrosscheckConfig) -> tuple[list[Check], dict]:
    from spiketwin.experiments.crosscheck import trained

    if data == "digits":
        from spiketwin.experiments.studies.gradients import digits_ttfs

        return trained.check(digits_ttfs.train(digits_ttfs.Config(), config.seed, quiet=True))
    from spiketwin.experiments.studies.gradients import fashion_ttfs

    return trained.check(fashion_ttfs.trained(config.seed))


def _results(tasks: list[Task], config: CrosscheckConfig) -> Iterator[tuple[Task, tuple[list[Check], dict, float]]]:
    workers = min(config.workers or os.cpu_count() or 1, len(tasks))
    if workers == 1:
        yield from ((task, perform(task, config)) for task in tasks)
        return
    # spawn: a forked process would share the state of torch's and numba's thread pools
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_quiet_worker) as pool:
        futures = {pool.submit(perform, task, config): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _quiet_worker() -> None:
    import signal

    # the parent answers Ctrl-C; one thread each, since there is a process per core
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    import torch

    torch.set_num_threads(1)


def _merge(into: dict, content: dict) -> None:
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _in_order(rows: dict[Task, list[Check]], models: tuple[str, ...]) -> list[str]:
    """Registered models first, in their order, then trained networks."""
    present = {c.model for checks in rows.values() for c in checks}
    return [m for m in models if m in present] + sorted(present - set(models))


def _known(config: CrosscheckConfig) -> None:
    for name in config.model:
        neuron(name)
    for name in config.scheme:
        if name not in SCHEMES:
            raise ValueError(unknown(name, "scheme", "spiketwin", SCHEMES))
    if config.dt is not None and not config.dt > 0:
        raise ValueError(f"dt = {config.dt} ms must be positive")
