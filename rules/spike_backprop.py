"""Spike-based backpropagation of Lee et al. (2020): errors of spike counts, sent back once, not step by step.

A neuron with weights that add to v, and the numbers that a trial of T steps leaves behind:

    tau_mem dv/dt = -v + …,   v <- v + Σ_i w_i at each step,   spike when v > v_threshold, then v <- v_reset
    x_i = input spikes of synapse i,   net = Σ_i w_i x_i,   a = output spikes,   V_th = v_threshold - v_reset

    IF     a ≈ net/V_th            ∂a/∂net = 1/V_th
    LIF    a ≈ net/(V_th + eps)    ∂a/∂net = (1/V_th) (1 + f'(T)/a),
           f(t) = Σ_k exp(-(t - t_k)/tau_mem) over its own spikes t_k,   f'(t) = -f(t)/tau_mem
    both   0 where a = 0: only neurons that fired pass error back

    read-out  does not spike and does not leak: output = V(T)/T,   E = Σ (output - target)²/2,   ∂E/∂net = (output - target)/T
    layers    δ = (Wᵀ δ of the next) · ∂a/∂net,   ∂E/∂W = δ xᵀ

Time t and tau_mem count in steps, as in the paper, and T is the last step. So the leak correction is one of a step: it
lies between 1 - dt/tau_mem and 1, and is gone as dt -> 0. The slopes are those of a count that follows its input in proportion;
a reset that wipes what lies above threshold makes the true one smaller, which the rule does not see. All inputs
of a trial have their part in ∂E/∂W, also those after a neuron's last spike.

The forward pass is that of a SpikingLayer, in any engine kernel; between layers may stand whatever is linear in the
spikes of a step: Linear, Conv2d, AvgPool2d, dropout with one mask for all steps.

    order = ("integrate", "receive", "threshold", "reset")   # the paper's: v decays, input is added, the neuron may fire
    hidden = SpikeBackprop(SpikingLayer(if_neuron, 50, dt_ms=1, unit="mV", order=order))
    output = mean_membrane(OverTime(nn.Linear(50, 10, bias=False))(hidden(currents)))       # [B, 10]
    half_square_error(output, labels).backward()

or of a stack, with_spike_backprop(stack("20C5-AP2-50C5-AP2-FC200-FC10", …)).

Source: Lee, Sarwar, Panda, Srinivasan & Roy 2020, Enabling spike-based backpropagation for training deep neural network
architectures, Front. Neurosci. 14:119, section 2.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from spiketwin.models.engines.torch.layer import LayerActivity, SpikingLayer
from spiketwin.models.units import positive

M = TypeVar("M", bound=nn.Module)


def if_slope(spikes: Tensor, v_threshold: Tensor | float) -> Tensor:
    """∂a/∂net of integrate-and-fire neurons: 1/v_threshold where they fired, else 0.

    spikes: [T, B, *shape].  v_threshold: distance from reset to threshold, > 0; a number or [*shape].
    Returns [B, *shape], in spikes per unit of v_threshold.  Raises ValueError for v_threshold <= 0 and spikes without trials.
    """
    if spikes.ndim < 3:
        raise ValueError(f"spikes have shape {tuple(spikes.shape)}; give [T, B, *shape]")
    threshold = torch.as_tensor(v_threshold, dtype=spikes.dtype, device=spikes.device)
    if not (threshold > 0).all():
        raise ValueError(f"v_threshold = {threshold.min():g} above reset must be positive; is v_reset below v_threshold?")
    return (spikes.sum(dim=0) > 0).to(spikes.dtype) / threshold


def lif_slope(spikes: Tensor, v_threshold: Tensor | float, *, tau_mem_ms: Tensor | float, dt_ms: float) -> Tensor:
    """∂a/∂net of leaky neurons: that of if_slope times 1 + f'(T)/a, between 1 - dt/tau_mem and 1.

    tau_mem_ms: a number or [*shape], at least dt_ms: a shorter memory would turn the sign of the error.
    Raises ValueError where it is shorter, for a step that is not positive, and as if_slope.
    """
    positive(dt_ms=dt_ms)
    slope = if_slope(spikes, v_threshold)
    tau_steps = torch.as_tensor(tau_mem_ms, dtype=torch.float64, device=spikes.device) / dt_ms
    if not (tau_steps >= 1 - 1e-6).all():
        raise ValueError(f"tau_mem = {tau_steps.min() * dt_ms:g} ms is shorter than dt = {dt_ms:g} ms; take a finer step")
    decay, tau_steps = torch.exp(-1 / tau_steps).to(spikes.dtype), tau_steps.to(spikes.dtype)
    f = torch.zeros_like(slope)
    for s in spikes:
        f = f * decay + s
    return slope * (1 - f / tau_steps / spikes.sum(dim=0).clamp(min=1))


class SpikeBackprop(SpikingLayer):
    """A layer whose spikes pass error back as their count would: SpikingLayer forward, if_slope or lif_slope backward.

    layer: of a model with one receptor, its membrane v, and the parameters v_threshold, v_reset (0 where it has none) and,
    for a leaky one, tau_mem.  Its surrogate, if it has one, is not used; its neuron parameters have no gradient.
    Raises ValueError for a model without these.
    """

    def __init__(self, layer: SpikingLayer) -> None:
        nn.Module.__init__(self)  # all is there already; the state dict is that of the layer
        spec = layer.spec
        if spec.inputs != ("v",) or "v_threshold" not in spec.parameters:
            raise ValueError(
                f"'{spec.name}' has the receptors {', '.join(spec.inputs) or '(none)'}; the rule holds where weights add to v and"
                " v_threshold is a parameter, as in 'if_neuron' and 'lif_delta'"
            )
        self.spec, self.shape, self.unit, self.factor, self.name = spec, layer.shape, layer.unit, layer.factor, layer.name
        self.network = layer.network

    def run(self, increments: Tensor, steps: int | None = None, **options: Any) -> LayerActivity:
        """As that of SpikingLayer, but for the gradient of the spikes; states have none.

        increments: of v, [T, B, *shape] in the layer's unit, or [1, B, *shape] for the same at each of `steps`.
        Backwards, each step's increment gets the error of that step's spike times the slope.
        """
        with torch.no_grad():
            done = super().run(increments.detach(), steps, **options)
            slope = self._slope(done.spikes)
        everywhere = increments.expand(len(done.spikes), *increments.shape[1:])
        return replace(done, spikes=_Counted.apply(everywhere, done.spikes, slope))

    def _slope(self, spikes: Tensor) -> Tensor:
        """∂a/∂net [B, *shape] per unit of the layer's increments."""
        cells: Any = self.network.populations[self.name]
        values = cells.values()
        distance = self._shaped((values["v_threshold"] - values.get("v_reset", 0.0)) / self.factor)
        if "tau_mem" not in values:
            return if_slope(spikes, distance)
        return lif_slope(spikes, distance, tau_mem_ms=self._shaped(values["tau_mem"]) * 1e3, dt_ms=self.network.dt_ms)

    def _shaped(self, value: Tensor) -> Tensor:
        """A parameter, one for all or [N], as one for all or [*shape]."""
        return value.reshape(self.shape) if value.ndim else value


