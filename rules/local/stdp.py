"""STDP without labels in the hidden layers, and the delta rule at the read-out: what a local rule without any error makes of the network.

    x̄_i, ȳ_j      traces of arriving and of own spikes, which decay with tau and rise by 1 at each spike
    W (forward)    neuron j fires:  ΔW_ji = size (x̄_i - m_i) - W_ji         m_i: the mean of x̄_i over trials
    R (recurrent)  as inhibition -R_jk of rules/plasticity/inhibitory.py:
                   k's spike arrives:  ΔR_jk = -(ȳ_j - 2 rho_0 tau);        j fires:  ΔR_jk = -x̄_k
    b (bias)       in each step dt:  Δb_j = rho_0 dt - S_j(t)               intrinsic plasticity: the neuron's rate goes to rho_0

What fires a neuron is strengthened and what was silent weakened, down to W_ji = size (x̄_i of its spikes - m_i), the picture it stands for;
inhibition that grows between neurons that fire together sends them to different pictures; rates stay where they should. The forward rule is
Diehl & Cook's at postsynaptic spikes with the target trace m_i and a decay of the weight, so that signed weights need no bound.

A lesson's gradients are minus these changes, as a mean over trials, and its optimiser takes them as it takes those of other rules: with Adam, a synapse
divides its changes by their own running size, and goes where they are zero on average. Read-outs, of which alone there is a loss, learn by the
error of their own membrane times the trace of the spike that arrived, exactly its gradient. Only they see labels.

Source: Zylberberg, Murphy & DeWeese 2011, PLoS Comput. Biol. 7:e1002250 (SAILnet), for the three rules side by side; Diehl & Cook 2015; Vogels et al. 2011.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp

import torch
from torch import Tensor

from spiketwin.models.engines.torch.stacks import Stack
from spiketwin.models.engines.torch.stacks.chain import StackState
from spiketwin.rules.local.layers import Stage, Synapses, check_batch, hidden_and_readout, synapses
from spiketwin.rules.local.lesson import Lesson, Locality, Loss
from spiketwin.rules.local.online import error_of
from spiketwin.rules.local.traces import Traces
from spiketwin.rules.losses import step_cross_entropy


@dataclass(frozen=True)
class Stdp:
    """tau_ms: of the traces.  rate_hz: rho_0.  size: of forward weights.  loss: of the read-out.  chunk_steps: as in EProp; the result does not depend on it.

    Raises ValueError for constants that are not positive, and for layers that are not fully connected (layers.py).
    """

    tau_ms: float = 20.0
    rate_hz: float = 80.0
    size: float = 2.0
    loss: Loss = step_cross_entropy
    chunk_steps: int = 10
    name = "STDP, delta rule at the read-out"
    source = "after Zylberberg, Murphy & DeWeese 2011; Diehl & Cook 2015; Vogels et al. 2011"
    locality = Locality(
        "trace of its spikes, and its mean", "its spikes and their trace", "nothing; read-outs: their own error", False, True, "nothing"
    )

    def __post_init__(self) -> None:
        for name in ("tau_ms", "rate_hz", "size", "chunk_steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} of STDP must be positive")

    @torch.no_grad()
    def __call__(self, net: Stack, x: Tensor, labels: Tensor) -> Lesson:
        check_batch(net, x, labels)
        hidden, last = hidden_and_readout(net)
        layers = [_Layer(stage, synapses(net, stage), self, net.dt_ms) for stage in hidden]
        wires = synapses(net, last)
        traces, state = Traces(last, wires, x.shape[1]), None
        total, readout, outputs = torch.zeros_like(net.like), torch.zeros_like(wires.matrix()), []
        for first in range(0, len(x), self.chunk_steps):
            z = x[first : first + self.chunk_steps]
            share = len(z) / len(x)
            for layer in layers:
                z = layer.learn(z)
            output, run = last.run(z, traces.record, state)
            state = run.end()
            value, error = error_of(self.loss, output, labels)
            for level, step in zip(error * share, traces.advance(z, run)):
                readout += torch.einsum("bk,bkm->km", level, step.states[last.layer.spec.states[0]].expand(-1, level.shape[1], -1))
            total, outputs = total + value * share, [*outputs, output]
        gradients = {name: -change / x.shape[1] for layer in layers for name, change in layer.wires.split(layer.change)}
        return Lesson(
            gradients | dict(wires.split(readout)), total, torch.cat(outputs), {layer.stage.name: layer.count for layer in layers}
        )


@dataclass(eq=False)
class _Layer:
    """A hidden layer as it goes through a trial. change: of its synapses so far [N, M].  count: its spikes [B, N]."""

    stage: Stage
    wires: Synapses
    rule: Stdp
    dt_ms: float
    change: Tensor = field(init=False)
    count: Tensor | float = 0.0
    state: StackState | None = None
    traces: tuple[Tensor, Tensor] | None = None  # x̄ [B, M] of what arrives, ȳ [B, N], after the latest step
    latest: Tensor | None = None  # spikes of the latest step

    def __post_init__(self) -> None:
        self.change = torch.zeros_like(self.wires.matrix())

    def learn(self, x: Tensor) -> Tensor:
        """Spikes [C, B, N] of the steps in which x [C, B, …] comes in, from which the synapses learn."""
        z, run = self.stage.run(x, (), self.state)
        self.state, spikes, wires = run.end(), z.flatten(2), self.wires
        silent = torch.zeros_like(spikes[:1])
        # own spikes arrive in the step after
        arriving = torch.cat([silent if self.latest is None else self.latest, spikes[:-1]])
        now = (x.new_zeros(x.shape[1], x[0, 0].numel()), silent[0], silent[0]) if self.traces is None else self.traces
        made = [_traces(s, start, self.rule.tau_ms / self.dt_ms) for s, start in zip((x.flatten(2), arriving, spikes), now)]
        into, around, own = made
        self.traces, self.latest = tuple(m[-1] for m in made), spikes[-1:]
        forward, bias, recurrent = self._parts()
        fired = spikes.sum((0, 1))
        forward += (
            self.rule.size * torch.einsum("tbn,tbm->nm", spikes, into - into.mean(1, keepdim=True)) - fired[:, None] * wires.linear.weight
        )
        if bias is not None:
            bias += spikes[..., 0].numel() * self.rule.rate_hz * self.dt_ms * 1e-3 - fired
        if recurrent is not None:
            target = 2 * self.rule.rate_hz * self.rule.tau_ms * 1e-3
            # own: as before the spikes of its step
            before = own - spikes
            recurrent -= torch.einsum("tbn,tbm->nm", before - target, arriving) + torch.einsum("tbn,tbm->nm", spikes, around)
        self.count = self.count + spikes.sum(0)
        return z

    def _parts(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Views of the change: of the forward weights [N, M], the biases [N], the recurrent weights [N, N]."""
        inputs = self.wires.linear.in_features
        after = inputs + (self.wires.linear.bias is not None)
        bias = self.change[:, inputs] if after > inputs else None
        return self.change[:, :inputs], bias, None if self.wires.recurrent is None else self.change[:, after:]


def _traces(spikes: Tensor, start: Tensor, tau_steps: float) -> Tensor:
    """Traces [C, B, N] with the spikes of their step, from `start` of the step before."""
    decay, found = exp(-1 / tau_steps), []
    for s in spikes:
        start = start * decay + s
        found.append(start)
    return torch.stack(found)
