"""A spiking classifier, input -> hidden (recurrent or not) -> leaky read-outs, in ours and in every other library, and its training step.

Ours is experiments/studies/gradients/ttfs.py: with v in thresholds, decays alpha and beta, and a resistance that makes the gain 1, step n is

    v <- beta v + i,    S_n = v > 1,    i <- alpha i + W x_n + V S_n,    v <- v - S_n

All train with Adam on the cross-entropy of the largest value that each read-out's membrane takes within the trial. The losses of the
first steps must be equal: then so are spikes and gradients. A library that resets otherwise is compared with our network
with its reset (REFERENCES), which is checked and not timed. An input of step n first moves our read-out's membrane three steps
later, since a spike acts after the integration; in snnTorch, Norse and SpikingJelly it does so at once. Hence `within_trial`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness import WARM_UP, Kernel, Outcome, System, equal
from spiketwin.experiments.studies.gradients import ttfs
from spiketwin.models.network import Network
from spiketwin.models.spec import Parameter
from spiketwin.models.spikes import Spikes

DT_MS, SURROGATE = 1.0, 1.0  # the steepness 1/(|x| + 1)^2 is the one that every library has


@dataclass(frozen=True)
class Task:
    """batches: endless (events, labels) of `steps` steps and `batch` trials, drawn as a data loader would, from data kept as events."""

    config: ttfs.TTFSConfig
    inputs: int
    outputs: int
    batch: int
    batches: Callable[[], Iterator[tuple[Spikes, np.ndarray]]]
    learning_rate: float = 1e-4

    @property
    def steps(self) -> int:
        return round(self.config.tmax_ms / DT_MS)

    @property
    def alpha(self) -> float:
        return float(np.exp(-DT_MS / self.config.tau_syn_ms))

    @property
    def beta(self) -> float:
        return float(np.exp(-DT_MS / self.config.tau_mem_ms))

    @cached_property
    def network(self) -> Network:
        network = ttfs.network(self.config, self.inputs, self.outputs, seed=0)
        # a tenth: the surrogate is wide, and the gradient of a hundred steps shall not grow beyond bounds
        calmed = [replace(p, weights=0.1 * p.values()) if p.source == p.target else p for p in network.projections]
        return replace(network, projections=tuple(calmed))

    def weights(self, dtype=torch.float32, scale: float = 1.0) -> dict[str, nn.Parameter]:
        """'in', 'out' and, if there is one, 'rec', each [N_post, N_pre]."""
        names = {"input_to_hidden": "in", "hidden_to_output": "out", "hidden_to_hidden": "rec"}
        return {names[p.name]: nn.Parameter(torch.tensor(p.values() * scale, dtype=dtype)) for p in self.network.projections}


# read-out membranes [T, B, K]; hidden spikes [T-1, B, N], without those of the last step, which reach nobody
Forward = Callable[[Spikes], tuple[Tensor, Tensor]]


def training(task: Task, forward: Forward, parameters, *, scale: float = 1.0) -> Callable[[], Outcome]:
    """One training step per call: choose a batch, forward, backward, Adam. scale: of the weights and hence of Adam's steps, which know none.

    The first runs, which are not timed, also tell the norm of the gradient.
    """
    batches, runs = task.batches(), itertools.count()
    optimiser = torch.optim.Adam(parameters, lr=scale * task.learning_rate, fused=True)

    def run() -> Outcome:
        events, labels = next(batches)
        v, hidden = forward(events)
        loss = functional.cross_entropy(v.amax(0), torch.as_tensor(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found = {"loss": loss.item(), "hidden_spikes": int(hidden.detach().sum())}
        if next(runs) < WARM_UP:
            found["gradient"] = scale * torch.cat([p.grad.flatten() for p in parameters]).norm().item()
        return Outcome(found)

    return run


def within_trial(v: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Of a library without latency, what ours sees in the trial: three steps at rest, and the last three come too late."""
    return torch.cat([torch.zeros_like(v[:3]), v[:-3]]), hidden[:-2]


