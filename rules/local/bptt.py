"""Backpropagation through time, the measure of all other rules here: the gradient of the loss, with surrogates at the spikes.

    ∂E/∂W_ji = Σ_t (dE/dS_j(t)) e_ji(t),    dE/dS_j(t) with all that the spike causes later, in every neuron

so it must be known at time t what comes after: the trial is kept, and gone through backwards.

Source: Werbos 1990, Proc. IEEE 78, 1550-1560; Neftci, Mostafa & Zenke 2019 for spikes; Bellec et al. 2020, eq. 1, for the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spiketwin.models.engines.torch.stacks import Stack
from spiketwin.rules.local.layers import check_batch, check_surrogates, stages
from spiketwin.rules.local.lesson import Lesson, Locality, Loss
from spiketwin.rules.losses import step_cross_entropy


@dataclass(frozen=True)
class Bptt:
    """loss: of the outputs of all steps; here it need be no mean over them."""

    loss: Loss = step_cross_entropy
    name = "BPTT"
    source = "Werbos 1990; Neftci, Mostafa & Zenke 2019"
    locality = Locality(
        "its states", "its states", "what its spike will cause in every neuron, by the weights on all ways", True, False, "layers"
    )

    def __call__(self, net: Stack, x: Tensor, labels: Tensor) -> Lesson:
        check_batch(net, x, labels)
        check_surrogates(everyone := stages(net))
        run = net(x)
        loss = self.loss(run.output, labels)
        trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
        found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        gradients = {name: g for name, g in zip(trained, found) if g is not None}
        return Lesson(gradients, loss.detach(), run.output.detach(), counts(run.spikes, everyone[-1].name))


def counts(spikes, last: str) -> dict[str, Tensor]:
    """Spikes of each hidden neuron in a trial [B, N]; last: the layer that is no hidden one."""
    return {name: s.detach().sum(0).flatten(1) for name, s in spikes.items() if name != last}


def true_signals(net: Stack, x: Tensor, labels: Tensor, loss: Loss = step_cross_entropy) -> dict[str, Tensor]:
    """dE/dS_j(t) of every hidden layer without recurrence, [T, B, N]: the learning signal with which eligibility traces make the gradient of the loss."""
    check_batch(net, x, labels)
    check_surrogates(everyone := stages(net))
    with torch.enable_grad():
        spikes, z = {}, x
        for stage in everyone:
            z, _ = stage.run(z)
            if not stage.is_readout:
                spikes[stage.name] = z
        found = torch.autograd.grad(loss(z, labels), list(spikes.values()))
    return {name: g.flatten(2) for name, g in zip(spikes, found)}
