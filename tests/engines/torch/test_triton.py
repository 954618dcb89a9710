"""Triton kernels and CUDA graphs against the derived step in torch.

Where there is a GPU they run on it. Where there is none but triton is installed, Triton's interpreter runs the kernels
on the CPU, and its compiler makes machine code of some of them; `make check-triton` sets up such an environment. The source
that they are generated as is checked everywhere.
"""

from __future__ import annotations

import ast
import itertools
import os
import pickle
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fused_cases as cases
from spiketwin.models import Network, Population, Projection, Spikes, SpikeSource
from spiketwin.models.discretisation.printing import code
from spiketwin.models.discretisation.symbols import symbol
from spiketwin.models.engines.fused.structure import Cell
from spiketwin.models.engines.fused.triton_source import FUNCTIONS, backward_arguments, forward_arguments, source
from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.models.engines.torch import module as torch_module
from spiketwin.models.engines.torch.kernels import cuda, graphs
from spiketwin.models.neurons import NEURONS, neuron
from spiketwin.models.semantics import REFERENCE
from spiketwin.rules.surrogate import SURROGATES, surrogate

GOLDEN = Path(__file__).with_name("triton_cuba_lif.txt")
HAS_GPU = torch.cuda.is_available()
DEVICE = "cuda" if HAS_GPU else "cpu"
needs_triton = pytest.mark.skipif(bool(cuda.triton_missing()), reason=cuda.triton_missing() or "triton is there")
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="no GPU: torch.cuda.is_available() is False")
# elements beyond the last are computed, too, from zeros, and dropped
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


def make(name: str):
    """A surrogate, gentle enough that a voltage in the last digit does not show in its slope."""
    return SURROGATES[name](scale=5.0) if name in ("fast_sigmoid", "sigmoid") else SURROGATES[name]()


# -- the source, everywhere --------------------------------------------------------------------------------------


def cell(name: str, scheme: str, **changes) -> Cell:
    """A population with an input at each receptor, all of whose states are recorded and all of whose gradients are wanted."""
    spec = neuron(name)
    wrt = (*(f"_arrive_{r}" for r in spec.inputs), *spec.drives, *spec.parameters)
    made = Cell(
        spec, scheme, REFERENCE.order, bool(spec.refractory), False, "1/(1 + abs(x))**2", (), (), (), (), tuple(spec.inputs),
        tuple(spec.states), wrt, lists=False,
    )  # fmt: skip
    return replace(made, **({"signals": made.program.signals} | changes))


