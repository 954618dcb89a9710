"""Projections that learn: a rule's statements in torch, event by event.

    begin_step   traces decay to this step; weights are normalised and noted
    go_on        every_step, for all synapses
    arrive       spikes act with the weight as it is, then their synapses run on_pre
    learn        targets that fire have their synapses run on_post

Traces belong to neurons: presynaptic ones [D, B, N_pre] once for each distinct delay, as the synapses with that delay see them,
postsynaptic ones [B, N_post]. Weights and states of synapses are [B, S], a row for each trial, in the order of Projection.synapses().
Statements run for the synapses that an event concerns, and for no others. Gradients pass through what a synapse transmits and through
what rules compute, to weights, spikes and states; a spike that is not there passes its surrogate gradient as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spiketwin.models.discretisation.conditions import elementwise
from spiketwin.models.discretisation.functions import torch_namespace
from spiketwin.models.engines.base import delay_steps
from spiketwin.models.engines.synapse_draws import drawn
from spiketwin.models.engines.torch.population import RunningPopulation
from spiketwin.models.engines.torch.projections import WeightedProjection, numpy_of
from spiketwin.models.engines.torch.state import LearningState
from spiketwin.models.network import Projection
from spiketwin.models.plasticity import WEIGHT, PlasticityRule
from spiketwin.models.spec import Statement


class PlasticProjection(WeightedProjection):
    """weight [S], one for each synapse in the order of Projection.synapses(): where a run starts, unless it goes on from another."""

    pre: Tensor
    post: Tensor
    by_source: Tensor
    first_of_source: Tensor
    by_target: Tensor
    first_of_target: Tensor

    def __init__(self, projection: Projection, dt_ms: float, dtype: torch.dtype) -> None:
        pre, post, _, delay_ms = projection.synapses()
        super().__init__(projection, projection.synapse_values(), delay_steps(delay_ms, dt_ms), dtype)
        self.delays = self.delays or (0,)  # of a projection without synapses
        if projection.rule is None:
            raise ValueError(f"projection '{projection.name}' has no rule; a dense or sparse projection runs it")
        self.rule: PlasticityRule = projection.rule
        n_post, n_pre = projection.shape
        row = pre if self.slot is None else self.slot.numpy() * n_pre + pre
        for name, array in (("pre", pre), ("post", post)):
            self.register_buffer(name, torch.as_tensor(array), persistent=False)
        for name, group, many in (("source", row, len(self.delays) * n_pre), ("target", post, n_post)):
            first = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=many))])
            self.register_buffer(f"by_{name}", torch.as_tensor(np.argsort(group, kind="stable")), persistent=False)
            self.register_buffer(f"first_of_{name}", torch.as_tensor(first), persistent=False)

    def reached(self, trial: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """Trial and synapse of all synapses that events reach. row: delay · N_pre + neuron, of each event."""
        return _members(trial, row, self.first_of_source, self.by_source)

    def reaching(self, trial: Tensor, neuron: Tensor) -> tuple[Tensor, Tensor]:
        """Trial and synapse of all synapses that reach these neurons."""
        return _members(trial, neuron, self.first_of_target, self.by_target)

    def shapes(self, trials: int) -> dict[str, tuple[int, ...]]:
        """Of the values of a LearningState."""
        rule, (n_post, n_pre), synapses = self.rule, self.projection.shape, (trials, len(self.weight))
        return (
            {WEIGHT: synapses}
            | {x: (len(self.delays), trials, n_pre) for x in rule.traces["pre"]}
            | {x: (trials, n_post) for x in rule.traces["post"]}
            | {x: synapses for x in rule.memory}
        )

    def weights(self):
        return self.projection.matrix(numpy_of(self.weight))


def _members(trial: Tensor, group: Tensor, start: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Of groups laid out one after the other in `order`: each event's trial beside every member of its group."""
    many = start[group + 1] - start[group]
    skipped = torch.repeat_interleave(start[group] - (many.cumsum(0) - many), many)
    return torch.repeat_interleave(trial, many), order[skipped + torch.arange(len(skipped), device=order.device)]


