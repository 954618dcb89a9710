"""What the code of a fused kernel depends on; sizes, weights, parameters and delays are arguments.

Groups that agree in this share one compiled program.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import sympy

from spiketwin.models.discretisation.adjoint import SLOPE, Backward, backward
from spiketwin.models.discretisation.program import MARGIN, Program, arrival, program
from spiketwin.models.discretisation.symbols import symbol
from spiketwin.models.spec import NeuronSpec

GAIN = "_gain"  # 1 / spike_scale: what turns a distance to threshold into the surrogate's argument


@dataclass(frozen=True)
class Cell:
    """A population. signals: drives that vary, and draws.  vectors: constants that differ between its neurons.  fixed: signals and dense arrivals that do not
    change in time.  wired, dense: receptors that spikes reach through wires, and those with increments given.
    slope: the surrogate's derivative as an expression of x, 'given' where it is computed outside, '' for none.
    record: states kept at the start of each step.  wrt: constants, signals and '_arrive_R' whose gradient is wanted.
    lists: whether the indices of the neurons that fire are written down.  heard: whether the loss depends on the spikes
    themselves, not only through wires."""

    spec: NeuronSpec
    scheme: str
    order: tuple[str, ...]
    held: bool
    detach_reset: bool
    slope: str
    signals: tuple[str, ...]
    vectors: tuple[str, ...]
    fixed: tuple[str, ...]
    wired: tuple[str, ...]
    dense: tuple[str, ...]
    record: tuple[str, ...]
    wrt: tuple[str, ...]
    lists: bool
    heard: bool = True

    @cached_property
    def program(self) -> Program:
        receptors = tuple(s for s in self.spec.states if s in self.wired or s in self.dense)
        return program(self.spec, self.scheme, self.order, self.held, receptors)

    @property
    def spiking(self) -> bool:
        return bool(self.spec.threshold) and "threshold" in self.order

    @property
    def timed(self) -> bool:
        """Whether a refractory period holds a neuron for a time, not by a condition."""
        return self.held and self.spec.refractory_kind == "time"

    @cached_property
    def constants(self) -> tuple[str, ...]:
        still = tuple(d for d in self.program.signals if d not in self.signals)
        return (*self.program.constants, *still, *((GAIN,) if self.spiking and self.slope else ()))

    @property
    def scalars(self) -> tuple[str, ...]:
        return tuple(c for c in self.constants if c not in self.vectors)

    def flagged(self, split: bool) -> bool:
        """Whether flags of each step must be kept; else a spike shows in the margin that is kept."""
        return self.held or (self.spiking and (split or "_margin" not in self.kept))

    def passes(self, split: bool) -> tuple[tuple[str, ...], ...]:
        """The events in one pass over the neurons, or in two, before and from the arrival of spikes on."""
        return self.program.around("receive") if split else (self.order,)

    def reverse(self, events: tuple[str, ...]) -> Backward:
        """Gradients through a pass."""
        return backward(self.program, events, self.wrt, detach_reset=self.detach_reset)

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """What the forward pass keeps of every step: either all that the gradients need, or the states at the
        start of the step, from which the rest is computed again, whichever is less."""
        needed = self._needed
        # a slope that is computed outside needs the margin itself
        outside = {str(MARGIN)} if self.slope == "given" and MARGIN in needed else set()
        direct = sorted(str(s) for s in needed if str(s) not in outside)
        late = [n for n in direct if self._arrived(n)]
        early = sorted(str(s) for n in direct if n not in late for s in self._ancestors(symbol(n)) if str(s) in self.spec.states)
        again = sorted({*late, *early})
        return tuple(sorted({*outside, *(direct if len(direct) <= len(again) else again)}))

    @cached_property
    def again(self) -> tuple[str, ...]:
        """Assignments of the step that the backward pass does once more."""
        wanted = {symbol(str(s)) for s in self._needed if str(s) not in self.kept}
        chain = set().union(*(self._ancestors(s, stop=set(self.kept)) for s in wanted)) if wanted else set()
        return tuple(str(let.name) for let in self.program.lets if let.name in chain | wanted and str(let.name) not in self.kept)

    @property
    def _needed(self) -> set[sympy.Symbol]:
        """Quantities of the forward step in the gradients, apart from constants and signals."""
        varying = {let.name for let in self.program.lets} | {symbol(s) for s in self.spec.states}
        varying |= {arrival(r) for r in self.program.receptors}
        needs = self.reverse(self.order).needs
        if SLOPE in needs and self.slope:
            needs |= {MARGIN}
        return needs & varying

    def _ancestors(self, name: sympy.Symbol, stop: set[str] = frozenset()) -> set[sympy.Symbol]:
        """`name` and all that its value is computed from."""
        values = {let.name: let.value for let in self.program.lets}
        found, pending = set(), [name]
        while pending:
            s = pending.pop()
            if s not in found:
                found.add(s)
                pending += [] if str(s) in stop else [q for q in values[s].free_symbols] if s in values else []
        return found

    def _arrived(self, name: str) -> bool:
        """Whether a quantity depends on what arrives in the same step."""
        return any(str(s).startswith("_arrive_") for s in self._ancestors(symbol(name)))


@dataclass(frozen=True)
class Wire:
    """A projection into cell `target`. source: index of the cell whose spikes it carries, -1 for spikes known beforehand.
    kind: 'dense' or 'sparse' weights.  wrt_weight, wrt_source: whether gradients of the weights, and of spikes known
    beforehand, are wanted."""

    source: int
    target: int
    receptor: str
    kind: str
    wrt_weight: bool
    wrt_source: bool


@dataclass(frozen=True)
class Structure:
    """Populations that advance together, and the wires that reach them. stages: for each cell the number of its stage;
    spikes flow from a stage to later ones, and within it in circles.  dtype: 'float32' or 'float64'.
    resumed: whether spikes of an earlier run are still on their way: then those of its last steps stand before those of this one."""

    cells: tuple[Cell, ...]
    wires: tuple[Wire, ...]
    stages: tuple[int, ...]
    dtype: str
    resumed: bool = False

    def is_cyclic(self, wire: Wire) -> bool:
        """Whether a wire stays within its stage."""
        return wire.source >= 0 and self.stages[wire.source] == self.stages[wire.target]

    def is_split(self, p: int) -> bool:
        """Whether spikes travel inside the stage of cell p, so that each of its steps takes two passes."""
        return any(self.is_cyclic(w) and self.stages[w.target] == self.stages[p] for w in self.wires)

    def sends(self, p: int) -> bool:
        """Whether a wire starts at cell p."""
        return any(w.source == p for w in self.wires)

    def awaited(self, p: int) -> list[str]:
        """Receptors of cell p whose gradients wait for the step in which their spikes were fired."""
        return sorted({w.receptor for w in self.wires if w.source >= 0 and w.target == p})

    def lag(self, wire: Wire) -> int:
        """1 where spikes are received before the threshold of the same step, so that the newest are those of the step before."""
        order = self.cells[wire.target].order
        early = "threshold" in order and "receive" in order and order.index("receive") < order.index("threshold")
        return int(self.is_cyclic(wire) and early)
