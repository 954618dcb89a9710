"""The first images of an unsupervised study in Brian2: by the same input spikes, equal excitatory spikes and equal weights.

Repeated presentations, rests and the normalisation before each presentation are included. Double precision: single precision rounds
differently from Brian2, and in a network that chooses winners one early spike decides what is learnt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.data import Samples
from spiketwin.experiments.progress import progress
from spiketwin.experiments.studies.learning_rules.diehl_cook import EXCITATORY, INPUT, LEARNING, present, start
from spiketwin.models.spikes import Spikes

if TYPE_CHECKING:
    from spiketwin.experiments.studies.learning_rules.unsupervised import Config
    from spiketwin.models.engines.compiled.session import Session


class Listening:
    """A session that remembers what was sent and fired: (step, neuron) over all its runs."""

    def __init__(self, session: Session) -> None:
        self.session, self.steps = session, 0
        self.sent: list[tuple[np.ndarray, np.ndarray]] = []
        self.fired: list[tuple[np.ndarray, np.ndarray]] = []

    def normalise(self) -> None:
        self.session.normalise()

    def run(self, inputs, *, duration_ms: float, input_ms: float):
        drawn = self.session.draw(inputs, duration_ms=input_ms)[INPUT]
        ran = self.session.run({INPUT: drawn}, duration_ms=duration_ms, input_ms=input_ms)
        fired = ran.spikes[EXCITATORY]
        for listed, spikes in ((self.sent, drawn), (self.fired, fired)):
            listed.append((spikes.step + self.steps, spikes.neuron))
        self.steps += fired.shape[0]
        return ran

    def spikes(self, listed: list[tuple[np.ndarray, np.ndarray]], size: int) -> Spikes:
        """One of the lists as spikes [T, 1, size] of all runs together."""
        step, neuron = (np.concatenate(column) for column in zip(*listed))
        return Spikes(step, np.zeros_like(step), neuron, (self.steps, 1, size), self.session.dt_ms)


def check_against_brian2(config: Config, neurons: int, images: Samples, count: int, seed: int, *, quiet: bool = False) -> dict[str, float]:
    """Metrics of the first `count` images that a run of this seed shows to a network of this size.

    brian2_images, brian2_presentations, brian2_spikes: how many there were. brian2_equal_spikes: percent of the excitatory spikes of
    both together that the other has, too, at the same step. brian2_weight_difference: the largest, relative to the largest weight.
    """
    from spiketwin.experiments.studies.learning_rules.unsupervised import order
    from spiketwin.models.engines import get_engine

    protocol, inputs = config.protocol, images.images.shape[1]
    network = config.network(neurons, inputs, seed)
    ours = Listening(start(network, protocol, seed=seed, dtype="float64", threads=config.threads))
    shown = order(len(images), config.passes, seed)[:count]
    presentations = sum(present(ours, images.images[k] / images.maximum, protocol).presentations for k in shown)
    sent, fired = ours.spikes(ours.sent, inputs), ours.spikes(ours.fired, neurons)
    learning = network.projections[0]
    regular = replace(learning, normalisation=replace(learning.normalisation, every_ms=protocol.image_ms + protocol.rest_ms))
    network = replace(network, projections=(regular, *network.projections[1:]))
    with progress(f"Brian2, {len(shown)} images", 1.0, quiet=quiet) as show:
        brian = get_engine("brian").run(network, {INPUT: sent}, dt_ms=protocol.dt_ms, scheme=protocol.scheme, progress=show.update)
    theirs = brian.spikes[EXCITATORY]
    a, b = ({*zip(s.step.tolist(), s.neuron.tolist())} for s in (fired, theirs))
    weights, others = ours.session.weights(LEARNING), learning.matrix(brian.weights[LEARNING][0])
    return {
        "brian2_images": len(shown),
        "brian2_presentations": presentations,
        "brian2_spikes": len(theirs),
        "brian2_equal_spikes": 100 * len(a & b) / max(len(a | b), 1),
        "brian2_weight_difference": float(np.abs(weights - others).max() / np.abs(others).max()),
    }
