"""How every benchmark here measures. A benchmark file says what to measure:

    def benchmark(quick):
        return Benchmark(
            "train_feedforward", "How long does a training step take?", unit="training step",
            systems=[System("spiketwin", ours, is_peer=False), System("snntorch", snntorch)],
            check=lambda outcomes: equal(outcomes, "loss", rtol=1e-5),
        )

    if __name__ == "__main__":
        main(benchmark)

Each system lives in a process of its own, so that thread pools, allocators and imports do not disturb each other, and so that its
peak memory is its own. `prepare(threads)` imports and builds, and returns `run`; `run()` does the work once and returns
an Outcome. First every system runs WARM_UP times with each thread count it is tried with, the best of which it keeps;
`check` compares what came out. Then the systems take turns. A turn is as many runs as fill TURN_S, after one that is not
counted; its time is their median. Reported are the median, least and largest of the turns.

    python benchmarks/NAME.py [--quick] [--turns 5] [--systems A B] [--out FILE]
    yes '' | head -50 | python benchmarks/NAME.py --only SYSTEM --threads 2     50 runs of one system, e.g. under a profiler
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from spiketwin.experiments.protocol import measured, write_json
from spiketwin.experiments.roofline import Kernel, against_roofline, least_s, machine_rates

WARM_UP = 3
TURN_S = 0.4
RESULTS = Path(__file__).parent / "results"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class BenchmarkError(RuntimeError):
    """A system failed, or systems that must agree do not. The message names them and the values."""


@dataclass(frozen=True)
class Outcome:
    """What one run gave.

    result: numbers and strings that `check` compares.  parts_s: seconds of parts that are reported in rows of their own, such
    as {"main loop": …}.  peak_mb: of a program that the run started, where there is one.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    parts_s: Mapping[str, float] = field(default_factory=dict)
    peak_mb: float | None = None


@dataclass(frozen=True)
class System:
    """One contestant. prepare: threads -> run.

    threads: the counts it is tried with.  units: what one run does (images, say); times are per unit.
    differs: what it computes differently from ours, in a sentence, '' where nothing.  library: its distribution, for the version.
    group: systems of one group take turns; groups follow one another.  is_timed: False for one that is only there to be compared with.
    """

    name: str
    prepare: Callable[[int], Callable[[], Outcome]]
    is_peer: bool = True
    threads: tuple[int, ...] = (1, 2)
    units: int = 1
    differs: str = ""
    library: str = ""
    group: str = ""
    is_timed: bool = True


@dataclass(frozen=True)
class Benchmark:
    """check: outcomes so far (system -> list of results of the warm-up runs) -> None, after each group's warm-up; raises BenchmarkError.
    kernels: threads -> kernels to hold against the roofline.  curves: rows -> {name: {"x", "label", "series"}}.
    notes: what a reader of the numbers should know."""

    name: str
    question: str
    systems: Sequence[System]
    unit: str = "run"
    check: Callable[[Mapping[str, list[Mapping]]], None] = lambda outcomes: None
    kernels: Callable[[int], Sequence[Kernel]] | None = None
    curves: Callable[[Sequence[Mapping]], Mapping] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


# -- what must agree -------------------------------------------------------------------------------------------


def equal(outcomes: Mapping[str, list[Mapping]], key: str, *, rtol: float = 0.0, systems: Iterable[str] | None = None) -> None:
    """Raise BenchmarkError unless `key` is the same for the systems that have it (or those named), run by run, within rtol."""
    chosen = [s for s in outcomes if (s in systems if systems is not None else key in outcomes[s][0])]
    for system in chosen[1:]:
        for n, (a, b) in enumerate(zip(outcomes[chosen[0]], outcomes[system], strict=True)):
            same = a[key] == b[key] if isinstance(a[key], str) or not rtol else abs(a[key] - b[key]) <= rtol * abs(a[key])
            if not same:
                raise BenchmarkError(
                    f"{key} of run {n} is {b[key]} in '{system}' but {a[key]} in '{chosen[0]}'; they must agree within {rtol:g}"
                )


