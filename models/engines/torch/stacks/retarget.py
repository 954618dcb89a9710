"""A trained network at another time step: `retarget(network, dt_ms)`.

A naive port runs the same loop (the same beta, the same numbers added in each step) at the new dt for the same time. Everything
that is counted in steps then changes its duration: at dt/4 membranes forget four times as fast, delays and refractory periods
are a quarter as long. Retargeted, the network keeps what it means in time:

- Decays, refractory periods and delays are functions of ms and dt: beta' = exp(-dt'/tau), tau_ref/dt' and delay/dt' steps, with the
  learned or drawn tau of each neuron; thresholds and resets stay.
- A spike is a delta, an event without duration: v <- v + w whatever the step. Weights of spikes stay.
- What is added in every step (a bias, an image shown as a current) is the sample of a current held over the step. Held for ever, a current
  that adds x per step takes the membrane of a linear neuron, one step of which is s <- A s, to the level

      after the input of a step        s = (1 + A + A² + …) e x = (I - A)^-1 e x,       e: the receptor
      one integration later            s = A (I - A)^-1 e x

  The threshold looks at one or the other, whichever the order of events says. Let g be the entry of the membrane for x = 1; then
  x' = x g(dt)/g(dt') leaves the level that the threshold sees where it was. For a leaky membrane that receives before its threshold
  g = 1/(1 - beta), so

      x' = x (1 - beta')/(1 - beta),

  which is the exact solution with a held current R I = x/(1 - beta), at every common grid point, not only at the end. Where the threshold comes
  first, as in the reference order, g = beta/(1 - beta). For an integrator, beta = 1, the limit is x' = x dt'/dt; that also serves
  neurons that are not linear, to first order in dt.
- Batch norm y = gamma (x - mean)/sigma + shift has a gain for spikes, gamma/sigma, which stays, and what is added in every step, which
  follows the rule for biases. Statistics per step go to the steps of the same time.

What stays counted in steps: how late an input acts (a step at most), and that a neuron fires at most once in a step.

Source: Rotter & Diesmann 1999, Biol. Cybern. 81, for the exact step with a held current; models/mapping.py for one neuron's loop.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from spiketwin.models.discretisation import derive
from spiketwin.models.discretisation.program import without_gate
from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.module import TorchNetwork
from spiketwin.models.engines.torch.over_time import OverTime
from spiketwin.models.engines.torch.stacks.chain import Block, Chain
from spiketwin.models.engines.torch.stacks.delays import DelayedLinear
from spiketwin.models.engines.torch.stacks.lstm import SpikingLSTM
from spiketwin.models.engines.torch.stacks.norm import NormOverTime, NormThroughTime
from spiketwin.models.engines.torch.stacks.stack import Stack

Module = TypeVar("Module", bound=nn.Module)
SHOWN = ("spikes", "current")


def retarget(net: Module, dt_ms: float, *, shown: str | None = None) -> Module:
    """A copy of a trained TorchNetwork, SpikingLayer or Stack for another step, finer or coarser, with the same learned numbers.

    shown: what a Stack is shown, 'spikes' (0 or 1 in a step, each an event) or 'current' (values that are there in every step, such as an
    image). Give the copy the same input for the same time: `steps` times dt/dt', and spikes put on its grid.
    Raises ValueError for a spiking LSTM, which has no time, and for constants that cannot follow neurons of different time constants
    (those of a convolution belong to all places of a channel).
    """
    twin = at_step(net, dt_ms)
    if isinstance(net, Stack):
        with torch.no_grad():
            names = {**dict(twin.named_parameters()), **dict(twin.named_buffers())}
            for name, value in rederived(net, twin, shown).items():
                names[name].copy_(value)
    return twin


def at_step(net: Module, dt_ms: float) -> Module:
    """A copy whose cells, delays and norms count in steps of dt_ms; nothing added in a step is changed yet."""
    if not (math.isfinite(dt_ms) and dt_ms > 0):
        raise ValueError(f"dt_ms = {dt_ms} must be positive and finite")
    if isinstance(net, TorchNetwork):
        return _network(net, dt_ms)
    twin, ratio = copy.deepcopy(net), _dt_of(net) / dt_ms
    for parent in list(twin.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, TorchNetwork):
                setattr(parent, name, _network(part, dt_ms))
            elif isinstance(part, DelayedLinear):
                part.retime_(dt_ms)
            elif isinstance(part, NormThroughTime):
                part.resample_(ratio)
            elif isinstance(part, SpikingLSTM):
                raise ValueError(f"'{name}' is a spiking LSTM, a cell of steps without a time constant: it has no other dt")
    if isinstance(twin, Stack):
        twin.dt_ms = dt_ms
    return twin


def _dt_of(net: nn.Module) -> float:
    if isinstance(net, Stack):
        return net.dt_ms
    if isinstance(net, SpikingLayer):
        return net.network.dt_ms
    raise TypeError(f"retarget takes a TorchNetwork, SpikingLayer or Stack, not a {type(net).__name__}")


def _network(net: TorchNetwork, dt_ms: float) -> TorchNetwork:
    twin = TorchNetwork(
        net.network,
        dt_ms=dt_ms,
        scheme=net.scheme,
        surrogate=net.surrogate,
        dtype=net.like.dtype,
        detach_reset=net.detach_reset,
        trainable_parameters={name: population.trainable for name, population in net.populations.items()},
        order=net.order,
        kernels=net.kernels,
        checkpoint_steps=net.checkpoint_steps,
    ).to(net.like.device)
    twin.load_state_dict(net.state_dict())
    return twin.train(net.training)


# -- what is added in every step ---------------------------------------------------------------------------------------------------


def held_level(layer: SpikingLayer, dt_ms: float) -> Tensor | None:
    """Where an input that adds 1 in every step takes the membrane that the threshold sees (at the end of the step, without one): g at
    dt_ms, one number or [N]. None where the neuron is not linear, inf where nothing holds the membrane."""
    net, (cells,) = layer.network, layer.network.populations.values()
    spec, dt_s = cells.population.neuron, dt_ms * 1e-3
    step = derive(without_gate(spec) if spec.refractory else spec, net.scheme)
    values = {name: value.double() for name, value in cells.values().items()}
    values |= step.constant_values(values, dt_s, backend="torch") | {"dt": dt_s}
    silent = values["v_rest"].new_zeros(()) if "v_rest" in values else next(iter(values.values())).new_zeros(())
    values = {**dict.fromkeys(("noise", "uniform"), silent), **values}
    advance, states, r = step.function("torch"), spec.states, spec.states.index(spec.inputs[0])

    def after(size: float, which: int) -> list[Tensor]:
        now = {s: silent + (size if k == which else 0.0) for k, s in enumerate(states)}
        return list(advance(*[{**values, **now}[name] for name in step.arguments]))

    rest, columns = after(0.0, 0), []
    for k in range(len(states)):
        one, two = after(1.0, k), after(2.0, k)
        if any(not torch.allclose(b - a, a - z, rtol=1e-9, atol=1e-12) for z, a, b in zip(rest, one, two, strict=True)):
            return None
        columns.append(torch.stack(torch.broadcast_tensors(*(a - z for z, a in zip(rest, one, strict=True))), dim=-1))
    A = torch.stack(torch.broadcast_tensors(*columns), dim=-1)  # [..., to, from]
    e = torch.eye(len(states), dtype=A.dtype, device=A.device)[r].expand(A.shape[:-1])
    level, singular = torch.linalg.solve_ex(torch.eye(len(states), dtype=A.dtype, device=A.device) - A, e.unsqueeze(-1))
    level = torch.where(singular[..., None, None] == 0, level, math.inf)
    level = (A @ level if _integrates_before(net.order, bool(spec.threshold)) else level).squeeze(-1)
    return level[..., _membrane(spec)]


def _integrates_before(order: tuple[str, ...], spiking: bool) -> bool:
    """Whether an input is integrated once before the threshold, or the end of the step, sees it."""
    start = order.index("receive")
    rest = order[start + 1 :] + (order[:start] if spiking else ())
    return "integrate" in (rest[: rest.index("threshold")] if spiking else rest)


def _membrane(spec) -> int:
    named = [k for k, s in enumerate(spec.states) if re.search(rf"\b{s}\b", spec.threshold or "")]
    return named[0] if named else 0


def _factors(net: Stack, dt_ms: float) -> dict[str, Tensor]:
    """Neuron layer -> x'/x, one number or [N]."""
    found = {}
    for name, layer in net.neuron_layers().items():
        here, there = held_level(layer, net.dt_ms), held_level(layer, dt_ms)
        charge = torch.full((), dt_ms / net.dt_ms, dtype=torch.double, device=net.like.device)
        factor = charge if here is None or there is None else here / there
        factor = torch.where(torch.isfinite(factor), factor, charge)
        if factor.ndim and bool((factor == factor.flatten()[0]).all()):
            factor = factor.flatten()[0]
        found[name] = factor
    return found


