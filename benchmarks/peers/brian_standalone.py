"""A network as a Brian2 C++ stand-alone program: the fastest way its documentation offers to simulate on a CPU."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import brian2
import numpy as np

from spiketwin.models.engines.base import prepare
from spiketwin.models.engines.brian import integrators
from spiketwin.models.engines.brian_script import brian_unit, equations_of, shared_parameters
from spiketwin.models.network import Network
from spiketwin.models.spikes import Spikes


@dataclass
class Program:
    """The built program. build_s: code generation and compilation."""

    directory: Path
    build_s: float
    shape: dict[str, tuple[int, int, int]]
    dt_ms: float
    monitors: dict[str, brian2.SpikeMonitor] = field(default_factory=dict)

    def run(self) -> float:
        """Start the program and wait for its end. Returns the seconds that Brian2 itself reports for its main loop."""
        subprocess.run(["./main"], cwd=self.directory, check=True, stdout=subprocess.DEVNULL)
        return float((self.directory / "results" / "last_run_info.txt").read_text().split()[0])

    def spikes(self) -> dict[str, Spikes]:
        """Population -> what the last run wrote."""
        found = {}
        for name, monitor in self.monitors.items():
            step = np.rint(self._written(monitor.variables["t"]) / (self.dt_ms * 1e-3)).astype(int)
            found[name] = Spikes(step, np.zeros(len(step), int), self._written(monitor.variables["i"]), self.shape[name], self.dt_ms)
        return found

    def _written(self, variable) -> np.ndarray:
        """What the program wrote; Brian2 itself reads only results of programs that it started."""
        return np.fromfile(self.directory / "results" / brian2.get_device().get_array_filename(variable), dtype=variable.dtype)

    def peak_mb(self) -> float | None:
        """Largest resident memory of one more run; None where there is no /proc."""
        process, peak = subprocess.Popen(["./main"], cwd=self.directory, stdout=subprocess.DEVNULL), None
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            if status.exists() and (found := re.search(r"VmHWM:\s*(\d+)", status.read_text())):
                peak = int(found[1]) / 1024
            time.sleep(1e-3)
        return peak


def build(network: Network, *, dt_ms: float, scheme: str, duration_ms: float, threads: int = 1) -> Program:
    """Generate and compile the program, with OpenMP for more than one thread. One per process: Brian2's device is global.

    For networks of populations with constant drives and projections with one delay each; Brian2's own integrators.
    """
    run = prepare(network, dt_ms=dt_ms, scheme=scheme, duration_ms=duration_ms)
    methods = integrators(run)  # before the device is set: it tries groups of its own
    directory = Path(tempfile.mkdtemp(prefix="brian2-standalone-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    start = time.perf_counter()
    brian2.set_device("cpp_standalone", directory=str(directory), build_on_run=False)
    brian2.prefs.devices.cpp_standalone.openmp_threads = threads if threads > 1 else 0
    brian2.prefs.devices.cpp_standalone.extra_make_args_unix = [f"-j{os.cpu_count()}"]
    brian2.defaultclock.dt = dt_ms * brian2.ms
    made = brian2.Network()
    groups, monitors = {}, {}
    for p in network.populations:
        spec, method = p.neuron, methods[p.name]
        assert method.name, f"Brian2 has no integrator of its own for {spec.name} and {scheme}"
        shared, own = shared_parameters(p)
        unit = {n: eval(brian_unit(spec.dimension(n)), {}, vars(brian2)) for n in (*spec.parameters, *spec.drives, *spec.states)}
        options = {"threshold": spec.threshold, "reset": spec.reset.strip(), "refractory": spec.refractory}
        group = brian2.NeuronGroup(
            p.size,
            "\n".join(equations_of(p)),
            method=method.name,
            namespace={n: v * unit[n] for n, v in shared.items()},
            **{k: v for k, v in options.items() if v},
        )
        for name, value in {**own, **p.drive_values(), **p.initial_values()}.items():
            if np.any(value):
                setattr(group, name, value * unit[name])
        groups[p.name], monitors[p.name] = group, brian2.SpikeMonitor(group)
        made.add(group, monitors[p.name])
    for q in network.projections:
        pre, post, weight, delay_ms = q.synapses()
        unit = brian_unit(network.population(q.target).neuron.dimension(q.receptor))
        synapses = brian2.Synapses(
            groups[q.source],
            groups[q.target],
            f"weight : {unit} (constant)",
            on_pre=f"{q.receptor}_post += weight",
            delay=float(delay_ms[0]) * brian2.ms if delay_ms.any() else None,
        )
        synapses.connect(i=pre, j=post)
        synapses.weight = weight * eval(unit, {}, vars(brian2))
        made.add(synapses)
    made.run(run.steps * dt_ms * brian2.ms)
    brian2.device.build(directory=str(directory), compile=True, run=False, debug=False)
    shape = {p.name: (run.steps, 1, p.size) for p in network.populations}
    return Program(directory, time.perf_counter() - start, shape, dt_ms, monitors)
