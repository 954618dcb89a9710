"""The derived step in torch under CUDA graphs: what is launched once is replayed as a whole.

A step of a population is a dozen small kernels of torch, and launching them takes longer than they run. Graphs keeps
for each shape of a group all its steps, forward and backward, as two CUDA graphs. A graph reads and writes fixed
memory, so inputs are copied in and results out; if the graph has run for another input in between, the backward pass
first replays the forward one for its own.

Source: the mechanism of torch.cuda.make_graphed_callables, which overwrites its results at the next call.
"""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spiketwin.models.engines.torch.population import Recurrent, RunningPopulation
from spiketwin.models.engines.torch.projections import ConvolutionalProjection, SparseProjection, WeightedProjection

Group = Mapping[str, RunningPopulation]
Loop = Callable[[tuple[RunningPopulation, ...]], None]
WARM_UP = 3  # runs before a capture: libraries set themselves up in them


class Functional:
    """All steps of a group as a function of tensors.

    inputs: everything that a run starts from or that can change between runs, by name.  inside: (projection,
    source, target) of those within the group.  loop: runs all steps of some populations.
    """

    def __init__(self, group: Group, inside: Sequence[tuple[WeightedProjection, str, str]], loop: Loop) -> None:
        self.group, self.inside, self.loop = dict(group), list(inside), loop
        self.inputs: dict[str, Tensor] = {}
        for name, p in group.items():
            own = {f"values:{n}": v for n, v in p.values.items() if torch.is_tensor(v)}
            own |= {f"signals:{n}": v for n, v in p.signals.items()} | {f"incoming:{n}": v for n, v in p.incoming.items()}
            own |= {a: v for a in ("hold", "per_spike_scale") if torch.is_tensor(v := getattr(p, a, None))}
            self.inputs |= {f"{name}:{key}": value for key, value in own.items()}
        self.inputs |= {f"weight:{k}": module.weight for k, (module, _, _) in enumerate(self.inside)}
        self.names = list(self.inputs)
        self.outputs = [(name, "spikes", "") for name, p in group.items() if p.spec.threshold]
        self.outputs += [(name, "states", s) for name, p in group.items() for s in p.recorded]
        self.outputs += [(name, "final", s) for name, p in group.items() for s in p.spec.states]

    @property
    def key(self) -> tuple:
        """What two runs must share to be replays of one graph."""
        first = next(iter(self.group.values())).setting
        parts: list = [(first.scheme, first.dt_s, first.steps, first.trials, first.surrogate, first.detach_reset), torch.is_grad_enabled()]
        for name, p in self.group.items():
            numbers = tuple((n, v) for n, v in p.values.items() if isinstance(v, int | float))
            hold = getattr(p, "hold", None)
            parts += [(name, p.spec, p.active is None, None if torch.is_tensor(hold) else hold, tuple(p.recorded), numbers)]
        parts += [(id(module), source, target) for module, source, target in self.inside]
        parts += [(n, tuple(t.shape), t.dtype, t.device, t.requires_grad) for n, t in self.inputs.items()]
        return tuple(parts)

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.names, tensors, strict=True))
        group = {name: self._twin(name, p, given) for name, p in self.group.items()}
        for k, (module, source, target) in enumerate(self.inside):
            transmit = _with_weight(module, given[f"weight:{k}"]).transmit_stacked()
            group[target].recurrent.append(Recurrent(group[source], module.projection.receptor, module.delays, transmit))
        self.loop(tuple(group.values()))
        found = {name: {"spikes": {"": p.all_spikes()}, "states": p.all_states(), "final": p.final()} for name, p in group.items()}
        return tuple(found[name][kind][state] for name, kind, state in self.outputs)

    @staticmethod
    def _twin(name: str, p: RunningPopulation, given: Mapping[str, Tensor]) -> RunningPopulation:
        """The population as it was before its first step, with other tensors."""
        twin = copy.copy(p)
        for attribute in ("values", "signals", "incoming"):
            setattr(twin, attribute, {n: given.get(f"{name}:{attribute}:{n}", v) for n, v in getattr(p, attribute).items()})
        for attribute in ("hold", "per_spike_scale"):
            if f"{name}:{attribute}" in given:
                setattr(twin, attribute, given[f"{name}:{attribute}"])
        twin.spikes, twin.recurrent, twin.recorded = [], [], {s: [] for s in p.recorded}
        return twin

    def finish(self, results: Sequence[Tensor]) -> None:
        """Leave the results in the populations."""
        given = dict(zip(self.outputs, results, strict=True))
        for name, p in self.group.items():
            states = {s: given[name, "states", s] for s in p.recorded}
            p.finish(given.get((name, "spikes", "")), states, {s: given[name, "final", s] for s in p.spec.states})

    def template(self) -> Functional:
        """The same function without the tensors of this run, which a graph would keep alive."""
        lean = copy.copy(self)
        lean.inputs, lean.group = {}, {name: _emptied(p) for name, p in self.group.items()}
        return lean


def _emptied(p: RunningPopulation) -> RunningPopulation:
    lean = copy.copy(p)
    for attribute in ("values", "signals", "incoming"):
        setattr(lean, attribute, {n: None if torch.is_tensor(v) else v for n, v in getattr(p, attribute).items()})
    return lean


def _with_weight(module: WeightedProjection, weight: Tensor) -> WeightedProjection:
    """The projection with another tensor in place of its weight."""
    twin = copy.copy(module)
    twin._parameters, twin._buffers = {}, {**module._buffers, "weight": weight}
    return twin