def rederived(net: Stack, twin: Stack, shown: str | None) -> dict[str, Tensor]:
    """Parameters and buffers of `net` as `twin`, the same at another step, has to have them, by name; gradients pass to those of `net`.

    What the two have in common is left as it is.
    """
    if shown not in SHOWN:
        raise ValueError(
            f"shown = {shown!r}: say whether the stack is shown 'spikes' or a 'current' in every step; only the latter follows dt"
        )
    factors, users = _factors(net, twin.dt_ms), _users(net.parts)
    shapes = {name: layer.shape for name, layer in net.neuron_layers().items()}
    parameters, own = dict(net.named_parameters()), dict(twin.named_buffers())
    found: dict[str, Tensor] = dict(parameters) | {name: own[name] for name in own if name.endswith(("running_mean", "running_var"))}
    found |= {name: p for name, p in twin.named_parameters() if p.shape != found[name].shape}  # norms of another number of steps
    names = {part: name for name, part in net.named_modules()}
    first_seen = shown == "current"
    for part, consumers in users.items():
        layers = [part for part in _innermost(part) if _constants(part)]
        for module in _innermost(part):
            name, is_fed = names[module], first_seen and "input" in consumers and isinstance(module, nn.Conv2d | nn.Linear | DelayedLinear)
            wanted = [c for c in _constants(module) if f"{name}.{c}" in found] + ["weight"] * is_fed
            if wanted:
                is_last = module is layers[-1] if layers else True
                factor = _shared(name, module, [c for c in consumers if c != "input"], factors, shapes, is_last)
            for constant in wanted:
                key = f"{name}.{constant}"
                found[key] = _times(found[key], factor, module)
            first_seen = first_seen and not is_fed
    if first_seen:
        raise ValueError(
            "the input current reaches neurons without a weight that could be scaled to another dt; scale it yourself, or add an FC or C"
        )
    return found