class Learning:
    """A projection that learns, during a run.

    source: the population inside the same group, or spikes [M + T, B, N_pre] that begin with those of the M steps before the run.
    kept: where an earlier run ended.  is_noted: whether the weights at the start of each step are kept.
    """

    def __init__(
        self, module: PlasticProjection, source: RunningPopulation | Tensor, target: RunningPopulation, kept: LearningState, is_noted: bool
    ) -> None:
        self.module, self.rule, self.source, self.target = module, module.rule, source, target
        self.step, self.key, self.noted = kept.step, kept.key, list[Tensor]() if is_noted else None
        like, setting = module.weight, target.setting
        self.values: dict[str, Tensor] = {}
        for name, shape in module.shapes(setting.trials).items():
            # a copy: where no gradient is asked for, weights change in place
            start = like.expand(shape) if name == WEIGHT else like.new_zeros(shape)
            self.values[name] = kept.values.get(name, start).clone()
        self.decay = {x: float(np.exp(-rate * setting.dt_s)) for x, rate in self.rule.decay_rates.items() if rate}
        self.constants = {**self.rule.values, "dt": setting.dt_s, "int": lambda x: x.to(like.dtype).trunc()}
        self.slot = torch.zeros_like(module.pre) if module.slot is None else module.slot
        self.delays = torch.as_tensor(module.delays, device=like.device)
        trials, synapses = (torch.arange(n, device=like.device) for n in (setting.trials, len(like)))
        self.all = trials[:, None], synapses[None, :]

    # -- the events of a step --------------------------------------------------------------------------

    def begin_step(self) -> None:
        for name, factor in self.decay.items():
            self.values[name] = self.values[name] * factor
        normalisation = self.module.projection.normalisation
        if normalisation and normalisation.every_ms:
            every = max(int(delay_steps(normalisation.every_ms, self.target.setting.dt_s * 1e3)), 1)
            if self.step % every == 0:
                self.normalise(normalisation.total)
        if self.noted is not None:
            self.noted.append(self.values[WEIGHT].clone())

    def normalise(self, total: float) -> None:
        """Scale the incoming weights of each neuron to this sum, where they sum to more than 0."""
        w, post = self.values[WEIGHT], self.module.post
        have = w.new_zeros(len(w), self.module.projection.shape[0]).index_add(1, post, w)
        factor = torch.where(have > 0, total / torch.where(have > 0, have, 1), 1)
        self.values[WEIGHT] = w * factor[:, post]

    def go_on(self) -> None:
        """every_step, for all synapses, or those for whose targets its condition holds."""
        if not self.rule.every_step:
            return
        names = self._names(*self.all)
        new = executed(self.rule.synapse_statements("every"), names)
        holds = evaluated(self.rule.every_step_if, names) if self.rule.every_step_if else torch.ones_like(new[WEIGHT], dtype=torch.bool)
        self.values |= {x: torch.where(holds, new[x], self.values[x]) for x in (WEIGHT, *self.rule.memory)}

    def arrive(self, n: int) -> None:
        """Spikes arrive in step n of the run: they act with the weight as it is, then their synapses run on_pre."""
        spikes = self._arriving(n)
        pre = {x: self.values[x] for x in self.rule.traces["pre"]}
        gain = evaluated(self.rule.efficacy, self.constants | pre) if self.rule.efficacy else torch.ones_like(spikes)
        slot, trial, neuron = spikes.nonzero(as_tuple=True)
        b, s = self.module.reached(trial, slot * spikes.shape[2] + neuron)
        # a surrogate gradient is that of spikes that are not there, too
        self._transmit(spikes * gain, *(self.all if spikes.requires_grad else (b, s)))
        self._change("pre", b, s)
        self._mark("pre", spikes != 0)

    def learn(self) -> None:
        """The target's neurons that fire have their synapses run on_post."""
        if self.target.spiked is not None:
            self._change("post", *self.module.reaching(*self.target.spiked.nonzero(as_tuple=True)))
            self._mark("post", self.target.spiked)
        self.step += 1

    def all_weights(self) -> dict[str, Tensor]:
        """'w' at the start of each step [T, B, S]."""
        return {WEIGHT: torch.stack(self.noted or [])}

    def end(self) -> LearningState:
        return LearningState(self.values, self.step, self.key)

    # -- inside ----------------------------------------------------------------------------------------

    def _arriving(self, n: int) -> Tensor:
        """Spikes [D, B, N_pre] that now reach the synapses with each distinct delay."""
        if torch.is_tensor(self.source):
            return self.source[len(self.source) - self.target.setting.steps + n - self.delays]
        past = self.source.spikes
        silence = torch.zeros_like(past[-1])
        return torch.stack([past[-1 - d] if d < len(past) else silence for d in self.module.delays])

    def _transmit(self, sent: Tensor, b: Tensor, s: Tensor) -> None:
        """Synapses s of trials b weigh what is sent [D, B, N_pre]; the target receives it."""
        values = self.values[WEIGHT][b, s] * self.module.factor * sent[self.slot[s], b, self.module.pre[s]]
        into = values.new_zeros(len(self.values[WEIGHT]), self.module.projection.shape[0])
        self.target.add(self.module.projection.receptor, into.index_put((b, self.module.post[s]), values, accumulate=True))

    def _change(self, side: str, b: Tensor, s: Tensor) -> None:
        """Synapses s of trials b run the statements of one side."""
        if not len(s) or not (statements := self.rule.synapse_statements(side)):
            return
        new = executed(statements, self._names(b, s))
        for name in (WEIGHT, *self.rule.memory):
            old = self.values[name]
            value = torch.as_tensor(new[name]).to(old).expand(len(s))
            self.values[name] = old.index_put((b, s), value) if torch.is_grad_enabled() else old.index_put_((b, s), value)

    def _mark(self, side: str, fired: Tensor) -> None:
        """The traces of neurons that fired change as the statements of their side say."""
        traces = {x: self.values[x] for x in self.rule.traces[side]}
        new = executed(self.rule.trace_statements(side), self.constants | traces)
        self.values |= {x: torch.where(fired, torch.as_tensor(new[x]).to(old), old) for x, old in traces.items()}

    def _names(self, b: Tensor, s: Tensor) -> dict[str, Any]:
        """All that statements of synapses s of trials b may read."""
        pre, post, rule = self.module.pre[s], self.module.post[s], self.rule

        def rand(which: int) -> Tensor:
            number = (b * len(self.module.weight) + s).cpu().numpy()
            return torch.as_tensor(drawn(self.key, rule.draws, number, self.step, which)).to(self.module.weight)

        return (
            self.constants
            | {x: self.values[x][b, s] for x in (WEIGHT, *rule.memory)}
            | {x: self.values[x][self.slot[s], b, pre] for x in rule.traces["pre"]}
            | {x: self.values[x][b, post] for x in rule.traces["post"]}
            | {f"{state}_post": self.target.values[state][b, post] for state in rule.post_states}
            | {"rand": rand}
        )


def executed(statements: Iterable[Statement], names: Mapping[str, object]) -> dict:
    """Every name after the statements."""
    now: dict = dict(names)
    for s in statements:
        value = evaluated(s.expression, now)
        if s.operator != "=":
            value = now[s.target] + (value if s.operator == "+=" else -value)
        now[s.target] = value
    return now


def evaluated(expression: str, names: Mapping[str, object]):
    return eval(_compiled(expression), torch_namespace(), names)  # validated by PlasticityRule


@lru_cache(maxsize=512)
def _compiled(expression: str):
    return compile(elementwise(expression), f"<{expression}>", "eval")