def fingerprint(*arrays) -> str:
    """A digest of integer arrays, such as the steps and neurons of spikes; equal only for equal arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return digest.hexdigest()[:16]


# -- one system in a process of its own -------------------------------------------------------------------------


def resident_mb(what: str = "VmHWM") -> float | None:
    """Largest (VmHWM) or present (VmRSS) resident memory of this process; None where there is no /proc.

    Not getrusage: its peak is inherited from the parent process.
    """
    status = Path("/proc/self/status")
    found = re.search(rf"{what}:\s*(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else None


def serve(system: System, threads: int) -> None:
    """The child: prepare, then one run per line of standard input, each answered by a line of JSON; at the end its memory."""
    # what peers print must not mix with the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = system.prepare(threads)
    idle = resident_mb("VmRSS")
    outcome = Outcome()
    for _ in sys.stdin:
        gc.collect()
        start = time.perf_counter()
        outcome = run()
        print(
            json.dumps({"s": time.perf_counter() - start, "result": dict(outcome.result), "parts_s": dict(outcome.parts_s)}),
            file=answers,
            flush=True,
        )
    peak = resident_mb()
    print(json.dumps({"peak_mb": max(peak or 0, outcome.peak_mb or 0) or None, "idle_mb": idle}), file=answers, flush=True)


class Worker:
    """The parent's end of a child."""

    def __init__(self, script: str, system: System, threads: int, options: Sequence[str]) -> None:
        self.system, self.threads, self.seconds = system, threads, []
        self.parts: dict[str, list[float]] = {}
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, script, "--only", system.name, "--threads", str(threads), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))},
        )

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise BenchmarkError(f"'{self.system.name}' failed:\n{self.errors.read()[-3000:]}")
        return json.loads(line)

    def run(self) -> dict[str, Any]:
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # _answer says why
        return self._answer()

    def turn(self) -> None:
        """One turn: the median of as many runs as fill TURN_S; the first is only counted where it fills it alone."""
        answers = [self.run()]
        if answers[0]["s"] < TURN_S:
            count = max(1, min(100, int(TURN_S / max(answers[0]["s"], 1e-6))))
            answers = [self.run() for _ in range(count)]
        self.seconds.append(median(a["s"] for a in answers))
        for part in answers[0]["parts_s"]:
            self.parts.setdefault(part, []).append(median(a["parts_s"][part] for a in answers))

    def close(self) -> dict[str, Any]:
        """End the child. Returns its peak_mb and idle_mb."""
        self.process.stdin.close()
        memory = self._answer()
        self.process.wait()
        return memory

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


# -- all systems --------------------------------------------------------------------------------------------------


def measure(script: str, systems: Sequence[System], check, *, turns: int, options: Sequence[str] = (), say=print):
    """(rows, outcomes) of systems that take turns. outcomes: system -> results of the warm-up runs, which `check` sees before the turns."""
    workers: list[Worker] = []
    try:
        outcomes = {}
        for system in systems:
            tried = []
            counts = system.threads if system.is_timed else system.threads[:1]
            for threads in counts:
                worker = Worker(script, system, threads, options)
                workers.append(worker)
                outcomes[system.name] = [worker.run()["result"] for _ in range(WARM_UP)]
                tried.append((min(worker.run()["s"] for _ in range(4)) if len(counts) > 1 else 0.0, worker))
            best = min(tried, key=lambda t: t[0])[1]
            for _, worker in tried:
                if worker is not best or not system.is_timed:
                    worker.close()
                    workers.remove(worker)
            said = ", ".join(f"{1e3 * s:.1f} ms with {w.threads}" for s, w in tried) if len(tried) > 1 else "ready"
            say(f"  {system.name}: {said}" + (" threads" if len(tried) > 1 else ""))
        check(outcomes)
        for turn in range(turns):
            for worker in workers:
                worker.turn()
            say(f"  turn {turn + 1} of {turns}")
        rows = [row for worker in workers for row in _rows(worker, worker.close())]
        for row in rows:
            say(f"  {row['system']}: {row['median_ms']:.2f} ms")
        return rows, outcomes
    except BaseException:
        for worker in workers:
            worker.kill()
        raise


