"""Eligibility traces of one layer, carried forward in time, and the gradient they make with a learning signal.

    e_ji(t)  = dS_j(t)/dW_ji through neuron j's own states           (sensitivity.py)
    ē_ji     = F * e_ji,  F what lies between spikes and the error:  s(t) = A s(t-1) + b e(t),  ē(t) = s_1(t)
    gradient = Σ_t L_j(t) ē_ji(t)

Step by step that is one number for each synapse and state of F. Where one trace per presynaptic neuron holds the eligibility,
e_ji(t) = h_j(t) x̄_i(t), a piece of C steps costs two matrix products, because the sum over its steps is

    Σ_t L_j(t) ē_ji(t) = Σ_t [Σ_(s >= t) F(s - t) L_j(s)] h_j(t) x̄_i(t) + what is left of ē from before.

Source: Bellec et al. 2020, Nature Communications 11:3625, Methods (with the filter of leaky read-outs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from spiketwin.models.engines.torch.stacks.chain import Pass
from spiketwin.rules.local.layers import Stage, Synapses
from spiketwin.rules.local.sensitivity import Sensitivity, Traced, sensitivity
from spiketwin.rules.surrogate import Surrogate


class Traces:
    """The derivatives of one layer's states by its weights, at the present time.

    through: states whose reset passes the spike's derivative on; None: as the network does in backpropagation (detach_reset).
    Raises ValueError where a layer has no surrogate, is noisy, or is refractory by a condition.
    """

    def __init__(self, stage: Stage, synapses: Synapses, trials: int, through: frozenset[str] | None = None) -> None:
        self.stage, self.synapses, network = stage, synapses, stage.layer.network
        spec, self.start, self.order = stage.layer.spec, stage.begin(trials), network.order
        if spec.threshold and not isinstance(network.surrogate, Surrogate):
            raise ValueError(
                f"'{stage.name}' has no surrogate gradient to tell how near a spike was; give stack(…, surrogate=fast_sigmoid())"
            )
        if spec.refractory_kind == "condition":
            raise ValueError(f"'{spec.name}' is refractory until '{spec.refractory}'; traces know periods of time, such as tau_ref")
        if through is None:
            through = frozenset() if network.detach_reset else frozenset(spec.states)
        self.held = self.start.active is not None
        self.derivatives = sensitivity(spec, network.scheme, self.order, self.held, spec.inputs[0], through)
        if drawn := self.derivatives.needs & {"noise", "uniform"}:
            raise ValueError(
                f"'{spec.name}' draws random numbers ({', '.join(drawn)}), which traces do not see; take a model without noise"
            )
        self.constants = {name: _column(value) for name, value in self.start.values.items() if name not in spec.states}
        self.surrogate, self.scale = network.surrogate, _column(self.start.per_spike_scale)
        like = stage.layer.network.get_buffer("like")
        self.now = {s: like.new_zeros(trials, 1, len(synapses.matrix().T)) for s in spec.states}
        self.n, self.last = 0, self.start.last_spike  # steps so far, and that of each neuron's last spike
        self.latest: Tensor | None = None  # spikes of the step before

    @property
    def record(self) -> tuple[str, ...]:
        """States that a run must keep for these traces."""
        return tuple(s for s in self.stage.layer.spec.states if s in self.derivatives.needs)

    @property
    def is_shared(self) -> bool:
        """Whether one trace per presynaptic neuron serves all neurons of the layer."""
        return is_shared(self.derivatives, self.constants)

    def advance(self, x: Tensor, run: Pass) -> Iterator[Traced]:
        """The derivatives step by step through a piece of time. x: [C, B, …] of the layer before.  run: the layer's, with `record`."""
        spikes = run.spikes[self.stage.name].flatten(2) if self.stage.name in run.spikes else None
        back = x if spikes is None else spikes
        if spikes is not None and self.order.index("receive") < self.order.index("threshold"):
            back = torch.cat([torch.zeros_like(spikes[:1]) if self.latest is None else self.latest, spikes[:-1]])
        signals = self.synapses.signals(x, back)
        arrives = signals @ self.synapses.matrix().T if any(n.startswith("_arrive_") for n in self.derivatives.needs) else None
        for t, row in enumerate(signals):
            values = self.constants | {s: run.states[self.stage.name][s][t].flatten(1)[..., None] for s in self.record}
            values |= self._flags(None if spikes is None else spikes[t] != 0)
            if arrives is not None:
                values[f"_arrive_{self.stage.layer.spec.inputs[0]}"] = arrives[t][..., None]
            traced = self.derivatives.step(values, self.now, row[:, None, :], self._slope)
            self.now, self.n = dict(traced.states), self.n + 1
            self.latest = None if spikes is None else spikes[t : t + 1]
            yield traced

    def _flags(self, spiked: Tensor | None) -> dict[str, Tensor]:
        """Who integrates, who spikes and who listens in step n."""
        if spiked is None:
            return {}
        active = torch.ones_like(spiked)
        if self.held and self.last is not None:
            active = self.last <= self.n - self.start.hold
            self.last = torch.where(spiked, self.n, self.last)
        flags = {"active": active, "_spiked": spiked, "_listens": active & ~spiked}
        return {name: flag[..., None] for name, flag in flags.items()}

    def _slope(self, margin: Tensor) -> Tensor:
        assert isinstance(self.surrogate, Surrogate)
        return self.surrogate.derivative(margin * self.scale) * self.scale


