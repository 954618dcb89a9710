"""Networks that listen: recurrent, fed by events; and feed-forward with a learnable delay at each synapse.

    tau_mem dv/dt     = -v + r i_syn,    v <- v - 1 when v > 1 mV
    tau_syn di_syn/dt = -i_syn,          i_syn <- i_syn + w

As in ttfs.py, r is such that a weight of 1 nA adds 1 mV in one step. Read-outs do not spike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spiketwin.models import stack
from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.models.engines.torch.stacks import Stack, StackActivity
from spiketwin.models.mapping import PhysicalLIF, to_recurrent
from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import leaky_readout, rnn_lif
from spiketwin.models.spikes import Spikes
from spiketwin.models.stacks.layers import Neurons
from spiketwin.models.stacks.text import parse

INPUT, HIDDEN, OUTPUT = "input", "hidden", "output"
# a delay, counted in steps, is learned this much faster than a weight (Hammouamri et al. 2024)
DELAY_RATE = 100


def resistance_mohm(tau_mem_ms: float, tau_syn_ms: float, dt_ms: float) -> float:
    """The resistance at which a step adds 1 mV to the membrane per nA of synaptic current."""
    return 1 / float(to_recurrent(PhysicalLIF(tau_mem_ms, tau_syn_ms), dt_ms).gain)


class EventNetwork(nn.Module):
    """A network of `source -> populations` that takes Spikes and answers as a stack does: output is v of the last in mV."""

    def __init__(self, network: Network, **how) -> None:
        super().__init__()
        self.inside = TorchNetwork(network, **how)

    def forward(self, x: Spikes, steps: int | None = None, *, record: Mapping[str, tuple[str, ...]] | None = None) -> StackActivity:
        last = self.inside.network.populations[-1].name
        wanted = {name: tuple(states) for name, states in (record or {}).items()}
        wanted[last] = tuple({*wanted.get(last, ()), "v"})
        done = self.inside({self.inside.network.sources[0].name: x}, record=wanted)
        output = 1e3 * torch.cat([done.states[last]["v"][1:], done.final[last]["v"][None]])
        return StackActivity(output, {n: s for n, s in done.spikes.items() if n != last}, done.states, done.final)

    def to_network(self) -> Network:
        return self.inside.to_network()


def recurrent(
    inputs: int, hidden: int, outputs: int, *, taus_ms: tuple[float, float, float], scale: float, seed: int, **how
) -> EventNetwork:
    """Input -> hidden neurons that also feed each other -> read-outs.

    taus_ms: of hidden membranes, synapses, read-outs.  scale: initial weights are normal with this deviation, over the square root of
    the inputs.
    how: dt_ms and what else TorchNetwork takes.
    """
    rng = np.random.default_rng([seed, 0])
    tau_mem, tau_syn, tau_out = taus_ms

    def population(name: str, neuron, size: int, tau: float) -> Population:
        return Population(name, neuron, size, {"tau_mem": tau, "tau_syn": tau_syn, "r": resistance_mohm(tau, tau_syn, how["dt_ms"])})

    links = [(INPUT, HIDDEN, hidden, inputs), (HIDDEN, HIDDEN, hidden, hidden), (HIDDEN, OUTPUT, outputs, hidden)]
    network = Network(
        sources=(SpikeSource(INPUT, inputs),),
        populations=(population(HIDDEN, rnn_lif, hidden, tau_mem), population(OUTPUT, leaky_readout, outputs, tau_out)),
        projections=tuple(
            Projection(source, target, rng.normal(0, scale / np.sqrt(pre), (post, pre)), "i_syn", "nA", name=f"{source}_to_{target}")
            for source, target, post, pre in links
        ),
    )
    return EventNetwork(network, **how)


def delayed(
    text: str, inputs: int, *, taus_ms: tuple[float, float, float], scale: float, dt_ms: float, seed: int, anneal_batches: int, **how
) -> Delayed:
    """The stack of `text`, whose delays are learned. taus_ms, scale: as above, the latter of layers with delays.

    anneal_batches: training passes until delays are sharp.
    """
    tau_mem, tau_syn, tau_out = taus_ms
    *hidden, last = parse(text, (inputs,)).names(Neurons)
    taus = {name: tau_mem for name in hidden} | {last: tau_out}
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        net = stack(
            text,
            neuron=rnn_lif,
            readout=leaky_readout,
            dt_ms=dt_ms,
            input_shape=(inputs,),
            parameters={
                "tau_mem": taus,
                "tau_syn": tau_syn,
                "r": {name: resistance_mohm(tau, tau_syn, dt_ms) for name, tau in taus.items()},
            },
            **how,
        )
        for layer in net.delayed_layers():
            nn.init.normal_(layer.weight, std=scale / layer.weight.shape[1] ** 0.5)
    return Delayed(net, anneal_batches)


class Delayed(nn.Module):
    """A stack whose delays are spread out at first and sharpen while it trains; called as the stack is. Its output is in mV.

    The number of passes in training is part of the state dict, so that a training which resumes goes on annealing.
    """

    passes: Tensor

    def __init__(self, net: Stack, anneal_batches: int) -> None:
        super().__init__()
        self.net, self.anneal_batches = net, anneal_batches
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        for layer in net.delayed_layers():
            # one rate for all in the optimiser, so that the unit of a delay decides how fast it is learned
            parametrize.register_parametrization(layer, "delay_ms", Counted(DELAY_RATE * layer.dt_ms, layer.max_delay_ms))

    def forward(self, x: Tensor, steps: int | None = None, *, record: Mapping[str, tuple[str, ...]] | None = None) -> StackActivity:
        if self.training:
            self.net.anneal_(int(self.passes) / self.anneal_batches)
            self.passes += 1
        run = self.net(x, steps, record=record)
        return replace(run, output=1e3 * run.output)

    def to_network(self) -> Network:
        return self.net.to_network()


class Counted(nn.Module):
    """A quantity counted in another unit, and kept in 0 … most."""

    def __init__(self, unit: float, most: float) -> None:
        super().__init__()
        self.unit, self.most = unit, most

    def forward(self, counted: Tensor) -> Tensor:
        with torch.no_grad():
            counted.clamp_(0, self.most / self.unit)
        return self.unit * counted

    def right_inverse(self, value: Tensor) -> Tensor:
        return value / self.unit
