"""How time and memory grow: one curve per quantity, and the training step of models that nobody tuned.

A curve is a function that returns a Curve; its points are measured like systems, each in a process of its own. To add one, write the
function and name it in CURVES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import Benchmark, Outcome, System, main

DT_MS = 0.2

# threads -> run
Prepare = Callable[[int], Callable[[], Outcome]]


@dataclass(frozen=True)
class Curve:
    """series: name -> (value -> what to measure there).  label: what `values` are.  unit: what one run is."""

    name: str
    label: str
    values: Sequence[float]
    series: Mapping[str, Callable[[float], Prepare]]
    unit: str = "training step"

    def system(self, series: str, value: float) -> str:
        return f"{self.name} {value:g}, {series}"

    def systems(self) -> list[System]:
        return [
            System(self.system(series, value), point(value), is_peer=False, threads=(2,), group=self.name)
            for value in self.values
            for series, point in self.series.items()
        ]

    def figures(self, rows: Mapping[str, Mapping]) -> dict[str, dict]:
        """Time and memory over the values, for the results page."""

        def series(measure: Callable[[Mapping], float]) -> dict[str, list]:
            return {name: [measure(rows[self.system(name, v)]) for v in self.values] for name in self.series}

        def grown(row: Mapping) -> float | None:
            return None if row["peak_mb"] is None else row["peak_mb"] - row["idle_mb"]

        axis = {"x": list(self.values), "label": self.label}
        return {
            f"{self.name}: time": {**axis, "y": f"ms per {self.unit}", "series": series(lambda row: row["median_ms"])},
            f"{self.name}: memory": {**axis, "y": "MB more than when idle", "series": series(grown)},
        }


# -- a training step of any size and model -----------------------------------------------------------------------


def random_events(steps: int, trials: int, size: int, density: float, seed: int):
    """Spikes with about `density` spikes per step and neuron; made without a dense tensor."""
    from spiketwin.models.spikes import Spikes

    rng = np.random.default_rng(seed)
    cells = steps * trials * size
    flat = np.unique(rng.integers(0, cells, round(density * cells)))
    step, rest = np.divmod(flat, trials * size)
    return Spikes(step, rest // size, rest % size, (steps, trials, size), DT_MS)


def training_step(
    *,
    steps: int = 100,
    batch: int = 64,
    inputs: int = 784,
    hidden: int = 200,
    density: float = 0.005,
    model: str = "rnn_lif",
    scheme: str = "exact",
    dense: bool = False,
) -> Prepare:
    """Forward, backward and Adam of inputs -> hidden neurons of `model` -> 10 leaky read-outs. dense: inputs as a tensor [T, B, N]."""

    def prepare(threads: int) -> Callable[[], Outcome]:
        import torch
        from torch.nn import functional

        from spiketwin.models.engines.torch import TorchNetwork
        from spiketwin.models.network import Network, Population, Projection, SpikeSource
        from spiketwin.models.neurons import leaky_readout, neuron
        from spiketwin.models.neurons.stimuli import stimulus
        from spiketwin.rules.surrogate import fast_sigmoid

        torch.set_num_threads(threads)
        how, spec, rng = stimulus(model), neuron(model), np.random.default_rng(0)
        value, unit = how["weight"].split()
        # single precision from the start: a network of 10^7 synapses is not held in double precision for long
        into = float(value) / np.sqrt(inputs * density * steps) * rng.standard_normal((hidden, inputs), dtype=np.float32)
        network = Network(
            sources=[SpikeSource("input", inputs)],
            populations=[
                Population("hidden", spec, hidden, drives={name: how["drive"][name] for name in spec.drives}),
                Population("output", leaky_readout, 10),
            ],
            projections=[
                Projection("input", "hidden", into, how["receptor"], unit),
                Projection("hidden", "output", rng.normal(0, 1 / np.sqrt(hidden), (10, hidden)), "i_syn", "nA"),
            ],
        )
        module = TorchNetwork(network, dt_ms=DT_MS, scheme=scheme, surrogate=fast_sigmoid(10.0))
        optimiser = torch.optim.Adam(module.parameters(), lr=1e-4, fused=True)
        labels = torch.arange(batch) % 10
        given = [random_events(steps, batch, inputs, density, seed) for seed in range(2)]
        if dense:
            given = [torch.as_tensor(events.dense(np.float32)) for events in given]
        count = 0

        def run() -> Outcome:
            nonlocal count
            activity = module({"input": given[count % len(given)]}, record={"output": ("v",)})
            loss = functional.cross_entropy((activity.states["output"]["v"] * 1e3).amax(0), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            count += 1
            return Outcome({"loss": loss.item(), "hidden_spikes": int(activity.spikes["hidden"].detach().sum())})

        return run

    return prepare


def over(name: str, label: str, values: Sequence[float], setting: str, **fixed) -> Curve:
    """The training step with one of its settings varied."""
    return Curve(name, label, values, {"spiketwin": lambda v: training_step(**fixed, **{setting: v})})


# -- the curves ------------------------------------------------------------------------------------------------------


def steps(quick: bool) -> Curve:
    return over("steps", "time steps", (50, 100) if quick else (50, 200, 800), "steps")


def batch(quick: bool) -> Curve:
    return over("batch", "trials in a batch", (16, 32) if quick else (32, 128, 512), "batch")


def neurons(quick: bool) -> Curve:
    return over("neurons", "hidden neurons", (50, 100) if quick else (100, 400, 1600), "hidden")


def density(quick: bool) -> Curve:
    """Events against a dense tensor of the same input."""
    values = (0.005, 0.05) if quick else (0.005, 0.05, 0.2, 0.4)
    series = {"events": lambda v: training_step(density=v), "tensor": lambda v: training_step(density=v, dense=True)}
    return Curve("density", "input spikes per neuron and step", values, series)


def synapses(quick: bool) -> Curve:
    """As many inputs as hidden neurons, all connected."""
    values = (1e5, 4e5) if quick else (1e5, 1e6, 1e7)

    def point(count: float) -> Prepare:
        side = round(count**0.5)
        return training_step(inputs=side, hidden=side, batch=16)

    return Curve("synapses", "synapses from inputs to hidden neurons", values, {"spiketwin": point})


# -- simulation ------------------------------------------------------------------------------------------------------


def simulated(name: str, label: str, values: Sequence[float], setting: str, **fixed) -> Curve:
    """A second of a recurrent network in the compiled engine, with one of its settings varied."""

    def point(value: float) -> Prepare:
        def prepare(threads: int) -> Callable[[], Outcome]:
            from peers.simulation import simulation

            return simulation(**fixed, **{setting: value})(threads)

        return prepare

    return Curve(name, label, values, {"spiketwin": point}, unit="simulation")


def simulated_time(quick: bool) -> Curve:
    values = (250, 500) if quick else (500, 2000, 8000)
    return simulated("simulated time", "ms of biological time", values, "duration_ms")


def simulated_neurons(quick: bool) -> Curve:
    values = (500, 1000) if quick else (1000, 10_000, 100_000, 1_000_000)
    return simulated("simulated neurons", "neurons with 10 synapses each, 0.1 s", values, "neurons", degree=10, duration_ms=100.0)


def simulated_synapses(quick: bool) -> Curve:
    """10,000 neurons: 10^5 to 10^7 synapses."""
    values = (10, 20) if quick else (10, 100, 1000)
    return simulated(
        "simulated synapses", "synapses per neuron, of 10,000 neurons, 0.1 s", values, "degree", neurons=10_000, duration_ms=100.0
    )


CURVES = (steps, batch, neurons, density, synapses, simulated_time, simulated_neurons, simulated_synapses)

# Models that nobody tuned, against the LIF: time per state variable, so that one with more of them is not at a disadvantage.
MODELS = {"rnn_lif": "exact", "izhikevich": "euler", "adex": "euler"}


def models(quick: bool) -> list[System]:
    from spiketwin.models.neurons import neuron

    size = {"steps": 50, "batch": 16} if quick else {"steps": 200, "batch": 64}
    return [
        System(
            f"{name}, per state variable",
            # few inputs: the states shall take the time
            training_step(model=name, scheme=scheme, inputs=100, hidden=400, **size),
            is_peer=False,
            units=len(neuron(name).states),
            group="models",
        )
        for name, scheme in MODELS.items()
    ]


def benchmark(quick: bool) -> Benchmark:
    made = [curve(quick) for curve in CURVES]

    def figures(rows: Sequence[Mapping]) -> dict[str, dict]:
        by_name = {row["system"]: row for row in rows}
        # a part of the points was asked for: no curve
        whole = [c for c in made if all(system.name in by_name for system in c.systems())]
        return {name: figure for c in whole for name, figure in c.figures(by_name).items()}

    return Benchmark(
        "scaling",
        "How do time and memory grow with steps, batch, neurons, density and synapses, in training and in simulation?",
        [*models(quick), *(system for curve in made for system in curve.systems())],
        unit="training step",
        curves=figures,
        notes={"size": "784-200-10, batch 64, 100 steps, .5 % of the inputs spike per step, float32, unless varied"},
    )


if __name__ == "__main__":
    main(benchmark)
