"""A liquid: 1000 LIF neurons with 10 % random connectivity, 1 s at dt 0.5 ms, compiled against Brian2.

    python benchmarks/liquid.py [--runs 5] [--out benchmarks/results/liquid.json]

Times are of a whole run in a warm process, from the network to its spikes, with code already compiled; runs
of all systems take turns. The spikes must be equal. 'compiled, loop' is the time loop alone.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import scipy.sparse

from spiketwin.experiments.protocol import measured, write_json
from spiketwin.models.engines.base import prepare
from spiketwin.models.engines.compiled import ENGINE as COMPILED
from spiketwin.models.engines.compiled.program import Program
from spiketwin.models.network import Network, Population, Projection
from spiketwin.models.neurons import neuron

SIZE, CONNECTIVITY, DT_MS, DURATION_MS = 1000, 0.1, 0.5, 1000.0
OURS, LOOP, PEERS = "compiled", "compiled, loop", ("brian2 cython", "brian2 numpy")


def liquid(seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    weights = scipy.sparse.random_array(
        (SIZE, SIZE), density=CONNECTIVITY, format="csc", rng=rng, data_sampler=lambda size: rng.normal(0, 30, size)
    )
    # 18-23 mV of drive for 20 mV to threshold: irregular firing near 20 Hz
    population = Population("liquid", neuron("cuba_lif"), SIZE, drives={"i_ext": rng.uniform(0.18e-9, 0.23e-9, SIZE)})
    return Network([population], [Projection("liquid", "liquid", weights, "i_syn", unit="pA")])


def whole_run(system: str, network: Network):
    """Seconds and spikes of one run."""
    if system == LOOP:
        program = Program(prepare(network, dt_ms=DT_MS, scheme="exact", duration_ms=DURATION_MS), np.dtype("float64"))
        start = time.perf_counter()
        program.execute(threads=1)
        return time.perf_counter() - start, program.recording().spikes["liquid"]
    if system == OURS:
        engine = COMPILED
    else:
        from spiketwin.models.engines.brian import BrianEngine

        engine = BrianEngine(codegen=system.removeprefix("brian2 "))
    start = time.perf_counter()
    recording = engine.run(network, dt_ms=DT_MS, scheme="exact", duration_ms=DURATION_MS)
    return time.perf_counter() - start, recording.spikes["liquid"]


def peak_mb(system: str) -> float | None:
    """Largest resident memory of a fresh process that runs the system once; None where there is no /proc, or for a part of a run."""
    if system == LOOP or not Path("/proc/self/status").exists():
        return None
    done = subprocess.run([sys.executable, __file__, "--only", system], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def roofline(seconds: float, spikes: int, synapses: int) -> dict:
    """Bytes the loop must move if nothing stayed in cache, against a measured copy."""
    steps = int(DURATION_MS / DT_MS)
    # v and i_syn read and written, i_ext, refractory step, spike flag; a synapse: index, weight, target read and written
    moved = steps * SIZE * (2 * 16 + 8 + 4 + 1) + spikes * synapses / SIZE * (4 + 8 + 16)
    source = np.ones(1 << 25)
    target = np.empty_like(source)
    copies = []
    for _ in range(5):
        start = time.perf_counter()
        target[:] = source
        copies.append(time.perf_counter() - start)
    copy = 2 * source.nbytes / min(copies)
    return {"gb_per_s": moved / seconds / 1e9, "copy_gb_per_s": copy / 1e9, "note": "the working set of 1.2 MB lies in cache"}


def compare(runs: int) -> dict:
    network, systems = liquid(), (OURS, LOOP, *PEERS)
    with measured(question="How long does 1 s of a liquid of 1000 LIF neurons take?") as provenance:
        print("compiling …", flush=True)
        reference = {system: whole_run(system, network)[1] for system in systems}
        for system, spikes in reference.items():
            if not spikes.equals(reference[OURS]) or len(spikes) < SIZE:
                raise SystemExit(f"{system} gives {len(spikes)} spikes and {OURS} {len(reference[OURS])}; the trains must be equal")
        seconds: dict[str, list[float]] = {system: [] for system in systems}
        for _ in range(runs):
            for system in systems:
                seconds[system].append(whole_run(system, network)[0])
    ms = {system: [1e3 * s for s in values] for system, values in seconds.items()}
    rows = [
        {"system": s, "median_ms": median(v), "min_ms": min(v), "max_ms": max(v), "peak_mb": peak_mb(s), "runs": runs}
        for s, v in ms.items()
    ]
    ratio = {peer: median(ms[peer]) / median(ms[OURS]) for peer in PEERS}
    provenance |= {"spikes": len(reference[OURS]), "load_average": os.getloadavg()[0]}
    synapses = network.projections[0].weights.nnz
    return {
        "rows": rows,
        "ratio_to_best_peer": min(ratio.values()),
        "ratio_to": ratio,
        "roofline": roofline(median(ms[LOOP]) / 1e3, len(reference[OURS]), synapses),
        "provenance": provenance,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each system")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "liquid.json")
    parser.add_argument("--only", choices=(OURS, *PEERS), help="run one system once and print its peak memory in MB")
    arguments = parser.parse_args()
    if arguments.only:
        whole_run(arguments.only, liquid())
        # not getrusage: its peak is inherited from the parent process
        print(int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
        return
    result = compare(arguments.runs)
    for row in result["rows"]:
        print(f"{row['system']:16} {row['median_ms']:9.1f} ms  ({row['min_ms']:.1f} … {row['max_ms']:.1f})")
    for peer, ratio in result["ratio_to"].items():
        print(f"{ratio:.1f} times faster than {peer}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    print(f"written: {write_json(arguments.out, result)}")


if __name__ == "__main__":
    main()