def _rows(worker: Worker, memory: Mapping) -> Iterable[dict[str, Any]]:
    system = worker.system
    for part, seconds in {"": worker.seconds, **worker.parts}.items():
        ms = [1e3 * s / system.units for s in seconds]
        row = {
            "system": f"{system.name}, {part}" if part else system.name,
            "median_ms": median(ms),
            "min_ms": min(ms),
            "max_ms": max(ms),
            "peak_mb": None,
            "runs": len(ms),
            "threads": worker.threads,
        }
        # memory belongs to the whole
        yield row | ({"part": part} if part else memory)


def ratios(rows: Sequence[Mapping], systems: Sequence[System]) -> dict[str, Any]:
    """How many times longer each system takes than ours (the first that is no peer), the whole and each part; within its group."""
    first = next((s for s in systems if not s.is_peer), None)
    if first is None or len(rows) == 1:
        return {"ratio_to_best_peer": None, "ratio_to": {}}
    ours, ms = first.name, {row["system"]: row["median_ms"] for row in rows}
    systems = [s for s in systems if s.group == first.group]
    parts = [row["part"] for row in rows if row.get("part") and row["system"] == f"{ours}, {row['part']}"]
    to: dict[str, float] = {}
    best: dict[str, float | None] = {}
    for part in ["", *parts]:
        ending = f", {part}" if part else ""
        found = {s: ms[f"{s.name}{ending}"] / ms[f"{ours}{ending}"] for s in systems if f"{s.name}{ending}" in ms and s.name != ours}
        to |= {f"{s.name}{ending}": ratio for s, ratio in found.items()}
        best[part] = min((ratio for s, ratio in found.items() if s.is_peer), default=None)
    of_parts = {part: ratio for part, ratio in best.items() if part and ratio is not None}
    return {"ratio_to_best_peer": best[""], "ratio_to": to} | ({"ratio_to_best_peer_of_part": of_parts} if of_parts else {})


# -- the roofline ---------------------------------------------------------------------------------------------------