class DenseInput:
    """Events as a tensor [T, B, N]. One buffer is kept: zeroing what the last batch wrote costs less than 80 MB of new zeros."""

    def __init__(self, task: Task, dtype: torch.dtype = torch.float32) -> None:
        self.buffer = torch.zeros(task.steps, task.batch, task.inputs, dtype=dtype)
        self.written = torch.zeros(0, dtype=torch.int64)

    @torch.no_grad()
    def __call__(self, events: Spikes) -> Tensor:
        _, B, N = events.shape
        flat = self.buffer.view(-1)
        flat[self.written] = 0
        self.written = torch.as_tensor((events.step * B + events.batch) * N + events.neuron)
        flat[self.written] = 1
        return self.buffer


# -- ours ----------------------------------------------------------------------------------------------------


def ours(task: Task, network: Network | None = None, **how) -> tuple[Forward, list[nn.Parameter]]:
    """how: options of TorchNetwork, such as detach_reset or dtype."""
    from spiketwin.models.engines.torch import TorchNetwork
    from spiketwin.rules.surrogate import fast_sigmoid

    module = TorchNetwork(network or task.network, dt_ms=DT_MS, scheme="exact", surrogate=fast_sigmoid(SURROGATE), **how)

    def forward(events: Spikes):
        activity = module({ttfs.INPUT: events}, record={ttfs.OUTPUT: ("v",)})
        return activity.states[ttfs.OUTPUT]["v"] * 1e3, activity.spikes[ttfs.HIDDEN][:-1]

    return forward, list(module.parameters())


def with_reset(task: Task, kind: str) -> Network:
    """Our network with the reset of another library: 'late' (snnTorch), 'zero' (Norse), 'hold' (SpyTorch)."""
    network, hidden = task.network, task.network.population(ttfs.HIDDEN).neuron
    if kind == "late":  # beta v - 1 where ours has beta (v - 1)
        parameters = {**hidden.parameters, "v_drop": Parameter(1 / task.beta, "mV")}
        spec = replace(hidden, name="rnn_lif_late", parameters=parameters, reset="v -= v_drop")
    elif kind == "zero":
        spec = replace(hidden, name="rnn_lif_zero", reset="v = v_rest")
    else:  # the step after a spike is multiplied by 0, and what arrived in it is lost
        parameters = {**hidden.parameters, "tau_ref": Parameter(2 * DT_MS, "ms")}
        equations = hidden.equations.replace("/tau_mem : volt", "/tau_mem : volt (unless refractory)")
        spec = replace(hidden, name="rnn_lif_hold", parameters=parameters, equations=equations, reset="v = v_rest", refractory="tau_ref")
    # SpyTorch's spikes also travel back two steps later
    delay_ms = 2 * DT_MS if kind == "hold" else 0.0
    return replace(
        network,
        populations=tuple(replace(p, neuron=spec) if p.name == ttfs.HIDDEN else p for p in network.populations),
        projections=tuple(replace(p, delay_ms=delay_ms) if p.source == p.target else p for p in network.projections),
    )


# -- plain torch -----------------------------------------------------------------------------------------------


class FastSigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient / (SURROGATE * x.abs() + 1).square()


