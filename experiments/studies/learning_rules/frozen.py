"""The trained network of Diehl & Cook with learning off: what many images draw, each for itself.

Weights and thresholds are held, as in the published script's test. Each image is a trial of its own that meets the network as training began, 40 mV
below rest, where the script shows one after the other with rests in between: so the order of images does not matter, and trials share out the
cores. Not at rest itself: a neuron whose threshold has fallen far enough lies above it there, and fires whatever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from spiketwin.experiments.studies.learning_rules.diehl_cook import EXCITATORY, INPUT, LEARNING, Protocol
from spiketwin.models.network import Network
from spiketwin.models.spikes import Spikes

AT_ONCE = 500  # trials of one run
NEVER_MS = 1e30  # a time constant with which nothing recovers


def freeze(network: Network, weights: np.ndarray, learnt: Mapping[str, np.ndarray]) -> Network:
    """The network with these weights [N, inputs] in nS and states that stay: theta [N] in V, and gain [N] where neurons have one."""
    exc = network.population(EXCITATORY)
    held = replace(
        exc,
        parameters={**exc.parameters, "theta_plus": 0.0, "tau_theta": NEVER_MS},
        initial={**exc.initial, **{name: np.asarray(values, float) for name, values in learnt.items()}},
    )
    return replace(
        network,
        populations=tuple(held if p.name == EXCITATORY else p for p in network.populations),
        projections=tuple(
            replace(p, weights=np.asarray(weights, float), rule=None, normalisation=None) if p.name == LEARNING else p
            for p in network.projections
        ),
    )


def respond(
    network: Network,
    images: np.ndarray,
    protocol: Protocol | None = None,
    *,
    seed: int = 0,
    dtype: str = "float32",
    threads: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Spikes of each excitatory neuron of a frozen network in the image's time [B, N].

    images: intensities 0 … 1 [B, inputs]. An image that draws too few spikes is shown anew and stronger, as in training.
    The trains of image b depend on seed and b alone. progress: called with how many images are done.
    """
    from spiketwin.models.engines.compiled import CompiledEngine

    protocol = protocol or Protocol()
    engine = CompiledEngine(dtype=dtype, threads=threads)
    counts = np.zeros((len(images), network.population(EXCITATORY).size), np.int32)
    for first in range(0, len(images), AT_ONCE):
        waiting = np.arange(first, min(first + AT_ONCE, len(images)))
        for k in range(protocol.most_presentations):
            rates = np.asarray(images[waiting], float) * (protocol.rate_hz * (protocol.intensity + k * protocol.intensity_step))
            spikes = trains(rates, waiting * protocol.most_presentations + k, protocol, seed)
            ran = engine.run(network, {INPUT: spikes}, dt_ms=protocol.dt_ms, scheme=protocol.scheme)
            counts[waiting] = ran.spikes[EXCITATORY].counts()
            waiting = waiting[counts[waiting].sum(axis=1) < protocol.fewest_spikes]
            if not len(waiting):
                break
        progress(min(first + AT_ONCE, len(images)))
    return counts


def trains(rates_hz: np.ndarray, numbers: np.ndarray, protocol: Protocol, seed: int) -> Spikes:
    """Poisson trains [T, B, inputs] of rates [B, inputs] in Hz; those of trial b depend on the seed and numbers[b]."""
    from spiketwin.models.engines.poisson import line, stretch

    steps = round(protocol.image_ms / protocol.dt_ms)
    key = np.random.SeedSequence([seed, 3]).generate_state(1, np.uint64)[0]
    drawn = [
        stretch(line(rates[None], rates.size, protocol.dt_ms), key, int(n) * steps, steps, steps) for rates, n in zip(rates_hz, numbers)
    ]
    step = np.concatenate([np.repeat(np.arange(steps), np.diff(offsets)) for _, offsets in drawn])
    trial = np.repeat(np.arange(len(drawn)), [len(events) for events, _ in drawn])
    return Spikes(step, trial, np.concatenate([events for events, _ in drawn]), (steps, *np.shape(rates_hz)), protocol.dt_ms)