@pytest.mark.parametrize("name, scheme", cases.MODELS_AND_SCHEMES)
def test_the_source_parses_and_mentions_only_what_it_defines(name, scheme):
    for made in (cell(name, scheme), cell(name, scheme, vectors=tuple(neuron(name).parameters), slope="given")):
        tree = ast.parse(source(made, "float32"))
        kernels = {f.name: f for f in tree.body if isinstance(f, ast.FunctionDef)}
        assert kernels.keys() == {"real", "forward", "backward"}
        imported = {a.asname or a.name.split(".")[0] for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom) for a in s.names}
        assert imported <= {"triton", *FUNCTIONS} | {"tl"}
        for direction, arguments in (("forward", forward_arguments(made)), ("backward", backward_arguments(made))):
            kernel = kernels[direction]
            named = [a.arg for a in kernel.args.args]
            assert named[: len(arguments)] == arguments and len(set(named)) == len(named)
            known = imported | {"tl", "real", "REAL", "range", *named}
            for statement in ast.walk(kernel):
                if isinstance(statement, ast.Name) and isinstance(statement.ctx, ast.Store):
                    known.add(statement.id)
            used = {n.id for n in ast.walk(kernel) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
            # a decorator is no part of the body
            assert used - known - {"triton"} == set()
            assert set(arguments) <= used | {"_last", "_steps", "_neurons"}, "an argument is not used"


def test_the_source_of_cuba_lif():
    """Renew with: python tests/engines/torch/test_triton.py"""
    text = source(cell("cuba_lif", "exact", wrt=("_arrive_i_syn", "decay_mem")), "float64")
    assert text.split("\n", 1)[1] == GOLDEN.read_text()


def test_powers():
    x, p = symbol("x"), symbol("p")
    assert code(x**2, "triton") == "((x)*(x))" and code(1 / x, "triton") == "(real(1.0)/((x)))"
    assert code(x**9, "triton").count("(x)") == 9, "no logarithm of what may be negative"
    assert code(x**p, "triton") == "power(x, p)"


def test_without_triton_or_a_gpu_the_plan_says_so(monkeypatch):
    module = TorchNetwork(cases.network("cuba_lif", recurrent=False), dt_ms=0.1)
    groups = populations(module)
    monkeypatch.setattr(cuda, "triton_missing", lambda: "triton is not installed: pip install triton")
    for group in groups:
        assert cuda.path(group, module.order, []) == (
            "step by step in torch",
            "triton is not installed: pip install triton; the module is on cpu; CUDA graphs need a CUDA device",
        )
    monkeypatch.setattr(cuda, "triton_missing", lambda: "")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert cuda.refusal(groups[0], module.order) == "the module is on cpu; Triton kernels run on a CUDA device"
    assert "inside the group" in cuda.refusal(groups[0], module.order, [(None, "first", "first")])
    half = populations(module.half())[0]
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert cuda.refusal(half, module.order) == "torch.float16 has no kernel; use float32 or float64"


def populations(module: TorchNetwork) -> list[dict]:
    """The groups of a module, ready to run."""
    kept = []

    def keep(group, order, progress=None, learning=()):
        kept.append({str(k): p for k, p in enumerate(group)})
        for p in group:
            shape = (1, *p.values[p.spec.states[0]].shape)
            p.finish(torch.zeros(shape, dtype=module.like.dtype), {}, p.final())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_module, "step_by_step", keep)
        patch.setattr(module, "kernels", "torch")
        module({"input": torch.zeros((1, 1, cases.IN), dtype=module.like.dtype)})
    return kept


# -- the kernels, on a GPU or in the interpreter -----------------------------------------------------------------


@pytest.fixture
def by_triton(monkeypatch):
    """A context in which populations that would run step by step run in a Triton kernel."""
    if not HAS_GPU:
        monkeypatch.setenv("TRITON_INTERPRET", "1")

    def advance(group, order, progress=None, learning=()):
        for p in group:
            assert cuda.refusal({"": p}, order) == ""
            cuda.advance(p, order)

    def context():
        patch = pytest.MonkeyPatch()
        patch.setattr(torch_module, "step_by_step", advance)
        return patch

    return context


def both(by_triton, net, name, **same):
    """The outcome step by step in torch and that of kernels."""
    one = cases.outcome(net, name, "torch", device=DEVICE, **same)
    patch = by_triton()
    try:
        return one, cases.outcome(net, name, "torch", device=DEVICE, **same)
    finally:
        patch.undo()


def assert_equal(one, other, bound=1e-12):
    for cells in one[0].spikes:
        assert torch.equal(one[0].spikes[cells], other[0].spikes[cells])
    # a kernel says 0 where autograd finds no path, e.g. to a threshold without a surrogate
    absent = {n for n, g in one[1].items() if g is None}
    assert not any(other[1][n].any() for n in absent if other[1][n] is not None)
    one, other = ((activity, {n: g for n, g in found.items() if n not in absent}) for activity, found in (one, other))
    states, gradients = cases.differences(one, other)
    assert states < bound and gradients < bound


