"""How a neuron's own states follow what arrives at one of its synapses: forward-mode differentiation of the derived step.

Each assignment y = f(a, b, …) of a step gives, with dy the derivative of y by one weight,

    dy = ∂f/∂a da + ∂f/∂b db + …,       d arrival = the presynaptic signal,       dS = h(margin) d margin at the threshold

with the partial derivatives by sympy and h the surrogate. Other neurons stay as they were: this is the eligibility vector of e-prop,

    ε_ji(t) = ∂h_j(t)/∂h_j(t-1) ε_ji(t-1) + ∂h_j(t)/∂W_ji,      e_ji(t) = ∂S_j(t)/∂h_j(t) ε_ji(t),

of whatever model has a derived step. Where the factors before the derivatives are the same for all postsynaptic neurons, so are the
derivatives, and one trace per presynaptic neuron holds them. It shows in their shape: [B, 1, M] for M synapses onto each of N
neurons, [B, N, M] for those of a model that has to keep one per synapse.

Source: Bellec et al. 2020, Nature Communications 11:3625, Methods; Griewank & Walther 2008, section 3.1, forward mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import cast

import sympy
import torch
from torch import Tensor

from spiketwin.models.discretisation.functions import torch_functions
from spiketwin.models.discretisation.printing import code
from spiketwin.models.discretisation.program import MARGIN, SPIKE, Crossing, Let, Release, arrival, program
from spiketwin.models.discretisation.symbols import ACTIVE, blend, symbol, where
from spiketwin.models.spec import NeuronSpec

SLOPE, ARRIVES, ZERO, ONE = symbol("_slope"), symbol("_d_arrives"), sympy.Integer(0), sympy.Integer(1)
slope_of = sympy.Function("slope_of")  # margin -> dS/dmargin, from the surrogate


@dataclass(frozen=True, eq=False)
class Traced:
    """Derivatives by the weights after a step. states: name -> [B, 1 or N, M].
    The spike's is slope [B, N, 1] times margin [B, 1 or N, M]; both None without a threshold."""

    states: Mapping[str, Tensor]
    slope: Tensor | None
    margin: Tensor | None


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """One step of the derivatives. lets: assignments in the order of evaluation, _d_NAME for the derivative of NAME.
    after: state -> its derivative at the end of the step.  margin: that of the distance to threshold, None without a threshold."""

    spec: NeuronSpec
    lets: tuple[Let, ...]
    after: Mapping[str, sympy.Expr]
    margin: sympy.Expr | None

    @cached_property
    def needs(self) -> frozenset[str]:
        """States at the start of the step, constants, flags and signals that must be known."""
        made = {let.name for let in self.lets} | {ARRIVES} | {derivative(s) for s in self.spec.states}
        return frozenset(str(s) for e in self._expressions for s in e.free_symbols - made)

    @property
    def _expressions(self) -> list[sympy.Expr]:
        return [*(let.value for let in self.lets), *self.after.values(), *([] if self.margin is None else [self.margin])]

    def source(self) -> str:
        """The step as Python, to read and to run."""
        arguments = [*sorted(self.needs), *(str(derivative(s)) for s in self.spec.states), str(ARRIVES), "slope_of"]
        lines = [f"    {let.name} = {code(let.value, 'torch')}" for let in self.lets]
        spike = "None, None" if self.margin is None else f"{SLOPE}, {code(self.margin, 'torch')}"
        results = ", ".join([*(code(self.after[s], "torch") for s in self.spec.states), spike])
        return f"def step({', '.join(arguments)}):\n" + "\n".join([*lines, f"    return {results}"]) + "\n"

    def step(self, values: Mapping, before: Mapping[str, Tensor], arrives: Tensor, slope: Callable[[Tensor], Tensor] | None) -> Traced:
        """values: by the names in `needs`, [B, N, 1] or numbers.  before: state -> derivative [B, 1 or N, M] at the start of the step.
        arrives: presynaptic signals [B, 1, M].  slope: margin -> dS/dmargin."""
        given = {name: values[name] for name in self.needs} | {str(derivative(s)): t for s, t in before.items()}
        *states, rise, margin = self._function(**given, **{str(ARRIVES): arrives}, slope_of=slope)
        like = torch.zeros_like(arrives)
        return Traced({s: like + d for s, d in zip(self.spec.states, states)}, rise, None if margin is None else like + margin)

    @cached_property
    def _function(self) -> Callable:
        namespace = {**torch_functions(), "where": torch.where, "exprel_slope": _exprel_slope}
        exec(compile(self.source(), f"<sensitivity of {self.spec.name}>", "exec"), namespace)  # printed by us
        return namespace["step"]


