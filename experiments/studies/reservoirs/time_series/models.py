"""The reservoirs that are compared, and from where the settings of each are drawn.

All have restart(), hear(u [inputs]) -> row, follow(u [T, inputs]) -> rows, mark() and back(), and hear one number at a time.

    Delays       no reservoir: the last inputs themselves
    echo_state   reservoirpy's leaky tanh units, sparse, with a bias
    liquid       current-based spiking neurons (Driven); input, background, time constants and delays differ from neuron to neuron

What made liquids good, in trials on other seeds: many spikes for each input (20 to 40 ms of it, a background above threshold), weak
connections, so that they do not fall into chaos, and delays as long as 5 to 15 inputs. Those are hundreds of milliseconds, more than axons have:
without them a liquid remembers no longer than its membranes and synapses do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from spiketwin.experiments.optional import library
from spiketwin.experiments.reservoirs.force import Driven
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.reservoirs import liquid as random_liquid
from spiketwin.models.reservoirs.topology import fixed_in_degree
from spiketwin.models.stacks.heterogeneity import lognormal, uniform

Settings = dict[str, Any]
FILTERS = (1.0, 3.0, 8.0)  # time constants of the filters of spikes, in the time that an input lasts
SPREAD = 0.5  # of the logarithms of the liquid's time constants
LONGEST = 60  # line of inputs
UNITS_HEARD = 20  # by a unit of the echo-state network


class Delays:
    """The last `length` inputs, the newest first; 0 before the first."""

    def __init__(self, inputs: int, length: int) -> None:
        self._kept = np.zeros((length, inputs))

    def restart(self) -> None:
        self._kept[:] = 0

    def hear(self, u: np.ndarray) -> np.ndarray:
        self._kept = np.roll(self._kept, 1, axis=0)
        self._kept[0] = u
        return self._kept.ravel().copy()

    def follow(self, u: np.ndarray) -> np.ndarray:
        return np.array([self.hear(now) for now in u])

    def mark(self) -> np.ndarray:
        return self._kept.copy()

    def back(self, to: np.ndarray) -> None:
        self._kept = to.copy()


class EchoState:
    """x <- (1 - leak) x + leak tanh(W x + input_scale W_in u + b), b uniform in -bias … bias; W has the spectral radius `radius`.

    Source: Jaeger 2001, GMD report 148; the reservoir is reservoirpy's.
    """

    def __init__(self, inputs: int, size: int, *, leak: float, radius: float, input_scale: float, bias: float, seed: int) -> None:
        uniformly = library("reservoirpy.mat_gen", "reservoirs").uniform
        self._node = library("reservoirpy.nodes", "reservoirs").Reservoir(
            size,
            lr=leak,
            sr=radius,
            input_scaling=input_scale,
            rc_connectivity=min(1.0, UNITS_HEARD / size),
            input_connectivity=1.0,
            Win=uniformly(low=-1.0, high=1.0),
            bias=uniformly(low=-bias, high=bias),
            input_dim=inputs,
            seed=seed,
        )
        self._node.initialize(np.zeros(inputs))

    def restart(self) -> None:
        self._node.reset()

    def hear(self, u: np.ndarray) -> np.ndarray:
        return np.asarray(self._node.step(np.asarray(u, float))).copy()

    def follow(self, u: np.ndarray) -> np.ndarray:
        return np.asarray(self._node.run(np.asarray(u, float)))

    def mark(self) -> dict[str, np.ndarray]:
        return {name: value.copy() for name, value in self._node.state.items()}

    def back(self, to: dict[str, np.ndarray]) -> None:
        self._node.state = {name: value.copy() for name, value in to.items()}


class Model(NamedTuple):
    """draw: settings. build: of inputs, size, settings, seed and a step in ms, a reservoir. columns: which of a row's are read, by the name of the metric."""

    draw: Callable[[np.random.Generator], Settings]
    build: Callable[[int, int, Settings, int, float], Any]
    columns: Callable[[int, Settings], dict[str, slice]]


def delays(rng: np.random.Generator) -> Settings:
    return {"length": round(np.exp(rng.uniform(np.log(3), np.log(LONGEST))))}


def echo_state(rng: np.random.Generator) -> Settings:
    return {
        "leak": float(rng.choice([0.3, 0.6, 1.0, 1.0])),
        "radius": float(rng.uniform(0.5, 1.2)),
        "input_scale": float(10 ** rng.uniform(-2, 0.3)),
        "bias": float(10 ** rng.uniform(-2, 0.2)),
    }


def liquid(rng: np.random.Generator) -> Settings:
    """Of a calm one: connections weak enough that the input, and not chaos, decides who fires. longest_delay is in inputs."""
    return {
        "every_ms": float(rng.choice([20.0, 40.0, 40.0])),
        "tau_mem_ms": float(rng.choice([10.0, 20.0, 40.0])),
        "tau_syn_ms": float(10 ** rng.uniform(0.3, 1.3)),
        "connection_scale": float(10 ** rng.uniform(-1.5, 0.3)),
        "inhibition": float(rng.choice([0.25, 0.5, 1.0])),
        "in_degree": int(rng.choice([5, 15, 40])),
        "longest_delay": int(rng.choice([5, 10, 15])),
        "input_scale": float(10 ** rng.uniform(-0.3, 0.7)),
        "background": float(rng.uniform(0.8, 1.8)),
        "background_spread": float(rng.uniform(0.5, 2.0)),
        "filter": int(rng.integers(len(FILTERS))),
    }


def build_liquid(inputs: int, size: int, settings: Settings, seed: int, dt_ms: float) -> Driven:
    """Every neuron draws its time constants, background and input, every synapse its delay."""
    s, rng = settings, np.random.default_rng([seed, 11])
    excitatory = round(0.8 * s["in_degree"])
    made = random_liquid(
        inputs,
        size,
        topology=fixed_in_degree(excitatory, s["in_degree"] - excitatory),
        parameters={"tau_mem": lognormal(s["tau_mem_ms"], SPREAD), "tau_syn": lognormal(s["tau_syn_ms"], SPREAD), "tau_ref": 1.0},
        background=uniform(s["background"], s["background"] + s["background_spread"]),
        connection_scale=s["connection_scale"],
        inhibition=s["inhibition"],
        delay_ms=uniform(1.0, 1.0 + s["longest_delay"] * s["every_ms"]),
        seed=seed,
    )
    return Driven(
        made,
        s["input_scale"] * rng.uniform(-1, 1, (size, inputs)),
        every_ms=s["every_ms"],
        taus_ms=[f * s["every_ms"] for f in FILTERS],
        membranes=True,
        dt_ms=dt_ms,
        engine=CompiledEngine(dtype="float32", threads=1),
    )


MODELS = {
    "inputs": Model(delays, lambda inputs, size, s, seed, dt_ms: Delays(inputs, s["length"]), lambda size, s: {"inputs": slice(None)}),
    "echo_state": Model(
        echo_state,
        lambda inputs, size, s, seed, dt_ms: EchoState(inputs, size, **s, seed=seed),
        lambda size, s: {"echo_state": slice(None)},
    ),
    "liquid": Model(
        liquid,
        build_liquid,
        lambda size, s: {"liquid": slice(s["filter"] * size, (s["filter"] + 1) * size), "liquid_rich": slice(None)},
    ),
}
