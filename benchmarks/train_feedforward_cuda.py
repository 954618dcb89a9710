"""The training step of train_feedforward on a GPU, and one that SpikingJelly's CuPy and Triton kernels can do.

They have no current-based neuron. So the first group trains 784-200-10 with a leaky neuron that its input acts on at once:

    v <- beta v + W x_n,    S_n = v >= 1,    v <- v - S_n

on random spikes that lie on the GPU already, with the summed read-out. The second group is train_feedforward. Without a GPU
nothing is measured and nothing written. Needs, besides benchmarks/requirements.txt, torch for CUDA and CuPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import train_feedforward
from harness import Benchmark, Outcome, System, equal, main
from peers import classifier

DEVICE = "cuda"
STEPS, BATCH, SIZES, DENSITY, BETA = 100, 256, (784, 200, 10), 0.02, math.exp(-1 / 10)


def on_device(prepare: Callable[[int], Callable[[], Outcome]]) -> Callable[[int], Callable[[], Outcome]]:
    """What `prepare` and its runs create, they create on the GPU; a run ends when the GPU is done."""

    def prepared(threads: int):
        torch.set_default_device(DEVICE)
        run = prepare(threads)

        def synchronised() -> Outcome:
            outcome = run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            return outcome

        return synchronised

    return prepared


def leaky(build: Callable[[], nn.Module], quick: bool) -> Callable[[int], Callable[[], Outcome]]:
    """Training of linear, a neuron, linear on one batch. build: a module that makes spikes [T, B, N] of currents [T, B, N]."""

    def prepare(threads: int):
        steps, batch = (20, 16) if quick else (STEPS, BATCH)
        rng = np.random.default_rng(0)
        x = torch.tensor(rng.random((steps, batch, SIZES[0])) < DENSITY, dtype=torch.float32)
        labels = torch.tensor(rng.integers(0, SIZES[2], batch))
        weights = [
            nn.Parameter(torch.tensor(rng.normal(0, 3 / math.sqrt(n), (m, n)), dtype=torch.float32)) for n, m in zip(SIZES, SIZES[1:])
        ]
        neuron = build()
        optimiser = torch.optim.Adam(weights, lr=1e-4)

        def run() -> Outcome:
            spikes = neuron(functional.linear(x, weights[0]))
            loss = functional.cross_entropy(functional.linear(spikes.sum(0), weights[1]), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            return Outcome({"loss": loss.item(), "spikes": int(spikes.detach().sum())})

        return run

    return prepare


class Ours(nn.Module):
    """The same neuron, declared; the currents come through one-to-one weights as a drive would, so nothing but the neuron is ours."""

    def __init__(self) -> None:
        super().__init__()
        from spiketwin.models import Network, NeuronSpec, Parameter, Population
        from spiketwin.models.engines.torch import TorchNetwork
        from spiketwin.rules.surrogate import arctan

        # forward Euler with dt = 1 ms: v + dt (-v/tau + x/dt) = (1 - dt/tau) v + x
        tau_ms = 1 / (1 - BETA)
        spec = NeuronSpec(
            name="leaky",
            equations="dv/dt = -v/tau_mem + x/tau_x : 1\nx : 1",
            parameters={"tau_mem": Parameter(tau_ms, "ms"), "tau_x": Parameter(1, "ms")},
            threshold="v >= 1",
            reset="v -= 1",
        )
        network = Network([Population("cells", spec, SIZES[1])])
        self.module = TorchNetwork(network, dt_ms=1.0, scheme="euler", surrogate=arctan())

    def forward(self, currents):
        return self.module({"cells.x": currents}).spikes["cells"]


class SpikingJelly(nn.Module):
    """LIFNode over many steps. backend: 'torch', 'cupy' or 'triton'."""

    def __init__(self, backend: str) -> None:
        super().__init__()
        from spikingjelly.activation_based import neuron, surrogate

        self.node = neuron.LIFNode(
            tau=1 / (1 - BETA), decay_input=False, v_reset=None, surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m"
        )
        self.node.backend = backend

    def forward(self, currents):
        self.node.reset()
        return self.node(currents)


def systems(quick: bool) -> list[System]:
    """Those whose library is here, ours first."""
    names = ["torch"] + ["cupy"] * (find_spec("cupy") is not None) + ["triton"] * (find_spec("triton") is not None)
    made = [System("spiketwin, leaky", leaky(Ours, quick), is_peer=False, threads=(1,), group="leaky")]
    if find_spec("spikingjelly"):
        made += [
            System(
                f"SpikingJelly, {name}",
                leaky(lambda name=name: SpikingJelly(name), quick),
                threads=(1,),
                library="spikingjelly",
                group="leaky",
            )
            for name in names
        ]
    task = train_feedforward.task(quick)
    made += [
        replace(s, threads=(1,), group="current-based") for s in classifier.systems(lambda: task) if not s.library or find_spec(s.library)
    ]
    return [replace(s, prepare=on_device(s.prepare)) for s in made]


def check(outcomes) -> None:
    members = [name for name in outcomes if "leaky" in name or name.startswith("SpikingJelly, ")]
    first = {name: outcomes[name][:1] for name in members}
    equal(first, "loss", rtol=1e-4)
    # a voltage at the threshold may fall on either side
    equal(first, "spikes", rtol=1e-3)
    others = {name: results for name, results in outcomes.items() if name not in members}
    if {name for twins in classifier.TWINS for name in twins} <= others.keys():
        classifier.check(others)


def benchmark(quick: bool) -> Benchmark:
    return Benchmark(
        "train_feedforward_cuda",
        "How long does a training step of a feed-forward spiking classifier take on a GPU?",
        systems(quick),
        unit="training step",
        check=check,
        notes={"gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "", "size": f"batch {BATCH}, {STEPS} steps, float32"},
    )


if __name__ == "__main__":
    if DEVICE == "cuda" and not torch.cuda.is_available():
        print("no GPU: nothing measured")
    else:
        main(benchmark)