@needs_triton
@pytest.mark.parametrize("number, name, scheme", [(k, *pair) for k, pair in enumerate(cases.MODELS_AND_SCHEMES)])
def test_a_kernel_does_what_the_derived_step_does(by_triton, number, name, scheme):
    # over its schemes each model meets both kinds of reset and several surrogates
    kind = list(SURROGATES)[number % len(SURROGATES)]
    # a Hodgkin-Huxley step has thousands of operations, each of them interpreted: as few as it takes to fire
    T = {"hh_1952": 16, "hh_neuron": 16, "hh_traub_miles": 44 if scheme == "euler" else 10}.get(name)
    same = dict(scheme=scheme, detach_reset=number % 2 == 0, surrogate=make(kind), T=T)
    one, other = both(by_triton, cases.network(name, recurrent=False), name, **same)
    if neuron(name).threshold and T != 10:
        assert sum(one[0].spikes[cells].sum() for cells in ("first", "second")) >= 3, "the neurons must fire"
    # twice 1e-12 for the eighty exponentials of each step of a Runge-Kutta Hodgkin-Huxley neuron
    assert_equal(one, other, 2e-12)


@needs_triton
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("kind", [*SURROGATES, "given", None])
def test_every_surrogate_and_reset(by_triton, kind, detach_reset):
    tent = surrogate(lambda x: torch.relu(1 - x.abs()))  # torch alone can evaluate it
    chosen = tent if kind == "given" else make(kind) if kind else None
    one, other = both(
        by_triton,
        cases.network("adaptive_lif", recurrent=False),
        "adaptive_lif",
        scheme="exact",
        detach_reset=detach_reset,
        surrogate=chosen,
    )
    assert one[0].spikes["first"].sum() > 3
    assert_equal(one, other)


@needs_triton
@pytest.mark.parametrize("name", NEURONS)
def test_single_precision_to_1e_5(by_triton, name):
    scheme = next(scheme for model, scheme in cases.MODELS_AND_SCHEMES if model == name)
    same = dict(scheme=scheme, surrogate=make("sigmoid"), dtype=torch.float32, T=12, train=not neuron(name).inputs)
    one, other = both(by_triton, cases.network(name, recurrent=False), name, **same)
    if all(torch.equal(one[0].spikes[p], other[0].spikes[p]) for p in one[0].spikes):  # a spike may flip by rounding
        assert_equal(one, other, 1e-5)


ORDERS = [
    ("receive", "count_down", "integrate", "threshold", "reset"),
    ("threshold", "integrate", "receive", "reset"),
    ("count_down", "threshold", "receive", "integrate", "reset"),
]


@needs_triton
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["if_neuron", "lif_delta"])
def test_any_order_of_events(by_triton, name, order):
    module = TorchNetwork(cases.network(name, recurrent=False), dt_ms=0.1, scheme="euler", order=order)
    if cuda.refusal(populations(module)[0], order):
        pytest.skip("no program can be written for this order")
    same = dict(scheme="euler", order=order, surrogate=make("arctan"), detach_reset=False)
    one, other = both(by_triton, cases.network(name, recurrent=False), name, **same)
    assert one[0].spikes["first"].sum() > 0
    assert_equal(one, other)


def heterogeneous(size: int) -> Network:
    """Neurons that differ in their time constants and refractory periods."""
    parameters = {"tau_mem": np.linspace(5, 20, size), "tau_ref": np.arange(size) % 4 * 0.5}
    cells = Population("cells", neuron("cuba_lif"), size, parameters=parameters)
    weights = np.random.default_rng(0).uniform(0, 1.2, (size, 4))
    return Network([cells], [Projection("in", "cells", weights, "i_syn", unit="nA")], [SpikeSource("in", 4)])