def refusal(group: Group, inside: Sequence[tuple[WeightedProjection, str, str]]) -> str:
    """'' or why the steps of this group cannot be captured."""
    for p in group.values():
        like = p.values[p.spec.states[0]]
        if like.device.type != "cuda":
            return f"the module is on {like.device}; CUDA graphs need a CUDA device"
        if torch._C._functorch.is_functorch_wrapped_tensor(like):
            return "a transformation of torch.func is at work"
    for module, _, _ in inside:
        if isinstance(module, SparseProjection) and not torch.is_grad_enabled():
            return f"sparse weights of '{module.projection.name}' are brought into CSR form, which waits for the device"
        if isinstance(module, ConvolutionalProjection):
            return f"projection '{module.projection.name}' inside the group is convolutional"
    if torch.cuda.is_current_stream_capturing():
        return "a capture is under way"
    return ""


class Captured:
    """A function of tensors as CUDA graphs. samples: inputs of the shapes, dtypes and needs of gradients that all later ones have."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], samples: Sequence[Tensor]) -> None:
        self.function = function
        self.inputs = [
            t.detach().clone(memory_format=torch.contiguous_format).requires_grad_(t.requires_grad and torch.is_grad_enabled())
            for t in samples
        ]
        self.wanted = [t for t in self.inputs if t.requires_grad]
        self.runs = 0
        with torch.cuda.device_of(self.inputs[0]):
            self._capture()

    def _capture(self) -> None:
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(WARM_UP):
                outputs = self.function(*self.inputs)
                self._differentiate(outputs, [torch.zeros_like(o) for o in outputs])
        torch.cuda.synchronize()
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        pool = torch.cuda.graph_pool_handle()
        with torch.cuda.graph(self.forward, pool=pool):
            self.outputs = self.function(*self.inputs)
        self.given = [torch.zeros_like(o) for o in self.outputs]
        self.found: list[Tensor | None] = []
        if self.wanted:
            with torch.cuda.graph(self.backward, pool=pool):
                self.found = self._differentiate(self.outputs, self.given)

    def _differentiate(self, outputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor | None]:
        pairs = [(o, g) for o, g in zip(outputs, gradients) if o.requires_grad]
        if not self.wanted or not pairs:
            return [None] * len(self.wanted)
        return list(torch.autograd.grad([o for o, _ in pairs], self.wanted, [g for _, g in pairs], allow_unused=True))

    def replay(self, tensors: Sequence[Tensor]) -> int:
        """Run forward for these inputs; the number of this run. The results are in `outputs` until the next."""
        with torch.no_grad():
            for static, tensor in zip(self.inputs, tensors, strict=True):
                static.copy_(tensor)
        with torch.cuda.device_of(self.inputs[0]):
            self.forward.replay()
        self.runs += 1
        return self.runs

    def gradients(self, run: int, tensors: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Gradients of all inputs, None where none is wanted or there is none. run, tensors: of the forward pass."""
        if run != self.runs:
            self.replay(tensors)
        for static, gradient in zip(self.given, gradients, strict=True):
            static.zero_() if gradient is None else static.copy_(gradient)
        if self.wanted:
            with torch.cuda.device_of(self.inputs[0]):
                self.backward.replay()
        found = iter(self.found)
        mine = [next(found) if t.requires_grad else None for t in self.inputs]
        return [None if g is None else g.detach().clone() for g in mine]

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return _Replayed.apply(self, *tensors)


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, captured, *tensors):
        ctx.captured, ctx.run = captured, captured.replay(tensors)
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        results = tuple(o.detach().clone() for o in captured.outputs)
        ctx.mark_non_differentiable(*(r for r, o in zip(results, captured.outputs) if not o.requires_grad))
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        return None, *ctx.captured.gradients(ctx.run, ctx.saved_tensors, gradients)


class Graphs:
    """The graphs of a module, the latest few shapes. A copy or a pickle of it is empty: graphs belong to their memory."""

    def __init__(self, most: int = 4, capture: Callable[..., Captured] = Captured) -> None:
        self.most, self.capture = most, capture
        self.known: OrderedDict[tuple, Captured | str] = OrderedDict()

    def advance(self, group: Group, inside: Sequence[tuple[WeightedProjection, str, str]], loop: Loop) -> str:
        """Run all steps of a group that refusal() accepts, and leave the results in it. '' or why they cannot be captured: then nothing has been done."""
        function = Functional(group, inside, loop)
        key, tensors = function.key, list(function.inputs.values())
        if key not in self.known:
            try:
                self.known[key] = self.capture(function.template(), tensors)
            except RuntimeError as error:
                self.known[key] = f"the capture of a CUDA graph failed: {str(error).splitlines()[0]}"
                warnings.warn(f"{self.known[key]}; {', '.join(group)} run step by step", RuntimeWarning, stacklevel=3)
            while len(self.known) > self.most:
                self.known.popitem(last=False)
        self.known.move_to_end(key)
        captured = self.known[key]
        if isinstance(captured, str):
            return captured
        function.finish(captured(*tensors))
        return ""

    def __deepcopy__(self, memo) -> Graphs:
        return Graphs(self.most, self.capture)

    def __getstate__(self) -> dict:
        return {"most": self.most, "capture": self.capture, "known": OrderedDict()}