def tuned(task: Task, *, sparse: bool = False, dtype: torch.dtype = torch.float32) -> tuple[Forward, list[nn.Parameter]]:
    """The loop we would write by hand: one product for all steps of the input, four operations a step, and the linear read-out
    as one product with the responses of its membrane to a spike. sparse: the input is a CSR matrix, whose product with the weights
    costs less than a dense one at this density."""
    weights = task.weights(dtype)
    T, alpha, beta = task.steps, task.alpha, task.beta
    # response[k, n]: membrane of the read-out at the start of step k to a spike of step n
    age = torch.arange(T, dtype=dtype)[:, None] - torch.arange(T, dtype=dtype) - 1
    response = torch.where(age > 0, (beta ** age.clamp(min=0) - alpha ** age.clamp(min=0)) / (beta - alpha), 0.0)
    dense = DenseInput(task, dtype) if not sparse else None

    def project(events: Spikes) -> Tensor:
        if dense:
            return functional.linear(dense(events).view(T * task.batch, -1), weights["in"]).view(T, task.batch, -1)
        row = torch.as_tensor(events.step * task.batch + events.batch)
        start = torch.zeros(T * task.batch + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(row, minlength=T * task.batch), 0, out=start[1:])
        x = torch.sparse_csr_tensor(
            start, torch.as_tensor(events.neuron), torch.ones(len(row), dtype=dtype), (T * task.batch, task.inputs), check_invariants=False
        )
        return torch.sparse.mm(x, weights["in"].t()).view(T, task.batch, -1)

    def forward(events: Spikes):
        arriving = project(events).unbind(0)
        v = i = torch.zeros_like(arriving[0])
        back = weights["rec"].t() if "rec" in weights else None
        spikes = []
        for x in arriving:
            v = torch.add(i, v, alpha=beta)
            s = FastSigmoid.apply(v - 1)
            v = v - s.detach()
            if back is not None:
                x = torch.addmm(x, s, back)
            i = torch.add(x, i, alpha=alpha)
            spikes.append(s)
        hidden = torch.stack(spikes)
        current = functional.linear(hidden, weights["out"])
        return (response @ current.view(T, -1)).view(T, task.batch, -1), hidden[:-1]

    return forward, list(weights.values())


def spytorch(task: Task) -> tuple[Forward, list[nn.Parameter]]:
    """The loop of the SpyTorch tutorials, with their einsum, their order and their reset; recurrent as in tutorial 4."""
    weights, dense, alpha, beta = task.weights(), DenseInput(task), task.alpha, task.beta
    w1, w2 = (nn.Parameter(weights[name].detach().t().contiguous()) for name in ("in", "out"))
    v1 = nn.Parameter(weights["rec"].detach().t().contiguous()) if "rec" in weights else None

    def forward(events: Spikes):
        inputs = dense(events).transpose(0, 1)
        from_input = torch.einsum("abc,cd->abd", inputs, w1)
        syn = torch.zeros(task.batch, task.config.hidden)
        mem = out = torch.zeros_like(syn)
        spk_rec = []
        for t in range(task.steps):
            h1 = from_input[:, t]
            if v1 is not None:
                h1 = h1 + torch.einsum("ab,bc->ac", out, v1)
            out = FastSigmoid.apply(mem - 1.0)
            rst = out.detach()
            new_syn = alpha * syn + h1
            new_mem = (beta * mem + syn) * (1.0 - rst)
            spk_rec.append(out)
            mem, syn = new_mem, new_syn
        spikes = torch.stack(spk_rec, dim=1)
        h2 = torch.einsum("abc,cd->abd", spikes, w2)
        flt = torch.zeros(task.batch, task.outputs)
        out = torch.zeros_like(flt)
        out_rec = []
        for t in range(task.steps):
            new_flt = alpha * flt + h2[:, t]
            out = beta * out + flt
            flt = new_flt
            out_rec.append(out)
        return torch.stack(out_rec), spikes

    return forward, [w for w in (w1, w2, v1) if w is not None]


# -- libraries -----------------------------------------------------------------------------------------------------


def linear(weight: nn.Parameter) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = weight
    return layer


def snntorch(task: Task) -> tuple[Forward, list[nn.Parameter]]:
    """Synaptic, or RSynaptic, with their default reset; the linear layers see all steps at once."""
    import snntorch as snn
    from snntorch import surrogate

    weights, dense = task.weights(), DenseInput(task)
    fc1, fc2 = linear(weights["in"]), linear(weights["out"])
    decays = {"alpha": task.alpha, "beta": task.beta, "spike_grad": surrogate.fast_sigmoid(SURROGATE)}
    readout = snn.Synaptic(**decays, reset_mechanism="none")
    if recurrent := "rec" in weights:
        layer = snn.RSynaptic(**decays, linear_features=task.config.hidden)
        layer.recurrent = linear(weights["rec"])
    else:
        layer = snn.Synaptic(**decays)

    def forward(events: Spikes):
        spikes, membranes = [], []
        state = layer.reset_mem()
        for current in fc1(dense(events)):
            spk, *state = layer(current, *state)
            state = [spk, *state] if recurrent else state
            spikes.append(spk)
        state = readout.reset_mem()
        hidden = torch.stack(spikes)
        for current in fc2(hidden):
            _, *state = readout(current, *state)
            membranes.append(state[1])
        return within_trial(torch.stack(membranes), hidden)

    return forward, list(weights.values())