def _constants(module: nn.Module) -> tuple[str, ...]:
    """Names of what a module adds in every step."""
    if isinstance(module, nn.Conv2d | nn.Linear | DelayedLinear):
        return ("bias",) * (module.bias is not None)
    if isinstance(module, nn.BatchNorm1d):
        return ("running_mean", "bias")
    return ("running_mean",) * isinstance(module, NormThroughTime)


def _innermost(part: nn.Module) -> list[nn.Module]:
    return [part] if isinstance(part, DelayedLinear) else [m for m in part.modules() if not any(m.children())]


def _users(chain: Chain) -> dict[nn.Module, list[str]]:
    """Part between neurons -> the neuron layers that its currents reach, and 'input' where it is fed by the input."""
    users: dict[nn.Module, list[str]] = {}

    def walk(chain: Chain, waiting: list[nn.Module], fed: bool) -> tuple[list[nn.Module], bool]:
        for name, part in chain.items():
            if isinstance(part, SpikingLayer):
                for earlier in waiting:
                    users[earlier].append(chain.prefix + name)
                waiting, fed = [], False
            elif isinstance(part, Block):
                (one, a), (two, b) = walk(part.residual, waiting, fed), walk(part.shortcut, waiting, fed)
                waiting, fed = [*one, *(p for p in two if p not in one)], a or b
            elif isinstance(part, OverTime | DelayedLinear | NormOverTime | NormThroughTime):
                users[part] = ["input"] * fed
                waiting = [*waiting, part]
        return waiting, fed

    walk(chain, [], True)
    return users


def _shared(name: str, module: nn.Module, consumers: Iterable[str], factors: Mapping[str, Tensor], shapes, is_last: bool) -> Tensor:
    """The one factor for the constants of a module: a number, or one per output."""
    layers = list(dict.fromkeys(consumers))
    if not layers:
        return torch.ones((), dtype=torch.double)
    factor = factors[layers[0]]
    if any(factors[other].shape != factor.shape or not torch.allclose(factors[other], factor, rtol=1e-6) for other in layers[1:]):
        raise ValueError(f"'{name}' reaches {', '.join(layers)} with different time constants, so no one bias suits them all at another dt")
    if not factor.ndim:
        return factor
    shape = shapes[layers[0]]
    if isinstance(module, nn.Linear | DelayedLinear) and is_last and module.weight.shape[0] == factor.numel():
        return factor
    by_channel = factor.view(shape[0], -1)
    channels = module.weight.shape[0] if isinstance(module, nn.Conv2d) else getattr(module, "channels", getattr(module, "num_features", 0))
    if channels == shape[0] and torch.allclose(by_channel, by_channel[:, :1].expand_as(by_channel), rtol=1e-6):
        return by_channel[:, 0]
    raise ValueError(
        f"'{name}' adds the same in every step to neurons of '{layers[0]}' with different time constants, so no bias of its own suits another dt; "
        "leave biases out, or use one time constant per channel"
    )


def _times(value: Tensor, factor: Tensor, module: nn.Module) -> Tensor:
    """value times the factor: along outputs, or, for what a norm keeps per step, along channels."""
    factor = factor.to(value)
    if factor.ndim and value.ndim > 1 and not isinstance(module, NormThroughTime):
        factor = factor.view(-1, *[1] * (value.ndim - 1))
    return value * factor
