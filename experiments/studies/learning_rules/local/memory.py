"""The memory of a training step, up to the gradient, against the length of a trial, each method in a process of its own.

Counted is the largest resident memory during a step, less what the program needs after a first, short one, and less the input.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spiketwin.experiments.protocol import ResultError

if TYPE_CHECKING:
    from spiketwin.experiments.studies.learning_rules.local.local_against_global import Config

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # what the kernel is told to start the largest resident memory anew (man 5 proc)
# glibc then gives back what is freed at once; other libraries do not read these
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def peaks_mb(name: str, config: Config, inputs: int, classes: int) -> list[float]:
    """MB of a training step for each of config.memory_steps, in a new process with one thread.

    Raises ResultError where the system does not tell (it takes Linux), or the process fails.
    """
    if not (STATUS.exists() and CLEAR.exists()):
        raise ResultError(
            "the memory of a step is read from /proc, which this system lacks; run the study with --memory-steps and no number behind it"
        )
    asked = json.dumps({"name": name, "config": dataclasses.asdict(config), "inputs": inputs, "classes": classes})
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=asked,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **GIVE_BACK},
    )
    if done.returncode:
        raise ResultError(f"measuring the memory of '{name}' failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def resident_mb(what: str) -> float:
    """VmRSS, resident now, or VmHWM, the most since the peak was reset."""
    found = re.search(rf"{what}:\s*(\d+)", STATUS.read_text())
    assert found, what
    return int(found[1]) / 1024


def measure(name: str, config: Config, inputs: int, classes: int) -> list[float]:
    """The same in this process, for which its own memory should be fresh."""
    import torch

    from spiketwin.experiments.studies.learning_rules.local.methods import method, network

    rule, net = method(name).rule(config, 0), network(config, inputs, classes, 0)
    numbers = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (config.batch_size,), generator=numbers)

    def step(x) -> None:
        net.zero_grad()
        rule(net, x, labels).objective(net).backward()

    step(torch.zeros(2, config.batch_size, inputs))  # compiles what there is to compile
    gc.collect()
    program, peaks = resident_mb("VmRSS"), []
    for steps in config.memory_steps:
        # a tenth of the pixels' spikes, as of digits
        x = (torch.rand(steps, config.batch_size, inputs, generator=numbers) < 0.1 * config.rate_hz * config.dt_ms * 1e-3).float()
        gc.collect()
        CLEAR.write_text(RESET_PEAK)
        step(x)
        peaks.append(round(resident_mb("VmHWM") - program - x.nbytes / 2**20, 2))
    return peaks


if __name__ == "__main__":
    from spiketwin.experiments.studies.learning_rules.local.local_against_global import Config as Settings

    asked = json.loads(sys.stdin.read())
    lists = {k: tuple(v) if isinstance(v, list) else v for k, v in asked["config"].items()}
    print(json.dumps(measure(asked["name"], Settings(**lists), asked["inputs"], asked["classes"])))