def norse_scale(task: Task) -> float:
    """Norse multiplies currents by dt/tau_mem, so its weights are larger by the inverse."""
    return 1 / (1 - task.beta)


def norse(task: Task) -> tuple[Forward, list[nn.Parameter]]:
    """LIF (or LIFRecurrent) and LI over time."""
    import norse.torch as nt

    weights, dense, dt = task.weights(scale=norse_scale(task)), DenseInput(task), 1e-3
    rates = {"tau_syn_inv": torch.tensor((1 - task.alpha) / dt), "tau_mem_inv": torch.tensor((1 - task.beta) / dt)}
    p = nt.LIFParameters(**rates, v_th=torch.tensor(1.0), v_reset=torch.tensor(0.0), v_leak=torch.tensor(0.0), method="super")
    readout, fc2 = nt.LI(nt.LIParameters(**rates, v_leak=torch.tensor(0.0)), dt=dt), linear(weights["out"])
    if "rec" in weights:
        layer = nt.LIFRecurrent(
            task.inputs,
            task.config.hidden,
            p=p,
            input_weights=weights["in"],
            recurrent_weights=weights["rec"],
            autapses=True,
            dt=dt,
        )
    else:
        lif, fc1 = nt.LIF(p, dt=dt), linear(weights["in"])

        def layer(x):
            return lif(fc1(x))

    def forward(events: Spikes):
        hidden, _ = layer(dense(events))
        v, _ = readout(fc2(hidden))
        return within_trial(v, hidden)

    return forward, list(weights.values())


def spikingjelly(task: Task) -> tuple[Forward, list[nn.Parameter]]:
    """CUBALIFNode over many steps; recurrent: step by step with a linear layer, which is faster than its LinearRecurrentContainer."""
    from spikingjelly.activation_based import functional as sj
    from spikingjelly.activation_based import neuron, surrogate

    weights, dense = task.weights(), DenseInput(task)
    fc1, fc2 = linear(weights["in"]), linear(weights["out"])

    def node(threshold: float):
        made = neuron.CUBALIFNode(task.alpha, task.beta, threshold, None, surrogate.SuperSpike(alpha=SURROGATE))
        made.detach_reset = True
        made.step_mode = "m"
        return made

    # the read-out is a neuron whose threshold is out of reach, as its documentation advises
    layer, readout = node(1.0), node(1e9)
    readout.store_v_seq = True
    if recurrent := "rec" in weights:
        layer.step_mode = "s"
        back = linear(weights["rec"])

    def forward(events: Spikes):
        sj.reset_net(layer)
        sj.reset_net(readout)
        currents = fc1(dense(events))
        if recurrent:
            spikes, s = [], torch.zeros_like(currents[0])
            for x in currents:
                s = layer(x + back(s))
                spikes.append(s)
            hidden = torch.stack(spikes)
        else:
            hidden = layer(currents)
        readout(fc2(hidden))
        return within_trial(readout.v_seq, hidden)

    return forward, list(weights.values())


# -- the contestants ---------------------------------------------------------------------------------------------