def derivative(name: object) -> sympy.Symbol:
    """What the derivative of `name` by a weight is called."""
    return symbol(f"_d_{name}")


@lru_cache(maxsize=256)
def sensitivity(
    spec: NeuronSpec, scheme: str, order: tuple[str, ...], held: bool, receptor: str, through: frozenset[str] = frozenset()
) -> Sensitivity:
    """The derivatives of a step of `spec` by the weights onto `receptor`.

    held: whether a refractory period ever holds a neuron.  through: states whose reset passes the derivative of the spike on; all of
    them where a network is built with detach_reset=False, 'theta' for the adaptive threshold of Bellec et al. 2020.
    Raises SchemeError as derive() does, ValueError for an order of events that has no program.
    """
    made = program(spec, scheme, order, held, (receptor,))
    known = {symbol(s): derivative(s) for s in spec.states} | {arrival(receptor): ARRIVES}
    lets: list[Let] = []

    def let(name: sympy.Symbol, value: sympy.Expr) -> sympy.Symbol:
        lets.append(Let(name, value))
        return name

    for _, operations in made.events:
        for op in operations:
            if isinstance(op, Crossing):
                let(SLOPE, where(ACTIVE, slope_of(MARGIN), ZERO) if op.gated else slope_of(MARGIN))
                if through and MARGIN in known:
                    known[SPIKE] = let(derivative(SPIKE), SLOPE * known[MARGIN])
            if isinstance(op, Release) or isinstance(op, Crossing):
                continue
            lets.append(op)
            terms = []
            for argument in sorted(op.value.free_symbols & known.keys(), key=str):
                if argument == SPIKE and made.state_of(op.name) not in through:
                    continue
                # exp is its own derivative
                partial = chosen(sympy.diff(op.value, argument)).xreplace({op.value: op.name})
                terms += [] if partial == 0 else [partial * known[argument]]
            if terms:
                known[op.name] = let(derivative(op.name), sympy.Add(*terms))
    after = {s: known.get(made.after[s], ZERO) for s in spec.states}
    margin = known.get(MARGIN, ZERO) if spec.threshold else None
    wanted = [*after.values(), *([] if margin is None else [margin, SLOPE])]
    return Sensitivity(spec, _needed(lets, wanted), after, margin)


def chosen(expression: sympy.Expr) -> sympy.Expr:
    """The same with at most one choice for each flag, and none where both ways lead to the same: a reset by subtraction, spike or no
    spike, keeps the derivative by v, and then it is the same for all neurons."""
    choices = [f for f in sympy.preorder_traversal(expression) if isinstance(f, where | blend)]
    if not choices:
        return expression
    flag = choices[0].args[0]

    def decided(way: bool) -> sympy.Expr:
        found = expression.replace(lambda e: isinstance(e, where) and e.args[0] == flag, lambda e: e.args[1 if way else 2])
        found = found.replace(lambda e: isinstance(e, blend) and e.args[0] == flag, lambda e: e.args[2 if way else 3])
        return chosen(sympy.expand(found))

    yes, no = decided(True), decided(False)
    return yes if yes == no else cast(sympy.Expr, where(flag, yes, no))


def _needed(lets: list[Let], wanted: list[sympy.Expr]) -> tuple[Let, ...]:
    """Those assignments that the wanted expressions rest on."""
    used = set().union(*(e.free_symbols for e in wanted))
    kept = []
    for one in reversed(lets):
        if one.name in used:
            kept.append(one)
            used |= one.value.free_symbols
    return tuple(reversed(kept))


def _exprel_slope(x: Tensor) -> Tensor:
    """(e^x (x - 1) + 1)/x², 1/2 at 0; the branch not taken gets a harmless argument."""
    small = x.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(x), x)
    return torch.where(small, 0.5 + x / 3 + x * x / 8, (torch.exp(safe) * (safe - 1) + 1) / safe**2)
