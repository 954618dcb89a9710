"""Deep continuous local learning: every layer has a loss of its own, from a fixed random read-out of its spikes, at every step.

    y^l_k(t) = Σ_j G^l_jk S^l_j(t)               G fixed, random
    dW^l_ji  = -η Σ_t [Σ_k G^l_jk ∂E^l/∂y^l_k(t)] h_j(t) x̄_i(t)

No error passes between layers, and none waits for another: all learn in the same step. h is the surrogate's slope at the membrane and
x̄ the presynaptic trace; what a spike of the layer does later, by reset or recurrence, is left out, as in the paper. The paper's loss is a
mean square; any mean over steps will do. The stack's own read-out learns from its own loss, and alone decides.

Source: Kaiser, Mostafa & Neftci 2020, Synaptic plasticity dynamics for deep continuous local learning (DECOLLE),
Frontiers in Neuroscience 14:424.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from torch import Tensor

from spiketwin.models.engines.torch.stacks import Stack
from spiketwin.rules.local.feedback import drawn
from spiketwin.rules.local.layers import hidden_and_readout
from spiketwin.rules.local.lesson import Lesson, Locality, Loss
from spiketwin.rules.local.online import Piece, error_of, learn_online
from spiketwin.rules.losses import step_cross_entropy


def local_readouts(net: Stack, seed: int, gain: float) -> dict[str, Tensor]:
    """Hidden layer -> G [N, K], uniform within ±gain/sqrt(N). Raises ValueError for a gain that is not positive."""
    if not 0 < gain < inf:
        raise ValueError(f"gain = {gain} of the local read-outs must be positive and finite")
    hidden, last = hidden_and_readout(net)
    return {s.name: gain * drawn((last.size, s.size), seed, f"local read-out of {s.name}", net.like).T for s in hidden}


def local_errors(piece: Piece, readouts: Mapping[str, Tensor], loss: Loss) -> dict[str, Tensor]:
    """Hidden layer -> ∂E^l/∂S_j(t) [C, B, N] of its own loss."""
    return {n: piece.share * error_of(loss, piece.spikes[n] @ g, piece.labels)[1] @ g.T for n, g in readouts.items()}


@dataclass(frozen=True)
class Decolle:
    """seed, gain: of the local read-outs.  loss: of each layer and of the stack's read-out, a mean over steps.  chunk_steps: as in EProp."""

    seed: int = 0
    gain: float = 10.0  # few of N neurons fire in a step: with 1 the read-outs would hardly move
    loss: Loss = step_cross_entropy
    chunk_steps: int = 10
    name = "DECOLLE"
    source = "Kaiser, Mostafa & Neftci 2020"
    locality = Locality(
        "trace of its spikes", "slope h at its membrane", "error of its own layer, by fixed random weights", False, True, "nothing"
    )

    def __call__(self, net: Stack, x: Tensor, labels: Tensor) -> Lesson:
        readouts = local_readouts(net, self.seed, self.gain)
        return learn_online(
            net,
            x,
            labels,
            lambda piece: local_errors(piece, readouts, self.loss),
            loss=self.loss,
            through_readout=False,
            chunk_steps=self.chunk_steps,
            through=frozenset(),
        )
