"""Where trials are computed: here, in processes of this machine (joblib's loky), or on a dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from importlib import import_module

from spiketwin.experiments.sweeps.space import SweepError

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Here(Executor):
    """Computes at once, in this process."""

    def submit(self, function, /, *arguments, **named) -> Future:
        future: Future = Future()
        future.set_result(function(*arguments, **named))
        return future


@contextmanager
def executor(workers: int, dask: str | None) -> Iterator[Executor]:
    """A concurrent.futures executor. When the block ends with an error, what it still computes is ended too.

    dask: address of a scheduler, e.g. 'tcp://host:8786'.
    Raises SweepError when the cluster cannot be reached, ImportError that names what to install.
    """
    if workers < 1:
        raise SweepError(f"workers = {workers} must be at least 1")
    if dask:
        with _cluster(dask) as client:
            yield client.get_executor()
    elif workers == 1:
        yield Here()
    else:
        with _processes(workers) as pool:
            yield pool


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    try:
        from joblib.externals.loky import get_reusable_executor
    except ImportError:
        raise ImportError(
            "workers need joblib, which is not installed; install it with: pip install 'spiketwin[sweep]'", name="joblib"
        ) from None
    # the workers together have as many threads as the machine has cores
    each = str(max(1, (os.cpu_count() or 1) // workers))
    pool = get_reusable_executor(max_workers=workers, env={name: os.environ.get(name, each) for name in THREADS})
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, kill_workers=True)
        raise


@contextmanager
def _cluster(address: str) -> Iterator:
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise ImportError(
            "a dask cluster needs dask's distributed, which is not installed; install it with: pip install 'spiketwin[cluster]'",
            name="distributed",
        ) from None
    try:
        client = distributed.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise SweepError(f"there is no dask scheduler at {address} ({error}); start one with: dask scheduler") from None
    with client:
        yield client
