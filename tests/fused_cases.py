"""Small networks in which every path of a training kernel is taken, run by a kernel and step by step in torch."""

from __future__ import annotations

import numpy as np
import torch

from spiketwin.models import Network, Population, Projection, Spikes, SpikeSource
from spiketwin.models.discretisation import SCHEMES, unsupported_reason
from spiketwin.models.engines.fused import kernels as runtime
from spiketwin.models.engines.fused.functions import FUNCTIONS
from spiketwin.models.engines.fused.source import backward_arguments, forward_arguments, source
from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.models.neurons import NEURONS, neuron
from spiketwin.models.neurons.stimuli import stimulus
from spiketwin.models.units import quantity

MODELS_AND_SCHEMES = [(name, scheme) for name in NEURONS for scheme in SCHEMES if not unsupported_reason(NEURONS[name], scheme)]
# models that leave the rails when driven as hard as a leaky neuron must be to fire within a few milliseconds
DELICATE = ("adex", "izhikevich", "hh_1952", "hh_neuron", "hh_traub_miles")
IN, SIZE = 4, 3


def delicate(name: str) -> bool:
    return name in DELICATE


def dt_ms(name: str) -> float:
    return 0.02 if name.startswith("hh") else 0.1


def steps(name: str) -> int:
    return 90 if name.startswith("hh") else 50


def network(name: str, recurrent: bool = True, seed: int = 0, size: int = SIZE, inputs: int = IN, vary: float = 0.0) -> Network:
    """`name` twice, one behind the other, the first connected to itself with delays; every receptor has input.

    vary: neurons of the first differ from the model's parameters by up to this share."""
    rng = np.random.default_rng(seed)
    spec, drive = neuron(name), stimulus(name)
    weight = 3 * quantity(drive["weight"])[0] if drive["weight"] else 0.0
    factor = np.linspace(0.8, 1.6, size) * (1 if delicate(name) else 3)
    drives = {d: factor * quantity(drive["drive_max"])[0] for d in spec.drives}
    parameters = {n: np.asarray(spec.parameters[n].value * rng.uniform(1 - vary, 1 + vary, size)) for n in trainable(name)} if vary else {}
    cells = [
        Population("first", spec, size, parameters, drives=drives),
        Population("second", spec, size, drives={d: drives[d][::-1] for d in drives}),
    ]
    projections, delay = [], 3 * dt_ms(name)
    for k, receptor in enumerate(spec.inputs):
        projections.append(
            Projection("input", "first", rng.uniform(0.2, 1, (size, inputs)) * weight, receptor, delay_ms=k * delay, name=f"in_{receptor}")
        )
        if spec.threshold:
            projections.append(
                Projection("first", "second", rng.uniform(0.2, 1, (size, size)) * weight, receptor, delay_ms=delay, name=f"on_{receptor}")
            )
        if spec.threshold and recurrent:
            delays = rng.choice([0.0, delay, 2 * delay], (size, size))
            projections.append(
                Projection(
                    "first", "first", rng.uniform(-0.3, 0.5, (size, size)) * weight, receptor, delay_ms=delays, name=f"back_{receptor}"
                )
            )
    return Network(cells, projections, [SpikeSource("input", inputs)])


def trainable(name: str) -> tuple[str, ...]:
    """All parameters that a gradient can reach."""
    spec = neuron(name)
    return tuple(p for p in spec.parameters if p != spec.refractory)


def outcome(
    net: Network,
    name: str,
    kernels: str,
    *,
    trials: int = 2,
    dtype=torch.float64,
    seed: int = 0,
    train=True,
    inputs=None,
    T=None,
    device="cpu",
    **settings,
):
    """Spikes, states and gradients of a loss that every output has a part in; gradients by parameter name."""
    spec, T = neuron(name), T or steps(name)
    module = TorchNetwork(
        net,
        dtype=dtype,
        kernels=kernels,
        trainable_parameters={"first": trainable(name) if train else ()},
        **({"dt_ms": dt_ms(name)} | settings),
    ).to(device)
    rng = np.random.default_rng(seed)
    spikes = Spikes.from_dense(rng.random((T, trials, IN)) < 0.15, dt_ms=module.dt_ms)
    noise = {}
    for cells in ("first", "second"):
        if spec.is_noisy:
            noise[f"{cells}.xi"] = torch.from_numpy(rng.standard_normal((T, trials, SIZE))).to(module.like)
        if spec.has_random_threshold:
            noise[f"{cells}.rand"] = torch.from_numpy(rng.random((T, trials, SIZE))).to(module.like)
    activity = module({"input": spikes, **(inputs or {})}, record={"first": spec.states[:1], "second": spec.states}, noise=noise)
    mix = torch.linspace(0.2, 1, T * trials * SIZE, dtype=dtype, device=device).reshape(T, trials, SIZE)
    loss = sum((s * mix).sum() for s in activity.spikes.values())
    for states in activity.states.values():
        loss = loss + sum((x / _size(x) * mix.flip(0)).sum() for x in states.values())
    for states in activity.final.values():
        loss = loss + sum((x / _size(x) * mix[0]).sum() for x in states.values())
    loss.backward()
    return activity, {n: p.grad for n, p in module.named_parameters()}


def _size(x: torch.Tensor) -> torch.Tensor:
    return x.detach().abs().max().clamp(min=1e-30)


def differences(one, other) -> tuple[float, float]:
    """Largest relative difference of states and of gradients, each in units of the largest value of its array."""
    (a, ga), (b, gb) = one, other
    pairs = [(a.states[p][s], b.states[p][s]) for p in a.states for s in a.states[p]]
    pairs += [(a.final[p][s], b.final[p][s]) for p in a.final for s in a.final[p]]
    assert ga.keys() == gb.keys() and all((ga[n] is None) == (gb[n] is None) for n in ga)
    gradients = [(ga[n], gb[n]) for n in ga if ga[n] is not None]
    assert all(torch.isfinite(x).all() and torch.isfinite(y).all() for x, y in pairs + gradients)
    return tuple(max(float((x - y).detach().abs().max() / _size(x)) for x, y in group) for group in (pairs, gradients))


# -- the generated source as plain Python ----------------------------------------------------------------------------


def plain(thing):
    return getattr(thing, "py_func", thing)


def interpreted(structure, direction):
    """Stands in for fused._kernel."""
    dtype, body = source(structure).split("\nreal = np.")[1].split("\n", 1)
    namespace = {"np": np, "real": getattr(np, dtype), "njit": lambda **options: plain, "inlined": plain}
    namespace |= {name: plain(f) for name, f in [*vars(runtime).items(), *FUNCTIONS.items()] if name not in namespace}
    # these are machine code and have no Python form
    namespace |= {"product": matrix_product, "scatter": add_rows, "wide_vectors": lambda: None}
    exec(body, namespace)
    return namespace[direction], forward_arguments(structure) if direction == "forward" else backward_arguments(structure)


def add_rows(ids, first, last, gradient, start, weight_gradient):
    np.add.at(weight_gradient, ids[first:last], gradient[start : start + weight_gradient.shape[1]])


def matrix_product(a, weight, rows, out, fresh):
    out[:rows] = a[:rows] @ weight + (0 if fresh else out[:rows])
