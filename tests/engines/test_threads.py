"""Parts on torch's threads: all are done once, on its pool, and nothing is swallowed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from spiketwin.models.engines import threads
from spiketwin.models.engines.threads import run_parts


@pytest.fixture(params=["torch's threads", "Python's threads"])
def pool(request, monkeypatch):
    if request.param == "Python's threads":
        monkeypatch.setattr(threads, "_gomp_parallel", lambda: None)
    elif threads._gomp_parallel() is None:
        pytest.skip("this build of torch uses no OpenMP library with GOMP_parallel")
    return request.param


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("parts", [0, 1, 2, 3, 100])
def test_every_part_is_done_once(pool, two_threads, parts):
    done = np.zeros(parts, int)

    def add(k):
        done[k] += 1

    run_parts(add, parts)
    assert (done == 1).all()


def test_parts_run_side_by_side(pool, two_threads):
    # each part waits for the other: one thread alone would time out
    meeting = threading.Barrier(2, timeout=20)
    run_parts(lambda k: meeting.wait(), 2)


def test_one_thread_runs_the_parts_in_order():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seen = []
        run_parts(lambda k: seen.append((k, threading.get_ident())), 5)
        assert seen == [(k, threading.get_ident()) for k in range(5)]
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc, which Linux has")
@pytest.mark.skipif(threads._gomp_parallel() is None, reason="this build of torch uses no OpenMP library with GOMP_parallel")
def test_torchs_threads_are_used_and_no_others(two_threads):
    (torch.ones(1 << 20) + 1).sum()  # starts torch's pool
    before, used = set(os.listdir("/proc/self/task")), set()

    def note(k):
        used.add(str(threading.get_native_id()))
        time.sleep(0.01)

    for _ in range(3):
        run_parts(note, 8)
    assert len(used) == 2 and used <= before
    assert set(os.listdir("/proc/self/task")) == before


def test_an_exception_comes_through_and_stops_the_rest(pool, two_threads):
    done = []

    def work(k):
        if k == 3:
            raise ValueError("part 3 is broken")
        time.sleep(0.001)
        done.append(k)

    with pytest.raises(ValueError, match="part 3 is broken"):
        run_parts(work, 1000)
    assert len(done) < 1000
    run_parts(done.append, 2)  # and the pool still works
    assert done[-2:] in ([0, 1], [1, 0])


def test_parts_within_parts_and_within_a_backward_pass(pool, two_threads):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.square()

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            out = torch.empty_like(x)

            def outer(k):
                def inner(j):
                    out[k, j] = 2 * x[k, j] * gradient[k, j]

                run_parts(inner, x.shape[1])

            run_parts(outer, x.shape[0])
            return out

    x = torch.arange(12.0).view(4, 3).requires_grad_()
    Square.apply(x).sum().backward()
    assert torch.equal(x.grad, 2 * x.detach())


def test_a_thread_of_ones_own_may_run_parts(pool, two_threads):
    done = np.zeros(6, int)

    def add(k):
        done[k] += 1

    thread = threading.Thread(target=run_parts, args=(add, 6))
    thread.start()
    thread.join(20)
    assert not thread.is_alive() and (done == 1).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_does_not_wait_for_its_parents_threads():
    # libgomp hangs in a child of a process whose threads have started
    program = """
import os, torch
from spiketwin.models.engines.threads import run_parts
torch.set_num_threads(2)
run_parts(lambda k: None, 4)
child = os.fork()
if child == 0:
    done = []
    run_parts(done.append, 4)
    os._exit(0 if sorted(done) == [0, 1, 2, 3] else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n", done.stderr


def test_without_torch_the_environment_says_how_many():
    program = """
import sys
from spiketwin.models.engines.threads import run_parts, threads
done = []
run_parts(done.append, 9)
assert "torch" not in sys.modules and sorted(done) == list(range(9))
print(threads())
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "3\n", done.stderr