def roofline(script: str, threads: int, rows: Sequence[Mapping], options: Sequence[str]) -> dict[str, Any]:
    """Measured in a process of its own, with the thread count of our system."""
    ran = subprocess.run(
        [sys.executable, script, "--roofline", "--threads", str(threads), *options],
        input=json.dumps({row["system"]: row["median_ms"] for row in rows}),
        capture_output=True,
        text=True,
        env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))},
    )
    if ran.returncode:
        raise BenchmarkError(f"the roofline failed:\n{ran.stderr[-3000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


def print_roofline(benchmark: Benchmark, threads: int) -> None:
    """The child of `roofline`: medians by row on standard input, JSON out."""
    ms = json.loads(sys.stdin.read() or "{}")
    rates = machine_rates(threads)
    kernels = benchmark.kernels(threads) if benchmark.kernels else ()
    times = {k.name: 1e3 * least_s(k.run, 7) if k.run else ms.get(k.name) if k.ms is None else k.ms for k in kernels}
    found = [against_roofline(k, times[k.name], rates) for k in kernels if times[k.name] is not None]
    print(json.dumps({**rates, "threads": threads, "kernels": found}))


# -- the command --------------------------------------------------------------------------------------------------


def compare(script: str, benchmark: Benchmark, *, turns: int, quick: bool) -> dict[str, Any]:
    """What the result file of a benchmark holds."""
    options = ["--quick"] if quick else []
    rows: list[dict[str, Any]] = []
    outcomes: dict[str, list[Mapping]] = {}
    print(f"{benchmark.name}: {benchmark.question}", flush=True)
    with measured(
        question=benchmark.question, unit=benchmark.unit, load_average=os.getloadavg()[0], notes=dict(benchmark.notes)
    ) as provenance:
        for group in dict.fromkeys(s.group for s in benchmark.systems):
            members = [s for s in benchmark.systems if s.group == group]
            earlier = dict(outcomes)
            some, more = measure(
                script,
                members,
                lambda found, earlier=earlier: benchmark.check(earlier | found),
                turns=turns,
                options=options,
                say=lambda text: print(text, flush=True),
            )
            rows, outcomes = rows + some, outcomes | more
        ours = next((s.name for s in benchmark.systems if not s.is_peer), benchmark.systems[0].name)
        threads = next(row["threads"] for row in rows if row["system"] == ours)
        roof = roofline(script, threads, rows, options)
    provenance["versions"] |= {s.library: metadata.version(s.library) for s in benchmark.systems if s.library}
    provenance["machine"]["model"] = processor()
    return {
        "rows": rows,
        **ratios(rows, benchmark.systems),
        "differs": {s.name: s.differs for s in benchmark.systems if s.differs},
        "outcomes": {name: dict(results[0]) for name, results in outcomes.items() if results and results[0]},
        "roofline": roof,
        **({"curves": benchmark.curves(rows)} if benchmark.curves else {}),
        "provenance": provenance,
    }


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found[1].strip() if found else ""


def print_table(result: Mapping[str, Any]) -> None:
    width = max(len(row["system"]) for row in result["rows"])
    print(f"{'':{width}}  {'median ms':>10}  {'least … largest':>20}  {'ratio':>7}  {'peak MB':>8}  threads")
    for row in result["rows"]:
        spread = f"{row['min_ms']:.2f} … {row['max_ms']:.2f}"
        ratio, peak = result["ratio_to"].get(row["system"]), row["peak_mb"]
        said = f"{ratio:.2f}" if ratio else "", f"{peak:.0f}" if peak else ""
        print(f"{row['system']:{width}}  {row['median_ms']:10.2f}  {spread:>20}  {said[0]:>7}  {said[1]:>8}  {row['threads']}")
    roof = result["roofline"]
    print(f"copy {roof['copy_gb_per_s']:.1f} GB/s, matrix product {roof['gemm_gflop_per_s']:.0f} GFLOP/s, {roof['threads']} threads")
    for k in roof["kernels"]:
        print(f"  {k['kernel']}: {k['ms']:.2f} ms, {k['times_bound']:.1f} times the least {k['bound_ms']:.2f} ms ({k['limited_by']})")
    if result["ratio_to_best_peer"]:
        print(f"{result['ratio_to_best_peer']:.2f} times as fast as the best peer")
    for part, ratio in result.get("ratio_to_best_peer_of_part", {}).items():
        print(f"{ratio:.2f} times in the {part} alone")


def main(benchmark: Callable[[bool], Benchmark], arguments: Sequence[str] | None = None) -> None:
    """The command line of a benchmark file. benchmark: quick -> Benchmark."""
    parser = argparse.ArgumentParser(
        description=sys.modules[benchmark.__module__].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smaller problem and two turns, for development; writes no file unless --out is given"
    )
    parser.add_argument("--turns", type=int, help="turns of each system, at least 5 for a result (default: 5, with --quick 2)")
    parser.add_argument("--systems", nargs="+", metavar="SYSTEM", help="only these; writes no file unless --out is given")
    parser.add_argument("--out", type=Path, help="result file (default: benchmarks/results/NAME.json)")
    parser.add_argument("--only", metavar="SYSTEM", help="be the process of one system: one run per line of standard input")
    parser.add_argument("--roofline", action="store_true", help="measure the machine and our kernels, and print JSON")
    parser.add_argument("--threads", type=int, help="try this count only; writes no file unless --out is given")
    given = parser.parse_args(arguments)
    what = benchmark(given.quick)
    by_name = {s.name: s for s in what.systems}
    if strange := [name for name in [*(given.systems or ()), *([given.only] if given.only else [])] if name not in by_name]:
        parser.error(f"there is no system '{strange[0]}'; choose from: {', '.join(by_name)}")
    if given.only:
        return serve(by_name[given.only], given.threads or 1)
    if given.roofline:
        return print_roofline(what, given.threads or 1)
    if given.systems:
        what = replace(what, systems=[by_name[name] for name in given.systems])
    if given.threads:
        what = replace(what, systems=[replace(s, threads=(given.threads,)) for s in what.systems])
    try:
        result = compare(sys.argv[0], what, turns=given.turns or (2 if given.quick else 5), quick=given.quick)
    except BenchmarkError as error:
        sys.exit(f"{what.name}: {error}")
    print_table(result)
    out = given.out or (None if given.quick or given.systems or given.threads else RESULTS / f"{what.name}.json")
    if out:
        print(f"written: {write_json(out, result)}")
