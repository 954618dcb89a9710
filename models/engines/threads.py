"""Parts of a job, shared out over the threads that torch computes with.

Two thread pools on the same cores fight: a pool of our own next to torch's makes a training step 1.5-2 times as long,
because torch's threads keep spinning for a while after each of its operations. So compiled kernels run on torch's
OpenMP threads, started as compilers start them: GOMP_parallel(function, data, threads, flags) of the OpenMP
library that torch is linked with (libgomp, or Intel's and LLVM's, which offer the same entry). Where there is none, or
torch is not loaded, Python's threads do the same work.

Who runs a part never changes its result. Let the number of parts follow from the job (the batch, say), not from the
machine, and sums over parts be taken in the order of the parts: then results do not depend on the number of threads.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # void region(void *data), run once by every thread


def run_parts(function: Callable[[int], object], parts: int) -> None:
    """function(k) for k = 0 … parts - 1, side by side on as many threads as `threads()` says.

    The function should release the GIL (a nogil numba kernel, or numpy and torch operations, which then use one
    thread each); it may be called from within torch's backward pass, and from within another part, which then runs its
    parts one after the other. The first exception is raised here once the parts that have begun are done; no further ones begin.
    """
    team = threads()
    if parts <= 1 or team <= 1:
        for k in range(parts):
            function(k)
        return
    waiting, failures = iter(range(parts)), []

    def work(_=None) -> None:
        # next() holds the GIL, so no part is taken twice; parts go to whoever is free
        try:
            for k in waiting:
                if failures:
                    return
                function(k)
        except BaseException as failure:  # also KeyboardInterrupt: it must not end in foreign code
            failures.append(failure)

    if start := _gomp_parallel():
        # always the whole team, also for fewer parts: libgomp ends the threads that a smaller team leaves out
        start(REGION(work), None, team, 0)
    else:
        with ThreadPoolExecutor(team) as pool:
            list(pool.map(work, range(team)))
    if failures:
        raise failures[0]


def threads() -> int:
    """torch.get_num_threads() where torch is loaded, else $OMP_NUM_THREADS, else one per core."""
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return (int(asked) if asked.isdigit() else 0) or os.cpu_count() or 1


def _gomp_parallel():
    """The function that starts a parallel region on torch's threads, or None."""
    torch = sys.modules.get("torch")
    return _entry(str(torch.__file__)) if torch and not _forked else None


@lru_cache(maxsize=1)
def _entry(torch_file: str):
    # Looked up through torch's own library, the search takes its dependencies in: among several OpenMP libraries in
    # the process (scikit-learn brings one) this finds the one torch uses.
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        try:
            entry = ctypes.CDLL(str(Path(torch_file).parent / "lib" / name)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        entry.argtypes, entry.restype = [REGION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
        return entry
    return None


_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


# A forked child has the parent's record of its OpenMP threads, but not the threads: libgomp would wait for them forever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
