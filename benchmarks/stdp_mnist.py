"""Diehl & Cook's network learns MNIST images without labels: 784 inputs, 400 + 400 neurons, time per image.

Ours and Brian2 run the same model: 350 ms of image and 150 ms of rest in steps of .5 ms, a delay of 0 … 10 ms for each of the 313,600
plastic synapses, their sums normalised before each image, double precision. The excitatory spikes of all images must be
equal, and the weights in the end. Brian2 is given the input spikes; ours draws them, which is part of the time. BindsNET's model is
simpler, with the settings of its own example: 250 steps of 1 ms, no rest, no delays, traces at once.

A run is 400 images, of BindsNET, which starts anew with each, 10. Of the simulators two times are stated: the whole, from the declaration (Brian2: from the start
of the compiled program) to the weights, and the main loop, what an image costs in a long run.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness import Benchmark, BenchmarkError, Kernel, Outcome, System, equal, fingerprint, main
from peers import import_bindsnet
from spiketwin.experiments.data import DataError, load
from spiketwin.experiments.studies.learning_rules.diehl_cook import EXCITATORY, INHIBITORY, INPUT, LEARNING, Protocol, build
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.engines.poisson import line, stream, stretch
from spiketwin.models.network import Network
from spiketwin.models.plasticity import Normalisation

PROTOCOL = Protocol()
IMAGE_MS = PROTOCOL.image_ms + PROTOCOL.rest_ms
STEPS = round(IMAGE_MS / PROTOCOL.dt_ms)  # of one image
SHOWN = round(PROTOCOL.image_ms / PROTOCOL.dt_ms)


def images(count: int) -> np.ndarray:
    """Intensities [count, 784] of the first training images; blurred blobs of as much ink where MNIST is missing."""
    try:
        return load("mnist").train.intensities[:count]
    except DataError:
        y, x = np.mgrid[:28, :28]
        centres = np.random.default_rng(0).uniform(8, 20, (count, 2))
        return np.exp(-(((x - centres[:, :1, None]) ** 2 + (y - centres[:, 1:, None]) ** 2) / 40)).reshape(count, -1)


def rates(image: np.ndarray) -> np.ndarray:
    return image * PROTOCOL.rate_hz * PROTOCOL.intensity


def ours(neurons: int, count: int, dtype: str) -> Callable[[int], Callable[[], Outcome]]:
    def prepare(threads: int) -> Callable[[], Outcome]:
        shown = images(count)

        def run() -> Outcome:
            session = CompiledEngine(dtype, threads).start(scaled_before_each(build(neurons)), dt_ms=PROTOCOL.dt_ms, scheme=PROTOCOL.scheme)
            begin = time.perf_counter()
            spikes = session.run({INPUT: rates(shown)}, duration_ms=count * IMAGE_MS, input_ms=PROTOCOL.image_ms).spikes[EXCITATORY]
            loop = time.perf_counter() - begin
            return Outcome({**digest(spikes.step, spikes.neuron), "weights": norm(session.weights(LEARNING))}, {"main loop": loop})

        return run

    return prepare


def scaled_before_each(network: Network) -> Network:
    """The network with weights that are scaled before each image, in a run of many."""
    learning, *others = network.projections
    assert learning.normalisation
    regularly = replace(learning.normalisation, every_ms=IMAGE_MS)
    return replace(network, projections=(replace(learning, normalisation=regularly), *others))


def digest(step: np.ndarray, neuron: np.ndarray) -> dict:
    return {"spikes": fingerprint(step, neuron), "count": len(step)}


def norm(weights: np.ndarray) -> float:
    """A number that hardly two different sets of weights share."""
    weights = np.asarray(weights, dtype=float).ravel()
    return float(weights @ np.cos(np.arange(len(weights))))


# -- Brian2, C++ stand-alone --------------------------------------------------------------------------------------


def brian2(neurons: int, count: int) -> Callable[[int], Callable[[], Outcome]]:
    """As its documentation advises: one run() for all images, compiled, no Python in between."""

    def prepare(threads: int) -> Callable[[], Outcome]:
        import brian2 as b

        network = build(neurons)
        directory = Path(tempfile.mkdtemp(prefix="stdp-brian2-"))
        b.set_device("cpp_standalone", directory=str(directory), build_on_run=False)
        b.prefs.devices.cpp_standalone.openmp_threads = threads if threads > 1 else 0
        b.prefs.devices.cpp_standalone.extra_make_args_unix = [f"-j{os.cpu_count()}"]
        b.defaultclock.dt = PROTOCOL.dt_ms * b.ms
        synapses, monitor = model(b, network, images(count))
        b.device.build(directory=str(directory), compile=True, run=False, debug=False)

        def written(variable) -> np.ndarray:
            return np.fromfile(directory / "results" / b.get_device().get_array_filename(variable), dtype=variable.dtype)

        def run() -> Outcome:
            subprocess.run(["./main"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
            loop = float((directory / "results" / "last_run_info.txt").read_text().split()[0])
            step = np.rint(written(monitor.variables["t"]) / (PROTOCOL.dt_ms * 1e-3)).astype(int)
            neuron = written(monitor.variables["i"])
            order = np.lexsort((neuron, step))
            weights = network.projections[0].matrix(written(synapses.variables["w"]))
            return Outcome({**digest(step[order], neuron[order]), "weights": norm(weights)}, {"main loop": loop})

        return run

    return prepare


def model(b, network: Network, shown: np.ndarray):
    """The network in Brian2, by hand but for the texts of equations and rule; (plastic synapses, monitor of the excitatory spikes)."""
    learning, excite, inhibit = network.projections
    made, groups = b.Network(), {}
    for p in network.populations:
        spec = p.neuron
        unit = {"ms": b.ms, "mV": b.mV, "nS": b.nS}
        groups[p.name] = group = b.NeuronGroup(
            p.size,
            spec.equations + "\ntotal : 1",
            threshold=spec.threshold,
            reset=spec.reset,
            refractory="tau_ref",
            method="euler",
            namespace={n: q.value * unit[q.unit] for n, q in spec.parameters.items()},
        )
        group.v = p.initial_values()["v"] * b.volt
        made.add(group)
    groups[EXCITATORY].theta = network.population(EXCITATORY).initial_values()["theta"] * b.volt

    events, offsets = stretch(line(rates(shown), shown.shape[1], PROTOCOL.dt_ms), stream(0, 0), 0, SHOWN, STEPS)
    step = np.repeat(np.arange(STEPS * len(shown)), np.diff(offsets))
    source = b.SpikeGeneratorGroup(learning.shape[1], events, step * PROTOCOL.dt_ms * b.ms, sorted=True)

    rule = learning.rule
    traces = [f"{x.strip()} (event-driven)" for x in (rule.pre_traces + "\n" + rule.post_traces).splitlines() if x.strip()]
    constants = {n: q.value * (b.ms if q.unit == "ms" else 1) for n, q in rule.parameters.items()}
    synapses = b.Synapses(
        source,
        groups[EXCITATORY],
        "\n".join(["w : 1", *traces]),
        on_pre=f"g_exc_post += w*nS\n{rule.on_pre}",
        on_post=rule.on_post,
        namespace=constants,
    )
    pre, post, _, delay_ms = learning.synapses()
    synapses.connect(i=pre, j=post)
    synapses.w, synapses.delay = learning.synapse_values(), np.floor(delay_ms / PROTOCOL.dt_ms + 0.5) * PROTOCOL.dt_ms * b.ms
    # the sum of each column, then its share for each weight, at the start of each image
    image = STEPS * PROTOCOL.dt_ms * b.ms
    for order, (group, code) in enumerate(
        (
            (groups[EXCITATORY], "total = 0"),
            (synapses, "total_post += w"),
            (synapses, f"w = w*{total(learning.normalisation)!r}/total_post"),
        )
    ):
        group.run_regularly(code, dt=image, when="before_start", order=order)
    one_to_one = b.Synapses(groups[EXCITATORY], groups[INHIBITORY], on_pre=f"g_exc_post += {excite.weights.data[0]}*nS")
    one_to_one.connect(j="i")
    all_but_own = b.Synapses(groups[INHIBITORY], groups[EXCITATORY], on_pre=f"g_inh_post += {inhibit.weights.max()}*nS")
    all_but_own.connect("i != j")
    monitor = b.SpikeMonitor(groups[EXCITATORY])
    made.add(source, synapses, one_to_one, all_but_own, monitor)
    made.run(len(shown) * image)
    return synapses, monitor


def total(normalisation: Normalisation | None) -> float:
    assert normalisation
    return normalisation.total


# -- BindsNET -------------------------------------------------------------------------------------------------------


def bindsnet(neurons: int, count: int) -> Callable[[int], Callable[[], Outcome]]:
    """As in its examples/mnist/eth_mnist.py, without plots: the image is encoded, shown for 250 steps, states are reset."""

    def prepare(threads: int) -> Callable[[], Outcome]:
        import torch

        import_bindsnet()
        import bindsnet.network  # noqa: F401  first, as its modules import each other
        from bindsnet.encoding import poisson
        from bindsnet.models import DiehlAndCook2015
        from bindsnet.network.monitors import Monitor

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        network = DiehlAndCook2015(
            n_inpt=784, n_neurons=neurons, exc=22.5, inh=120, dt=1.0, norm=78.4, theta_plus=0.05, inpt_shape=(1, 28, 28)
        )
        monitor = Monitor(network.layers["Ae"], state_vars=["s"], time=250)
        network.add_monitor(monitor, name="Ae_spikes")
        shown = [torch.from_numpy(128 * x).float().reshape(1, 28, 28) for x in images(count)]

        def run() -> Outcome:
            begin, spikes = time.perf_counter(), 0
            for image in shown:
                network.run(inputs={"X": poisson(image, time=250, dt=1.0)}, time=250)
                spikes += int(monitor.get("s").sum())
                network.reset_state_variables()
            if spikes < count:
                raise BenchmarkError(f"BindsNET's network fired {spikes} times for {count} images; it must run")
            return Outcome(parts_s={"main loop": time.perf_counter() - begin})

        return run

    return prepare


# -- all ------------------------------------------------------------------------------------------------------------


def benchmark(quick: bool) -> Benchmark:
    neurons, count, of_bindsnet = (40, 3, 3) if quick else (400, 400, 10)

    def check(outcomes) -> None:
        same = ("spiketwin", "brian2 c++")
        equal(outcomes, "spikes", systems=same)
        # sums in another order, over all changes
        equal(outcomes, "weights", rtol=1e-9, systems=same)
        if outcomes["spiketwin"][0]["count"] < count:
            raise BenchmarkError("the network hardly fired; equal spikes say nothing")

    def kernels(threads: int) -> list[Kernel]:
        spikes = sum(np.sum(rates(x)) * PROTOCOL.image_ms * 1e-3 for x in images(count)) / count
        # the network stays in a cache from image to image: fetched once per run, weights with their places; then arithmetic limits
        moved = 784 * neurons * (8 + 4) / count
        return [Kernel("spiketwin, main loop", bytes=moved, flops=spikes * neurons * 2 + STEPS * neurons * 25)]

    double, single = "float64", "float32"
    return Benchmark(
        "stdp_mnist",
        "How long does it take the network of Diehl & Cook to learn from one image?",
        [
            System("spiketwin", ours(neurons, count, double), is_peer=False, units=count),
            System("spiketwin float32", ours(neurons, count, single), is_peer=False, units=count, differs="single precision"),
            System(
                "brian2 c++",
                brian2(neurons, count),
                threads=(1,),  # OpenMP takes a third longer with two, and sums in another order
                units=count,
                differs="nothing; its input spikes are given, not drawn",
                library="brian2",
            ),
            System(
                "bindsnet",
                bindsnet(neurons, of_bindsnet),
                units=of_bindsnet,
                differs="a simpler model: 250 steps of 1 ms, no rest, no delays, its own constants, single precision",
                library="bindsnet",
            ),
        ],
        unit="image",
        check=check,
        kernels=kernels,
        notes={
            "size": f"784-{neurons}-{neurons}, {count} images a run, {STEPS} steps of {PROTOCOL.dt_ms} ms each",
            "wanted": "12 times Brian2's C++ program and 40 times BindsNET at least; better 25 and 100",
            "limits": "a step adds the weights of some three input spikes to 400 neurons, in turn, then steps 800 neurons, lets a thousand weights "
            "learn at most, and tells the other thread who fired; each of these takes a few hundred nanoseconds, and none is waiting for memory",
        },
    )


if __name__ == "__main__":
    main(benchmark)