def systems(task: Callable[[], Task]) -> list[System]:
    """Everybody, ours first; then our network with the resets of others, which is not timed."""

    def trains(build, **how):
        def prepare(threads: int):
            torch.set_num_threads(threads)
            made = task()
            return training(made, *build(made, **how), scale=norse_scale(made) if build is norse else 1.0)

        return prepare

    def reference(kind: str, **how):
        def prepare(threads: int):
            made = task()
            return training(made, *ours(made, with_reset(made, kind), **how))

        return prepare

    recurrent = task().config.recurrent
    return [
        System("spiketwin", trains(ours), is_peer=False),
        System("tuned torch loop", trains(tuned), library="torch"),
        System("tuned torch loop, sparse input", trains(tuned, sparse=True), library="torch"),
        System(
            "snnTorch",
            trains(snntorch),
            library="snntorch",
            differs="subtracts the threshold after the decay, one step later; equal losses with our network whose reset is v - 1/beta",
        ),
        System("SpikingJelly", trains(spikingjelly), library="spikingjelly", differs="spikes at v >= 1, not v > 1"),
        System(
            "Norse",
            trains(norse),
            library="norse",
            differs="resets to 0"
            + ("" if recurrent else ", and its gradient passes through the reset")
            + "; equal losses with our network that does",
        ),
        System(
            "SpyTorch loop",
            trains(spytorch),
            library="torch",
            differs="resets to 0 and loses the current of one step; equal losses with our network that is refractory for two steps",
        ),
        System("ours as snnTorch", reference("late"), is_peer=False, is_timed=False),
        System("ours as Norse", reference("zero", detach_reset=recurrent), is_peer=False, is_timed=False),
        System("ours as SpyTorch", reference("hold"), is_peer=False, is_timed=False),
    ]


def kernels(task: Task, threads: int) -> list[Kernel]:
    """The whole step, its two kernels and the choice of a batch, against what they must move and compute at least.

    On the way forward one number per neuron and step is kept, the membrane, which the surrogate needs; on the way back it is read.
    The gradient of every spike, fired or not, is a product with the weights of those that it would have reached. Weights and
    what is carried from step to step stay in the cache, and so does all that Adam touches.
    """
    torch.set_num_threads(threads)
    batches, forward = task.batches(), ours(task)
    events = [next(batches)[0] for _ in range(8)]
    count, cells = float(np.mean([len(e) for e in events])), task.steps * task.batch * task.config.hidden
    reached = task.outputs + (task.config.hidden if task.config.recurrent else 0)
    run = training(task, *forward)
    for _ in range(WARM_UP):
        run()
    rounds = 10
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(rounds):
            run()
    ms = {event.key: event.cpu_time_total / 1e3 / rounds for event in profile.key_averages()}
    # an event: which trial and neuron; a weight is added or its gradient is; a state is advanced by some ten operations
    one_way = {"bytes": 4 * cells + 8 * count, "flops": 2 * count * task.config.hidden + 10 * cells}
    whole = {"bytes": 2 * one_way["bytes"], "flops": 2 * one_way["flops"] + 2 * cells * reached}
    return [
        Kernel("spiketwin", **whole),
        Kernel("forward", **one_way, ms=ms.get("_Fused")),
        Kernel("backward", bytes=one_way["bytes"], flops=one_way["flops"] + 2 * cells * reached, ms=ms.get("_FusedBackward")),
        Kernel("choice of a batch", bytes=3 * 8 * count, run=lambda: next(batches)),
    ]


TWINS = (
    ("spiketwin", "tuned torch loop", "tuned torch loop, sparse input", "SpikingJelly"),
    ("ours as snnTorch", "snnTorch"),
    ("ours as Norse", "Norse"),
    ("ours as SpyTorch", "SpyTorch loop"),
)


def check(outcomes: Mapping[str, list[Mapping]]) -> None:
    """Equal losses, spikes and gradients in the first step, and losses in those after it.

    In single precision a voltage close to threshold may fall on the other side: one spike of ten thousand, and what it does to the
    gradient and hence to later steps, must be let pass (tests compare in double precision).
    """
    first = {system: results[:1] for system, results in outcomes.items()}
    for names in TWINS:
        equal(first, "loss", rtol=1e-4, systems=names)
        equal(first, "hidden_spikes", rtol=1e-3, systems=names)
        equal(first, "gradient", rtol=1e-2, systems=names)
        equal(outcomes, "loss", rtol=1e-2, systems=names)
