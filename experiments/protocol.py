"""What an experiment is, what it leaves behind, and how that reaches the disk.

An experiment is a module with QUESTION (a sentence), Config (a frozen dataclass whose fields carry their
units), run(config, seed, folder=None) -> Result and smoke() -> Result (seconds long; for tests and notebooks).
folder: where a run may keep what it resumes from, and what it made, such as trained weights.

Where it has them, the results page shows draw(result) -> Figure and page(result) -> Markdown, and a sweep maximises OBJECTIVE, a metric
(default: validation_accuracy; None: there is none to choose by).

One that trains spiking networks offers them to the cross-check (crosscheck/subjects.py says of which kinds):
networks(config, seed, folder=None, quiet=False) -> name -> network, trained, from the checkpoints in `folder` where these are finished.
A checkpoint is continued with the settings it was made with, training_settings(config). BESIDE_TRAINING of a Config names the fields
that change no training, such as which networks are trained, or on what they are tested.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np

COMMITTED = Path(__file__).resolve().parent / "results"
SEEDS_TO_PUBLISH = 3
LIBRARIES = ("spiketwin", "numpy", "scipy", "sympy", "torch", "brian2", "numba", "scikit-learn")


class ResultError(ValueError):
    """A result file cannot be read or written as asked. The message names the file and what is wrong."""


@dataclasses.dataclass(frozen=True)
class Result:
    """The answer of an experiment, for one seed or several.

    metrics: name -> {"mean", "std", "values"}, one value per seed; std is the sample standard deviation
    (n - 1), 0 for one seed; accuracies are in percent.  curves: name -> what a notebook draws.
    provenance: command, versions, commit, wall time, data split, machine.
    """

    experiment: str
    question: str
    config: Mapping[str, Any]
    seeds: tuple[int, ...]
    metrics: Mapping[str, Mapping[str, Any]]
    curves: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def mean(self, metric: str) -> float:
        return self.metrics[metric]["mean"]

    def write(self, path: Path | str) -> Path:
        """As JSON, all or nothing. Raises ResultError when a value is NaN or infinite: JSON has no word for it."""
        return write_json(path, dataclasses.asdict(self))


def training_settings(config) -> dict[str, Any]:
    """What a training depends on, for its checkpoint: the fields of a Config but those it names in BESIDE_TRAINING."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in getattr(config, "BESIDE_TRAINING", ())}


class Experiment(Protocol):
    """What the command line needs of an experiment module."""

    __name__: str
    QUESTION: str
    Config: type

    def run(self, config, seed: int, *, folder: Path | None = None) -> Result: ...

    def smoke(self) -> Result: ...


def summary(values: Sequence[float]) -> dict[str, Any]:
    """{"mean", "std", "values"} of one metric over seeds."""
    values = [float(v) for v in values]
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, "values": values}


def single(experiment: Experiment, config, seed: int, metrics: Mapping[str, float], *, curves=None, provenance=None) -> Result:
    """The Result of one seed."""
    return Result(
        experiment=experiment.__name__.rpartition(".")[2],
        question=experiment.QUESTION,
        config=dataclasses.asdict(config),
        seeds=(seed,),
        metrics={name: summary([value]) for name, value in metrics.items()},
        curves=curves or {},
        provenance=provenance or {},
    )


def combine(results: Sequence[Result]) -> Result:
    """One Result of several seeds: the values of each metric in the order of the seeds, the curves in a list."""
    first = results[0]
    for other in results[1:]:
        if other.experiment != first.experiment or other.config != first.config or set(other.metrics) != set(first.metrics):
            raise ResultError(
                f"results of '{first.experiment}' and '{other.experiment}' differ in experiment, config or metrics; combine equal runs"
            )
    seeds = tuple(s for r in results for s in r.seeds)
    wall_s = sum(r.provenance.get("wall_s", 0.0) for r in results)
    return Result(
        experiment=first.experiment,
        question=first.question,
        config=first.config,
        seeds=seeds,
        metrics={name: summary([v for r in results for v in r.metrics[name]["values"]]) for name in first.metrics},
        curves={name: [r.curves.get(name) for r in results] for name in first.curves},
        provenance={**first.provenance, "wall_s": round(wall_s, 1)},
    )


def run_seeds(
    experiment: Experiment, config, seeds: Sequence[int], *, folder: Path | None = None, done: Callable[[Result], None] | None = None
) -> Result:
    """Run an experiment once per seed. done: called after each seed with the Result so far, e.g. to save it.

    Raises ResultError for no seeds or a seed given twice.
    """
    if not seeds:
        raise ResultError("no seeds given; give at least one, e.g. 0")
    if len(set(seeds)) < len(seeds):
        raise ResultError(f"seeds {' '.join(map(str, seeds))} repeat; a repeated seed is not a new sample")
    results: list[Result] = []
    for seed in seeds:
        results.append(experiment.run(config, seed, folder=folder))
        if done:
            done(combine(results))
    return combine(results)


@contextmanager
def measured(**more: Any) -> Iterator[dict[str, Any]]:
    """Provenance of what runs inside; its wall time is known when the block ends.

    more: what the experiment adds, e.g. split="…".
    """
    began, start = datetime.now(UTC), time.perf_counter()
    found: dict[str, Any] = {
        "command": shlex.join([_program(), *sys.argv[1:]]),
        "date": began.isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(),
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "processor": platform.machine()},
        **more,
    }
    yield found
    found["machine"] |= _gpu()
    found["wall_s"] = round(time.perf_counter() - start, 1)


def _program() -> str:
    """What was called; the command line, however it was started, is spiketwin."""
    name = Path(sys.argv[0]).name
    return "spiketwin" if name == "cli.py" else name


def _gpu() -> dict[str, str]:
    """The first GPU of this machine, where an experiment has loaded torch and torch sees one."""
    torch = sys.modules.get("torch")
    return {"gpu": torch.cuda.get_device_name()} if torch and torch.cuda.is_available() else {}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> str:
    """The commit the code was run from; '+' marks changed files. Outside a checkout it is what SPIKETWIN_COMMIT says, or ''."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(COMMITTED.parent), *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "../models", "../rules", "../experiments/*.py")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("SPIKETWIN_COMMIT", "")


def write_json(path: Path | str, data) -> Path:
    """JSON that is there in full or not at all: written beside the target, then renamed over it."""
    try:
        text = json.dumps(data, indent=2, default=_plain, allow_nan=False) + "\n"
    except ValueError as error:
        raise ResultError(f"{path} was not written: {error}; a metric or curve is NaN or infinite") from None
    return write_text(path, text)


def write_text(path: Path | str, text: str) -> Path:
    """A text file that is there in full or not at all."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path | str, content: bytes) -> Path:
    """A file that is there in full or not at all, also after Ctrl-C or a kill."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; results are to be read
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def load(path: Path | str) -> Result:
    """The Result in a file. Raises ResultError naming the file and what is missing."""
    path = Path(path)
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise ResultError(f"there is no result file {path}; make it with: spiketwin run {path.stem}") from None
    except json.JSONDecodeError as error:
        raise ResultError(f"{path} is not JSON ({error}); make it anew with: spiketwin run {path.stem}") from None
    fields = [f.name for f in dataclasses.fields(Result)]
    if missing := [f for f in ("experiment", "question", "config", "seeds", "metrics", "provenance") if f not in data]:
        raise ResultError(f"{path} lacks {', '.join(missing)}; it is not a result file of this version")
    return Result(**{k: tuple(v) if k == "seeds" else v for k, v in data.items() if k in fields})


def _plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