def with_spike_backprop(net: M) -> M:
    """The same network, such as a stack, in place: every spiking layer in it passes error back by the rule.

    Read-outs without a threshold stay as they are. Raises ValueError for a model that the rule does not fit.
    """
    for part in list(net.modules()):
        for name, layer in list(part.named_children()):
            if isinstance(layer, SpikingLayer) and layer.spec.threshold:
                part.add_module(name, SpikeBackprop(layer))
    return net


class _Counted(torch.autograd.Function):
    @staticmethod
    def forward(increments, spikes, slope):
        return spikes.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx, gradient):
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None


def mean_membrane(increments: Tensor) -> Tensor:
    """V(T)/T [B, *shape] of read-outs that add up increments [T, B, *shape], and neither leak nor spike.

    Raises ValueError for no steps.
    """
    if increments.ndim < 2 or not len(increments):
        raise ValueError(f"increments have shape {tuple(increments.shape)}; give [T, B, *shape] with at least one step")
    return increments.mean(dim=0)


def half_square_error(output: Tensor, labels: Tensor) -> Tensor:
    """E = Σ_k (output_k - target_k)²/2, mean over trials; the target is 1 for the label and 0 for the others.

    output: [B, K].  labels: int [B].  Raises ValueError when the shapes do not fit.
    """
    if output.ndim != 2 or labels.shape != output.shape[:1] or labels.is_floating_point():
        raise ValueError(f"output is [B, K] and labels int [B]; got {tuple(output.shape)} and {labels.dtype} {tuple(labels.shape)}")
    target = functional.one_hot(labels.long(), output.shape[1]).to(output.dtype)
    return 0.5 * (output - target).square().sum(dim=1).mean()