@needs_triton
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.sampled_from([1, 5, 127, 130]),
    trials=st.integers(1, 3),
    T=st.integers(1, 12),
    share=st.sampled_from([0.0, 0.4, 1.0]),
    drive=st.sampled_from(["none", "constant", "varying"]),
)
def test_sizes_inputs_and_neurons_that_differ(by_triton, size, trials, T, share, drive):
    rng = np.random.default_rng(size * T)
    spikes = torch.from_numpy((rng.random((T, trials, 4)) < share).astype(float)).to(DEVICE)
    found = []
    for is_kernel in (False, True):
        patch = by_triton() if is_kernel else None
        module = TorchNetwork(
            heterogeneous(size),
            dt_ms=0.5,
            surrogate=make("sigmoid"),
            dtype=torch.float64,
            kernels="torch",
            trainable_parameters={"cells": ("tau_mem", "v_threshold")},
        ).to(DEVICE)
        given = {"in": spikes.clone().requires_grad_()}
        if drive != "none":
            given["cells.i_ext"] = torch.full((1 if drive == "constant" else T, 1, size), 2e-10, dtype=torch.float64, device=DEVICE)
            given["cells.i_ext"].requires_grad_()
        out = module(given, steps=T, trials=trials, record={"cells": ("v",)})
        silent = module({n: t.detach() for n, t in given.items()}, steps=T, trials=trials, record={"cells": ("v",)})
        assert torch.equal(silent.spikes["cells"], out.spikes["cells"])
        loss = out.spikes["cells"].sum() + 1e3 * (out.states["cells"]["v"].sum() + out.final["cells"]["v"].sum())
        wanted = [*module.parameters(), *given.values()]
        found.append((out, torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)))
        if patch:
            patch.undo()
    (a, ga), (b, gb) = found
    assert torch.equal(a.spikes["cells"], b.spikes["cells"])
    for x, y in [(a.states["cells"]["v"], b.states["cells"]["v"]), *zip(ga, gb, strict=True)]:
        assert x.shape == y.shape and torch.allclose(x, y, rtol=1e-11, atol=1e-12 * float(x.detach().abs().max()))


@needs_triton
def test_gradients_twice_from_one_run_and_none_of_some_outputs(by_triton):
    patch = by_triton()
    try:
        module = TorchNetwork(heterogeneous(5), dt_ms=0.5, surrogate=make("sigmoid"), dtype=torch.float64, kernels="torch").to(DEVICE)
        spikes = (torch.rand((20, 2, 4), generator=torch.Generator().manual_seed(0)) < 0.5).double().to(DEVICE)
        out = module({"in": spikes}, record={"cells": ("v",)})
        assert out.spikes["cells"].sum() > 3
        (weight,) = module.parameters()
        losses = [out.spikes["cells"].sum(), out.states["cells"]["v"].sum() * 1e3, out.final["cells"]["i_syn"].sum() * 1e9]
        parts = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in losses]
        (whole,) = torch.autograd.grad(sum(losses), weight)
    finally:
        patch.undo()
    assert all(p.abs().sum() > 0 for p in parts), parts
    assert torch.allclose(sum(parts), whole, rtol=1e-12, atol=1e-14)


FUNCTION_CHECK = """
import importlib, numpy as np, scipy.special, torch
triton, tl = importlib.import_module("triton"), importlib.import_module("triton.language")
from spiketwin.models.engines.fused import triton_functions as functions
{kernels}
references = dict(exp=np.exp, log=np.log, sqrt=np.sqrt, tan=np.tan, exprel=scipy.special.exprel, expm1=np.expm1, log1p=np.log1p,
    tanh=np.tanh, sinh=np.sinh, cosh=np.cosh, atan=np.arctan, sign=np.sign, floor=np.floor, ceil=np.ceil)
for dtype in (torch.float64, torch.float32):
    for name, reference in references.items():
        x = np.resize(np.concatenate([np.linspace(-5, 5, 999), [0, 1e-12, -1e-9, 30, -30, .7, -.7, .4, -.4, 1e-5, 80, -80]]), 1024)
        x = np.abs(x) + 1e-3 if name in ("log", "sqrt") else np.abs(x) - .999 if name == "log1p" else x
        x = torch.tensor(x, dtype=dtype, device="{device}")
        y = torch.empty_like(x)
        globals()[f"try_{{name}}"][(1,)](x, y, BLOCK=1024)
        true, got = reference(x.double().cpu().numpy()), y.double().cpu().numpy()
        error = np.abs(got - true)/np.maximum(np.abs(true), 1e-300)
        error = np.where(true == 0, np.abs(got), error).max()/torch.finfo(dtype).eps
        assert error < {bound}, (name, dtype, error)
"""