def is_shared(derivatives: Sensitivity, constants: dict) -> bool:
    """Whether the derivatives of a step are mixed by numbers that all neurons have in common."""
    factors = {s for let in derivatives.lets if str(let.name).startswith("_d_") for s in map(str, let.value.free_symbols)}
    return all(n.startswith("_d_") or (n in constants and not getattr(constants[n], "ndim", 0)) for n in factors)


def _column(value):
    """A constant of each neuron [N] as [N, 1], so that it meets derivatives [B, N, M]."""
    return value[:, None] if torch.is_tensor(value) and value.ndim else value


@dataclass(frozen=True, eq=False)
class Filter:
    """s(t) = a s(t-1) + b e(t), of which s_1 is read. a: [D, D].  b: [D]."""

    a: Tensor
    b: Tensor

    @property
    def remembers(self) -> bool:
        return bool(self.a.any())


def instant(like: Tensor) -> Filter:
    """No filter: the error is that of the spikes of its step."""
    return Filter(like.new_zeros(1, 1), like.new_ones(1))


def filter_of(stage: Stage) -> Filter:
    """What a read-out's membrane makes of a spike with weight 1, step by step, from its derived step.

    Raises ValueError where read-outs are not linear, or differ from each other.
    """
    spec, network, like = stage.layer.spec, stage.layer.network, stage.layer.network.get_buffer("like")
    derivatives, D = sensitivity(spec, network.scheme, network.order, False, spec.inputs[0]), len(spec.states)
    constants = {name: value for name, value in stage.begin(1).values.items() if name not in spec.states}
    if not is_shared(derivatives, constants):
        raise ValueError(
            f"the read-outs '{stage.name}' are not linear or differ in their parameters; give all the same, as leaky_integrator() has"
        )
    unit = torch.eye(D + 1, dtype=like.dtype, device=like.device)[:, None, None, :]
    values = stage.begin(1).values
    after = derivatives.step(
        {n: values[n] for n in derivatives.needs}, dict(zip(spec.states, unit)), unit[D] * stage.layer.factor, None
    ).states
    rows = torch.stack([after[s].reshape(D + 1) for s in spec.states])
    return Filter(rows[:, :D], rows[:, D])


class Correlation:
    """Σ_t L_j(t) (F * e_ji)(t) [N, M], piece by piece."""

    def __init__(self, through: Filter) -> None:
        self.filter = through
        self.total: Tensor | float = 0.0
        self.carried: Tensor | None = None  # states of the filter for each synapse [D, B, N, M]

    def add(self, signal: Tensor, traced: Iterator[Traced], *, is_shared: bool, is_last: bool) -> None:
        """signal: L [C, B, N].  traced: C steps of Traces.advance.  is_last: whether no piece follows, so that nothing need be carried."""
        if is_shared:
            steps = list(traced)
            h = torch.stack([s.slope[..., 0] for s in steps if s.slope is not None])
            self._add_product(signal, h, torch.cat([s.margin for s in steps if s.margin is not None], dim=1).transpose(0, 1), is_last)
            return
        for level, step in zip(signal, traced):
            assert step.slope is not None and step.margin is not None
            self._add_step(level, step.slope * step.margin)

    def _add_step(self, level: Tensor, e: Tensor) -> None:
        if self.filter.remembers:
            kept = 0 if self.carried is None else torch.tensordot(self.filter.a, self.carried, dims=1)
            self.carried = kept + self.filter.b[:, None, None, None] * e
            e = self.carried[0]
        self.total = self.total + torch.einsum("bn,bnm->nm", level, e)

    def _add_product(self, signal: Tensor, h: Tensor, x: Tensor, is_last: bool) -> None:
        """h: [C, B, N].  x: [C, B, M]."""
        C, (a, b) = len(signal), (self.filter.a, self.filter.b)
        powers = [torch.eye(len(b), dtype=b.dtype, device=b.device)]
        for _ in range(C if self.filter.remembers else 0):
            powers.append(a @ powers[-1])
        if not self.filter.remembers:
            self.total = self.total + torch.einsum("tbn,tbm->nm", signal * h * b[0], x)
            return
        responses = torch.stack([p @ b for p in powers[:C]])  # of all states of F to a spike, [C, D]
        lag = torch.arange(C)[None, :] - torch.arange(C)[:, None]  # s - t
        ahead = responses[:, 0][lag.clamp(min=0)] * (lag >= 0)
        self.total = self.total + torch.einsum("tbn,tbm->nm", torch.tensordot(ahead, signal, dims=1) * h, x)
        if self.carried is not None:
            left = torch.stack([p[0] for p in powers[1:]])  # of s_1 to what is left of each state, [C, D]
            self.total = self.total + torch.einsum("qbn,qbnm->nm", torch.einsum("tq,tbn->qbn", left, signal), self.carried)
        if not is_last:
            new = torch.einsum("tp,tbn,tbm->pbnm", responses.flip(0), h, x)
            self.carried = new if self.carried is None else new + torch.tensordot(powers[C], self.carried, dims=1)
