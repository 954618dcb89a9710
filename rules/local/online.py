"""Learning forward in time: the network runs a piece of a trial, traces advance with it, the error of these steps is put to use.

Nothing is kept of steps that are over but traces and states, so memory does not grow with the length of a trial. The result does not
depend on the length of a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from spiketwin.models.engines.torch.stacks import Stack
from spiketwin.models.engines.torch.stacks.chain import StackState
from spiketwin.models.spec import unknown
from spiketwin.rules.local.layers import Stage, check_batch, hidden_and_readout, synapses
from spiketwin.rules.local.lesson import Lesson, Loss
from spiketwin.rules.local.traces import Correlation, Filter, Traces, filter_of, instant


@dataclass(frozen=True, eq=False)
class Piece:
    """What is known of some steps when they are over. output: of the read-out [C, B, K].  error: ∂loss/∂output [C, B, K].
    spikes: hidden layer -> [C, B, N].  share: C/T."""

    output: Tensor
    error: Tensor
    spikes: Mapping[str, Tensor]
    labels: Tensor
    share: float


# what tells the neurons of each hidden layer how to change: a piece -> layer -> L [C, B, N]
Signals = Callable[[Piece], Mapping[str, Tensor]]


def error_of(loss: Loss, output: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and its derivative by each output."""
    with torch.enable_grad():
        given = output.detach().requires_grad_()
        value = loss(given, labels)
        (error,) = torch.autograd.grad(value, given)
    return value.detach(), error


@torch.no_grad()
def learn_online(
    net: Stack,
    x: Tensor,
    labels: Tensor,
    signals: Signals,
    *,
    loss: Loss,
    through_readout: bool,
    chunk_steps: int,
    through: frozenset[str] | None = None,
) -> Lesson:
    """Gradients Σ_t L_j(t) ē_ji(t) of hidden layers, and those of the read-out from its own error.

    x: [T, B, *input_shape].  signals: see above.  through_readout: whether the signals are errors of the read-out's membrane, which
    follows spikes with a filter, or of the spikes themselves.  chunk_steps: steps in a piece.  through: see Traces.
    Raises ValueError for x, labels or states that do not fit the network, and for one that traces do not serve (layers.py, traces.py).
    """
    check_batch(net, x, labels)
    if chunk_steps < 1:
        raise ValueError(f"chunk_steps = {chunk_steps} must be at least 1")
    hidden, last = hidden_and_readout(net)
    T, everyone = len(x), [*hidden, last]
    known = {state for stage in everyone for state in stage.layer.spec.states}
    if strange := sorted((through or frozenset()) - known):
        raise ValueError("through: " + unknown(strange[0], "state", net.declaration.text, sorted(known)))
    wires = {stage.name: synapses(net, stage) for stage in everyone}
    traces = {stage.name: Traces(stage, wires[stage.name], x.shape[1], through) for stage in everyone}
    between: Filter = filter_of(last) if through_readout else instant(net.like)
    sums = {stage.name: Correlation(between) for stage in hidden}
    readout: Tensor | float = 0.0
    states: dict[str, StackState | None] = dict.fromkeys(wires)
    total, outputs, counts = torch.zeros_like(net.like), [], {stage.name: torch.zeros_like(net.like) for stage in hidden}
    for first in range(0, T, chunk_steps):
        steps = slice(first, min(first + chunk_steps, T))
        comes_in, runs = _run(everyone, x[steps], traces, states)
        output, share = comes_in[-1], (steps.stop - first) / T
        value, error = error_of(loss, output, labels)
        spikes = {stage.name: z.flatten(2) for stage, z in zip(hidden, comes_in[1:])}
        told = signals(Piece(output, error * share, spikes, labels, share))
        for stage, before in zip(hidden, comes_in):
            name, own = stage.name, traces[stage.name]
            sums[name].add(told[name], own.advance(before, runs[name]), is_shared=own.is_shared, is_last=steps.stop == T)
            counts[name] = counts[name] + spikes[name].sum(0)
        for level, step in zip(error * share, traces[last.name].advance(comes_in[-2], runs[last.name])):
            # the membrane that is read is the first state
            readout = readout + torch.einsum("bk,bkm->km", level, step.states[last.layer.spec.states[0]].expand(-1, level.shape[1], -1))
        total, outputs = total + value * share, [*outputs, output]
    gradients = dict(pair for stage in hidden for pair in wires[stage.name].split(sums[stage.name].total))
    gradients |= dict(wires[last.name].split(readout))
    return Lesson(gradients, total, torch.cat(outputs), counts)


def _run(everyone: list[Stage], x: Tensor, traces: Mapping[str, Traces], states: dict) -> tuple[list[Tensor], dict]:
    """What comes in at each layer, then what comes out of the last; and the run of each. states: of the layers, renewed."""
    comes_in, runs = [x], {}
    for stage in everyone:
        z, run = stage.run(comes_in[-1], traces[stage.name].record, states[stage.name])
        states[stage.name], runs[stage.name] = run.end(), run
        comes_in.append(z)
    return comes_in, runs