@needs_triton
def test_functions_to_a_few_units_in_the_last_place(tmp_path):
    names = "exp log sqrt tan exprel expm1 log1p tanh sinh cosh atan sign floor ceil".split()
    kernels = "\n".join(
        f"@triton.jit\ndef try_{n}(x, y, BLOCK: tl.constexpr):\n    i = tl.arange(0, BLOCK)\n    tl.store(y + i, functions.{n}(tl.load(x + i)))"
        for n in names
    )
    # a GPU's own float32 exp and log are approximations
    text = FUNCTION_CHECK.format(kernels=kernels, device=DEVICE, bound=64 if HAS_GPU else 4)
    run_python(tmp_path, text, {} if HAS_GPU else {"TRITON_INTERPRET": "1"})


COMPILE = """
import sys
sys.path[:0] = {path}
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from test_triton import backward_arguments, cell, forward_arguments, source
from spiketwin.models.engines.compiled.cache import load
options = {{"enable_fp_fusion": False}}
for name, scheme, dtype in {chosen}:
    made = cell(name, scheme)
    kernels = load(source(made, dtype))
    for direction, names in (("forward", forward_arguments(made)), ("backward", backward_arguments(made))):
        kinds = {{n: "*fp" + dtype[-2:] for n in names}} | dict(_size="i32", _steps="i32", _neurons="i32", _last="i64")
        kinds |= {{n: k for n, k in (("_flags", "*u8"), ("_hold", "*i32")) if n in names}}
        constants = {{"BLOCK": 128}} | ({{"KEEP": True}} if direction == "forward" else {{}})
        kinds |= {{n: "constexpr" for n in constants}}
        done = compile(ASTSource(fn=getattr(kernels, direction), signature=kinds, constexprs=constants), target=GPUTarget("cuda", 80, 32), options=options)
        assert len(done.asm["cubin"]) > 1000
"""


@needs_triton
def test_the_compiler_makes_machine_code_of_the_kernels(tmp_path):
    # one of each kind: refractory for a time and by a condition, noise, a random threshold, gated, powers, exprel
    chosen = [("cuba_lif", "exact", "float32"), ("hh_neuron", "exponential_euler", "float64"), ("noisy_lif", "heun", "float64")]
    chosen += [
        ("escape_lif", "exact", "float32"),
        ("lif_delta", "euler", "float64"),
        ("adex", "rk4", "float32"),
        ("leaky_readout", "exact", "float64"),
    ]
    here = Path(__file__).parent
    run_python(tmp_path, COMPILE.format(path=[str(here), str(here.parent)], chosen=chosen), {"TRITON_INTERPRET": "0"})


def run_python(folder: Path, text: str, environment: dict[str, str]) -> None:
    script = folder / "check.py"
    script.write_text(text)
    paths = os.pathsep.join(p for p in sys.path if p)
    ran = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": paths, **environment}, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr[-3000:]


# -- CUDA graphs -------------------------------------------------------------------------------------------------


class OnCPU(graphs.Captured):
    """Does at each replay what a CUDA graph would: the same work in the same memory."""

    def _capture(self):
        self.outputs = [torch.empty_like(o).requires_grad_(o.requires_grad) for o in self.function(*self.inputs)]
        self.given = [torch.zeros_like(o) for o in self.outputs]
        self.found = [torch.empty_like(t) for t in self.wanted]
        self.forward, self.backward = Replay(self._forward), Replay(self._backward)

    def _forward(self):
        with torch.enable_grad():
            self.results = self.function(*self.inputs)
        with torch.no_grad():
            for static, result in zip(self.outputs, self.results):
                static.copy_(result)

    def _backward(self):
        for k, gradient in enumerate(self._differentiate(self.results, self.given)):
            self.found[k] = gradient


class Replay:
    def __init__(self, replay):
        self.replay = replay


