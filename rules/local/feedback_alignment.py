"""Feedback alignment: the forward pass is the network's own, the error comes back through fixed random weights.

    BPTT                        δ^l = (W^(l+1))ᵀ δ^(l+1) · h^l and what follows in time
    FeedbackAlignment           δ^l = B^(l+1) δ^(l+1) · …        B of the shape of Wᵀ, drawn once
    DirectFeedbackAlignment     δ^l = B^l δ^out · …              every layer hears the read-out's error itself

δ(t) is the derivative of the loss by the currents that come in at step t. Inside a layer the error goes back through time, recurrent
weights included, as in BPTT; only the way between layers is changed. Any stack of convolutions, pools and full layers will do.

Source: Lillicrap, Cownden, Tweed & Akerman 2016, Random synaptic feedback weights support error backpropagation for deep learning,
Nature Communications 7:13276; Nøkland 2016, Direct feedback alignment provides learning in deep neural networks, NeurIPS 29.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from spiketwin.models.engines.torch.over_time import OverTime, over_time
from spiketwin.models.engines.torch.stacks import Stack
from spiketwin.models.engines.torch.stacks.chain import Chain, Pass
from spiketwin.rules.local.bptt import counts
from spiketwin.rules.local.feedback import drawn
from spiketwin.rules.local.layers import check_batch, check_surrogates, stages
from spiketwin.rules.local.lesson import Lesson, Locality, Loss
from spiketwin.rules.losses import step_cross_entropy


@dataclass(frozen=True)
class FeedbackAlignment:
    """seed: of the weights on the way back.  loss: of the outputs of all steps."""

    seed: int = 0
    loss: Loss = step_cross_entropy
    name = "feedback alignment"
    source = "Lillicrap et al. 2016"
    locality = Locality(
        "its states", "its states", "what its spike will cause, by fixed random weights from layer to layer", False, False, "layers"
    )

    def __call__(self, net: Stack, x: Tensor, labels: Tensor) -> Lesson:
        check_batch(net, x, labels)
        z, run, everyone = x, Pass(len(x)), stages(net)
        check_surrogates(everyone)
        for stage in everyone:
            for name, part in stage.parts.items():
                # nothing goes back beyond the first layer
                if stage is not everyone[0] and isinstance(part, OverTime):
                    z = self._aligned(part, name, z)
                else:
                    z = Chain({name: part})(z, run)
        loss = self.loss(z, labels)
        trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
        found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        gradients = {name: g for name, g in zip(trained, found) if g is not None}
        return Lesson(gradients, loss.detach(), z.detach(), counts(run.spikes, everyone[-1].name))

    def _aligned(self, part: OverTime, name: str, z: Tensor) -> Tensor:
        """The part's own result, whose error goes back to z through random weights; without weights, as a pool is, its own way."""
        modules = part.module.named_children() if isinstance(part.module, nn.Sequential) else [("", part.module)]
        for place, module in modules:
            if not any(p.ndim > 1 for p in module.parameters()):
                z = over_time(module, z)
                continue
            forward, weights = over_time(module, z.detach()), random_weights(module, self.seed, f"{name}.{place}")
            back = functional_call(OverTime(module), {f"module.{n}": w for n, w in weights.items()}, (z,))
            z = forward + (back - back.detach())  # adds 0 to what goes forward
        return z


def random_weights(module: nn.Module, seed: int, name: str) -> dict[str, Tensor]:
    """Numbers of the same shape for all weights of a module, 0 for its biases."""
    shaped = module.named_parameters()
    return {n: drawn(tuple(p.shape), seed, f"{name}.{n}", p) if p.ndim > 1 else torch.zeros_like(p) for n, p in shaped}


@dataclass(frozen=True)
class DirectFeedbackAlignment:
    """seed: of the weights on the way back, those of feedback.Random.  loss: of the outputs of all steps."""

    seed: int = 0
    loss: Loss = step_cross_entropy
    name = "direct feedback alignment"
    source = "Nøkland 2016"
    locality = Locality("its states", "its states", "error of each read-out from now on, by fixed random weights", False, False, "output")

    def __call__(self, net: Stack, x: Tensor, labels: Tensor) -> Lesson:
        check_batch(net, x, labels)
        z, run, (*hidden, last) = x, Pass(len(x)), stages(net)
        check_surrogates([*hidden, last])
        spikes: dict[str, Tensor] = {}
        for stage in hidden:
            spikes[stage.name] = stage.parts(z, run)
            z = spikes[stage.name].detach()
        *before, neurons = last.parts.items()
        currents = Chain(dict(before))(z, run)
        output = Chain(dict([neurons]))(currents, run)
        loss = self.loss(output, labels)
        own = _trained(last.parts)
        error, *found = torch.autograd.grad(loss, [currents, *own])
        pairs = list(zip(own, found))
        for stage in hidden:
            told = error.flatten(2) @ drawn((last.size, stage.size), self.seed, stage.name, net.like)
            own = _trained(stage.parts)
            pairs += zip(own, torch.autograd.grad(spikes[stage.name], own, told.view_as(spikes[stage.name])))
        called = {id(p): name for name, p in net.named_parameters()}
        return Lesson({called[id(p)]: g for p, g in pairs}, loss.detach(), output.detach(), counts(spikes, last.name))


def _trained(parts: nn.Module) -> list[nn.Parameter]:
    return [p for p in parts.parameters() if p.requires_grad]
