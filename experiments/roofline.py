"""How fast a part of a computation could be at best on this machine: the roofline.

A kernel must move some bytes to or from memory and do some floating point operations. It cannot be faster than the
bytes at the rate of a copy, nor than the operations at the rate of a matrix product; both rates are measured.

Source: Williams, Waterman & Patterson 2009, Roofline: an insightful visual performance model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spiketwin.models.engines.torch import TorchNetwork


@dataclass(frozen=True)
class Kernel:
    """A part of our work with what it costs at least: bytes that must move to or from memory, floating point operations.

    Neither counts what a cache can hold. run: does it once.  ms: its time, where it can only be measured as a part of something
    else.  Without both the time is that of the row called `name`.
    """

    name: str
    bytes: float
    flops: float = 0.0
    run: Callable[[], Any] | None = None
    ms: float | None = None


def machine_rates(threads: int, megabytes: int = 256, size: int = 1536) -> dict[str, float]:
    """Measured bytes per second of a copy (read plus written) and float32 operations per second of a matrix product."""
    import torch

    torch.set_num_threads(threads)
    source = torch.ones(megabytes << 18)
    target, a = torch.empty_like(source), torch.rand(size, size)
    copy = least_s(lambda: target.copy_(source), 7)
    product = least_s(lambda: a @ a, 5)
    return {"copy_gb_per_s": 2 * source.nbytes / copy / 1e9, "gemm_gflop_per_s": 2 * size**3 / product / 1e9}


def least_s(run: Callable[[], Any], times: int) -> float:
    """Seconds of the fastest of `times` runs, after one that is not counted."""
    run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def against_roofline(kernel: Kernel, ms: float, rates: Mapping[str, float]) -> dict[str, Any]:
    """bound_ms: no kernel can be faster, be it for the bytes or for the operations; times_bound: how far from it this one is."""
    memory, compute = kernel.bytes / rates["copy_gb_per_s"] / 1e6, kernel.flops / rates["gemm_gflop_per_s"] / 1e6
    bound = max(memory, compute)
    return {
        "kernel": kernel.name,
        "bytes": kernel.bytes,
        "flops": kernel.flops,
        "bound_ms": bound,
        "limited_by": "memory" if memory >= compute else "arithmetic",
        "ms": ms,
        "times_bound": ms / bound if bound else None,
    }


def training_kernels(
    module: TorchNetwork, step: Callable[[], Any], *, steps: int, trials: int, events: float, rounds: int = 10
) -> list[Kernel]:
    """The fused kernels of a training step, forward and backward, with the times torch's profiler sees in `rounds` steps.

    step: one training step of `module` on `trials` of `steps` steps each, `events` input spikes in all. Counted is what
    no cache can hold: what is kept of each neuron and step, written forward and read backward, spikes written as a
    tensor, input events; and some ten operations to advance a neuron, one per weight that an event adds, two per
    weight that a gradient goes back through. [] where no kernel runs.
    """
    import torch

    for _ in range(3):
        step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(rounds):
            step()
    ms = {event.key: event.cpu_time_total / 1e3 / rounds for event in profile.key_averages()}
    if "_Fused" not in ms:
        return []
    plan, network = module.plan(), module.network
    rows = {p.name: steps * trials * p.size for p in network.populations}
    kept = sum(n * plan[name].kept_bytes for name, n in rows.items())
    spikes = sum(n * module.like.element_size() for name, n in rows.items() if network.population(name).neuron.threshold)
    first = {p.source for p in network.projections if p.source not in rows}
    added = events * sum(p.shape[0] for p in network.projections if p.source in first)
    returned = sum(2 * rows[p.source] * p.shape[0] for p in network.projections if p.source in rows)
    advanced = 10 * sum(rows.values())
    return [
        Kernel("forward", kept + spikes + 8 * events, added + advanced, ms=ms["_Fused"]),
        Kernel("backward", kept + 8 * events, added + advanced + returned, ms=ms["_FusedBackward"]),
    ]