def by_graphs(module: TorchNetwork, known: graphs.Graphs, patch: pytest.MonkeyPatch) -> None:
    """Let groups that would run step by step run as replays."""
    loop, turns = torch_module.step_by_step, itertools.cycle(module.groups)

    def advance(group, order, progress=None, learning=()):
        names = next(turns)
        inside = [(module.projections[p.name], p.source, p.target) for p in module.network.projections if {p.source, p.target} <= {*names}]
        assert known.advance(dict(zip(names, group, strict=True)), inside, lambda twins: loop(twins, order)) == ""

    patch.setattr(torch_module, "step_by_step", advance)


def graph_module(name: str) -> TorchNetwork:
    return TorchNetwork(
        cases.network(name),
        dt_ms=cases.dt_ms(name),
        scheme="euler",
        surrogate=make("sigmoid"),
        dtype=torch.float64,
        kernels="torch",
        detach_reset=False,
        trainable_parameters={"first": cases.trainable(name)},
    ).to(DEVICE)


@pytest.mark.parametrize("capture", [pytest.param(OnCPU, id="imitated"), pytest.param(graphs.Captured, id="captured", marks=needs_gpu)])
@pytest.mark.parametrize("name", ["cuba_lif", "lif_delta", "adaptive_lif", "hh_neuron"])
def test_a_recurrent_group_as_replays(name, capture):
    rng, T = np.random.default_rng(0), cases.steps(name)
    trains = [Spikes.from_dense(rng.random((T, 2, cases.IN)) < 0.2, dt_ms=cases.dt_ms(name)) for _ in range(3)]
    found = []
    for is_replayed in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            module, known = graph_module(name), graphs.Graphs(capture=capture)
            if is_replayed:
                by_graphs(module, known, patch)
            outcomes = [module({"input": spikes}, record={"first": ("v",)}) for spikes in trains]
            # the gradients of the first run come when the graph has run for others
            gradients = [
                torch.autograd.grad(
                    o.spikes["second"].sum() + 1e3 * o.states["first"]["v"].sum(), list(module.parameters()), allow_unused=True
                )
                for o in outcomes
            ]
            if is_replayed:
                assert len(known.known) == 2, "one graph for each group, whatever the input"
            found.append((outcomes, gradients))
    assert found[0][0][0].spikes["first"].sum() > 3
    for a, b in zip(found[0][0], found[1][0], strict=True):
        assert torch.equal(a.spikes["first"], b.spikes["first"]) and torch.equal(a.spikes["second"], b.spikes["second"])
        assert torch.allclose(a.states["first"]["v"], b.states["first"]["v"], rtol=1e-12, atol=0)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x is None) == (y is None) and (
                x is None or torch.allclose(x, y, rtol=1e-11, atol=1e-12 * float(x.detach().abs().max()))
            )


def test_a_capture_that_fails_says_why_once_and_runs_step_by_step():
    def fail(function, tensors):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    module = TorchNetwork(cases.network("cuba_lif", recurrent=False), dt_ms=0.1)
    group, known = populations(module)[0], graphs.Graphs(capture=fail)
    with pytest.warns(RuntimeWarning, match="capture of a CUDA graph failed: operation not permitted when stream is capturing; 0 run step"):
        reason = known.advance(group, [], lambda twins: None)
    assert reason == known.advance(group, [], lambda twins: None) != ""
    assert deepcopy(known).known == {} and len(known.known) == 1
    assert pickle.loads(pickle.dumps(graphs.Graphs())).known == {}


@needs_gpu
def test_a_module_on_a_gpu_takes_these_paths():
    module = TorchNetwork(cases.network("cuba_lif"), dt_ms=0.1, surrogate=make("sigmoid")).to("cuda")
    plan = module.plan()
    assert "CUDA graph" in plan["first"].path
    assert "Triton" in plan["second"].path or cuda.triton_missing()


if __name__ == "__main__":
    GOLDEN.write_text(source(cell("cuba_lif", "exact", wrt=("_arrive_i_syn", "decay_mem")), "float64").split("\n", 1)[1])
