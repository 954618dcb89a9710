"""The harness, on systems that only sleep and allocate: no peer is needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness import BenchmarkError, Kernel, System, against_roofline, equal, fingerprint, ratios

HARNESS = Path(__file__).resolve().parents[2] / "benchmarks"

TOY = """
import os, sys, time
sys.path.insert(0, {harness!r})
from harness import Benchmark, Kernel, Outcome, System, equal, main

def sleeper(seconds, megabytes=0, loss=1.0):
    def prepare(threads):
        assert os.environ["OMP_NUM_THREADS"] == str(threads)
        print("a peer that greets")
        def run():
            block = bytearray(megabytes << 20)
            # so much faster with its favourite count that a busy machine cannot hide it
            time.sleep(seconds * (1 if threads == 2 else 10))
            return Outcome({{"loss": loss}}, {{"main loop": seconds / 2}})
        return run
    return prepare

def broken(threads):
    raise ImportError("no module named peer")

def benchmark(quick):
    systems = [
        System("ours", sleeper(0.02), is_peer=False),
        System("slow", sleeper(0.08, megabytes=64), units=2, differs="sleeps longer"),
        System("slower", sleeper(0.12), threads=(2,)),
        System("wrong", sleeper(0.02, loss=1.1), threads=(1,), group="other"),
        System("broken", broken),
    ]
    return Benchmark("toy", "Who sleeps longest?", systems, unit="nap", check=lambda o: equal(o, "loss", rtol=1e-6),
                     kernels=lambda threads: [Kernel("ours", bytes=1e6)])

if __name__ == "__main__":
    main(benchmark)
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    script = tmp_path_factory.mktemp("toy") / "toy.py"
    script.write_text(TOY.format(harness=str(HARNESS)))

    def run(*arguments, **options):
        return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, **options)

    run.script = script
    return run


def test_systems_take_turns_and_the_result_says_who_is_faster(toy, tmp_path):
    out = tmp_path / "toy.json"
    done = toy("--turns", "2", "--systems", "ours", "slow", "slower", "--out", str(out))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    rows = {row["system"]: row for row in result["rows"]}
    assert list(rows) == ["ours", "ours, main loop", "slow", "slow, main loop", "slower", "slower, main loop"]
    for row in rows.values():
        assert row["min_ms"] <= row["median_ms"] <= row["max_ms"] and row["runs"] == 2
        assert row["threads"] == 2  # the better of 1 and 2
    assert 20 <= rows["ours"]["median_ms"] < 40
    assert rows["slow"]["median_ms"] >= 40  # 80 ms for two units
    # sleeping is never shorter than asked; a busy machine makes it longer
    assert result["ratio_to_best_peer"] == min(result["ratio_to"]["slow"], result["ratio_to"]["slower"]) > 1
    assert result["ratio_to"]["slow, main loop"] == pytest.approx(2)  # 40 ms for two units over 10 ms
    assert result["ratio_to_best_peer_of_part"] == {"main loop": pytest.approx(2)}
    if Path("/proc/self/status").exists():
        assert rows["slow"]["peak_mb"] > rows["ours"]["peak_mb"] + 50  # its 64 MB
        assert rows["ours, main loop"]["peak_mb"] is None
    (kernel,) = result["roofline"]["kernels"]
    assert kernel["ms"] == rows["ours"]["median_ms"] and kernel["times_bound"] > 1
    assert result["differs"] == {"slow": "sleeps longer"}
    assert result["provenance"]["unit"] == "nap" and result["provenance"]["versions"]["numpy"]
    assert "times as fast as the best peer" in done.stdout


def test_systems_that_disagree_give_no_result(toy, tmp_path):
    out = tmp_path / "toy.json"
    done = toy("--turns", "1", "--systems", "slower", "wrong", "--out", str(out))
    assert done.returncode != 0 and "loss of run 0 is 1.1 in 'wrong' but 1.0 in 'slower'" in done.stderr
    assert not out.exists()


def test_a_system_that_fails_is_named(toy):
    done = toy("--turns", "1", "--systems", "broken")
    assert done.returncode != 0 and "'broken' failed" in done.stderr and "no module named peer" in done.stderr


def test_an_unknown_system_is_named(toy):
    done = toy("--systems", "nobody")
    assert done.returncode != 0 and "no system 'nobody'; choose from: ours, slow" in done.stderr


def test_the_child_answers_line_by_line(toy):
    env = {"OMP_NUM_THREADS": "2", "PYTHONPATH": ":".join(filter(None, sys.path))}
    done = toy("--only", "ours", "--threads", "2", input="\n\n", env=env)
    first, second, memory = map(json.loads, done.stdout.splitlines())
    assert first["result"] == second["result"] == {"loss": 1.0} and first["s"] >= 0.02
    assert set(memory) == {"peak_mb", "idle_mb"}


def test_ratios_leave_out_what_is_not_there():
    def system(name, is_peer):
        return System(name, lambda threads: None, is_peer=is_peer)

    rows = [{"system": "ours", "median_ms": 2.0}, {"system": "variant", "median_ms": 1.0}, {"system": "peer", "median_ms": 6.0}]
    found = ratios(rows, [system("ours", False), system("variant", False), system("peer", True)])
    assert found == {"ratio_to_best_peer": 3.0, "ratio_to": {"variant": 0.5, "peer": 3.0}}
    loop = [{"system": f"{name}, loop", "part": "loop", "median_ms": ms} for name, ms in (("ours", 1.0), ("peer", 5.0))]
    found = ratios([*rows, *loop], [system("ours", False), system("variant", False), system("peer", True)])
    assert found["ratio_to"]["peer, loop"] == 5.0 and found["ratio_to_best_peer_of_part"] == {"loop": 5.0}
    assert ratios(rows[:1], [system("ours", False)]) == {"ratio_to_best_peer": None, "ratio_to": {}}


def test_the_roofline_by_hand():
    rates = {"copy_gb_per_s": 10.0, "gemm_gflop_per_s": 100.0}
    # 20 MB at 10 GB/s take 2 ms; 0.1 GFLOP at 100 GFLOP/s take 1 ms
    bound = against_roofline(Kernel("k", bytes=20e6, flops=0.1e9), 3.0, rates)
    assert bound["bound_ms"] == pytest.approx(2) and bound["limited_by"] == "memory" and bound["times_bound"] == pytest.approx(1.5)
    assert against_roofline(Kernel("k", bytes=0, flops=0.1e9), 3.0, rates)["limited_by"] == "arithmetic"


def test_equal_compares_run_by_run():
    outcomes = {"a": [{"loss": 1.0}, {"loss": 0.5}], "b": [{"loss": 1.0}, {"loss": 0.6}], "c": [{}, {}]}
    with pytest.raises(BenchmarkError, match="run 1"):
        equal(outcomes, "loss", rtol=0.1)
    equal(outcomes, "loss", rtol=0.25)
    equal({"a": [{"spikes": fingerprint([1, 2])}], "b": [{"spikes": fingerprint([1, 2])}]}, "spikes")
    with pytest.raises(BenchmarkError, match="spikes"):
        equal({"a": [{"spikes": fingerprint([1, 2])}], "b": [{"spikes": fingerprint([2, 1])}]}, "spikes")
