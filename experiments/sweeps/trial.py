"""One trial: an experiment run at one setting, for one seed or several."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import math
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spiketwin.experiments.protocol import run_seeds
from spiketwin.experiments.sweeps.objective import OBJECTIVE


@dataclass(frozen=True)
class Trial:
    """A trial that is finished. metrics: name -> {"mean", "std", "values"}, a value per seed; none where it failed.

    run_s: seconds for all seeds, of the training where the experiment reports training_minutes, else of the whole run.
    error: why it failed, else ''.  cpu_s: run_s times the processors that the trial kept busy. What else runs on the machine
    makes a trial slower, so that run_s says when it ran; cpu_s tells settings apart. (Of a process that runs several trials in
    threads it is that of all of them.)  objective: the metric that settings are chosen by.
    """

    number: int
    settings: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    run_s: float = 0.0
    error: str = ""
    cpu_s: float = 0.0
    objective: str = OBJECTIVE

    @property
    def value(self) -> float:
        """Mean of the objective."""
        return self.metrics[self.objective]["mean"]


def evaluate(module: str, config: Any, settings: Mapping[str, Any], seeds: Sequence[int], folder: Path) -> dict[str, Any]:
    """Run experiment `module` (its import path) at `config` with `settings`; returns metrics, run_s, error and cpu_s of a Trial.

    What it says goes to log.txt in its own folder below `folder`, where it also keeps what it resumes from.
    """
    # named by the settings and not by the number: the retry of a killed trial finds its checkpoint
    own = folder / hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    own.mkdir(parents=True, exist_ok=True)
    start, busy = time.perf_counter(), time.process_time()
    with (own / "log.txt").open("a") as log, contextlib.redirect_stderr(log):
        print(json.dumps(settings), file=log, flush=True)
        try:
            result = run_seeds(importlib.import_module(module), replace(config, **settings), seeds, folder=own)
        except Exception as error:  # one bad setting shall not end the others
            traceback.print_exc(file=log)
            spent = {"run_s": time.perf_counter() - start, "cpu_s": time.process_time() - busy}
            return {"metrics": {}, **spent, "error": f"{type(error).__name__}: {error}"}
    metrics = {name: dict(metric) for name, metric in result.metrics.items()}
    for path in own.iterdir():
        if _resumes_from(path):
            path.unlink()  # of no further use, and large
    run_s = time.perf_counter() - start
    processors = (time.process_time() - busy) / run_s
    if "training_minutes" in metrics:
        # without what the first trial of a process loads and compiles; with what a killed one had trained before
        run_s = 60 * sum(metrics["training_minutes"]["values"])
    bad = [name for name, metric in metrics.items() if not all(map(math.isfinite, metric["values"]))]
    error = f"{bad[0]} is not a number" if bad else ""
    return {"metrics": {} if bad else metrics, "run_s": run_s, "cpu_s": run_s * processors, "error": error}


def _resumes_from(path: Path) -> bool:
    """Whether a file is a checkpoint: by its name, or, whatever the study calls it, that of a network in training."""
    if path.suffix == ".safetensors":
        from spiketwin.experiments.training.checkpoints import is_checkpoint

        return is_checkpoint(path)
    return path.name.startswith("checkpoint_") and path.suffix != ".png"
