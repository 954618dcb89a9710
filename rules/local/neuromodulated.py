"""Three factors: a trace of the presynaptic neuron, the postsynaptic one and its layer's own error, and a modulator for all of the network.

    dW^l_ji = -η Σ_t M(t) [Σ_k G^l_jk ∂E^l/∂y^l_k(t)] h_j(t) x̄_i(t)         y^l = Gᵀ S^l, G fixed and random, as in DECOLLE

M(t) is one number for a trial and a step, broadcast to every synapse, as a neuromodulator is: it says how much is to be learned now, the
local error what. So every layer learns in parallel, and the one thing that comes from the network's answer is a scalar.

    surprise     M = 1 - p(label): nothing is changed where the network knows, and everything where it errs
    failure      M = [the answer is wrong]: the same, yes or no

Where a vector is broadcast, one number for each read-out, the rule is e-prop with random feedback (eprop.py).

Source: the scheme of Madireddy, Yanguas-Gil & Balaprakash 2020, Neuromodulated neural architectures with local error signals for
memory-constrained online continual learning (arXiv 2007.08159), here with spikes, traces and one modulator; Frémaux & Gerstner 2016,
Frontiers in Neural Circuits 9:85, for three-factor rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spiketwin.models.engines.torch.stacks import Stack
from spiketwin.rules.local.decolle import local_errors, local_readouts
from spiketwin.rules.local.lesson import Lesson, Locality, Loss
from spiketwin.rules.local.online import Piece, learn_online
from spiketwin.rules.losses import step_cross_entropy

# (outputs [C, B, K], labels [B]) -> M [C, B]
Modulator = Callable[[Tensor, Tensor], Tensor]


def surprise(output: Tensor, labels: Tensor) -> Tensor:
    """1 - p(label) at each step, p the softmax of the outputs: in 0 … 1."""
    return 1 - torch.softmax(output, dim=2)[:, torch.arange(len(labels)), labels]


def failure(output: Tensor, labels: Tensor) -> Tensor:
    """1 where the largest output is not the label's, else 0."""
    return (output.argmax(2) != labels).to(output.dtype)


@dataclass(frozen=True)
class Neuromodulated:
    """modulator: of the network's outputs.  The rest as in Decolle. The stack's read-out learns from its own error, which is no longer broadcast."""

    modulator: Modulator = surprise
    seed: int = 0
    gain: float = 10.0  # few of N neurons fire in a step: with 1 the read-outs would hardly move
    loss: Loss = step_cross_entropy
    chunk_steps: int = 10
    name = "neuromodulated"
    source = "after Madireddy, Yanguas-Gil & Balaprakash 2020"
    locality = Locality(
        "trace of its spikes",
        "slope h at its membrane",
        "error of its own layer, by fixed random weights; one number for the network",
        False,
        True,
        "output",
    )

    def __call__(self, net: Stack, x: Tensor, labels: Tensor) -> Lesson:
        readouts = local_readouts(net, self.seed, self.gain)

        def signals(piece: Piece) -> dict[str, Tensor]:
            m = self.modulator(piece.output, labels)[..., None]
            return {name: m * error for name, error in local_errors(piece, readouts, self.loss).items()}

        return learn_online(
            net, x, labels, signals, loss=self.loss, through_readout=False, chunk_steps=self.chunk_steps, through=frozenset()
        )
