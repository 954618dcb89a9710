"""Kernels from spike timing alone, layer by layer: no label is read.

The first layer sees on- and off-cells, the stronger the earlier; the second what the first, done with learning, sends on: at each place
the spike of the map that fires first there, and of each 2 x 2 places the earliest of each map.

Source: Kheradpisheh et al. 2018, sections 2.2-2.4; the rule is in rules/plasticity/convolutional.py.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.data import Samples
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import write_bytes
from spiketwin.experiments.studies.semi_supervised.contrast import on_and_off
from spiketwin.rules.plasticity.convolutional import fire, first_kernels, first_of_maps, latencies, pooled, unsettled

if TYPE_CHECKING:
    from spiketwin.experiments.studies.semi_supervised.stdp_pretraining import Config

KEEP_EVERY = 500  # images after which all is saved
POOL = 2


class PretrainingError(ValueError):
    """The pre-training cannot go on as asked. The message names what is wrong and the fix."""


@dataclass(eq=False)
class Pretraining:
    """Where it stands. kernels: of each layer [M, C, K, K]. layer, seen: the layer that learns, and images that it has seen.
    wins: how often each map won, by layer. cpu_s: processor time spent."""

    kernels: list[np.ndarray]
    wins: list[np.ndarray]
    layer: int = 0
    seen: int = 0
    cpu_s: float = 0.0

    @property
    def unsettled(self) -> list[float]:
        """Of each layer, mean k(1 - k)."""
        return [unsettled(k) for k in self.kernels]

    def save(self, path: Path, settings: str) -> None:
        import io

        content = io.BytesIO()
        arrays = {f"{name}{i}": a for name, listed in (("kernels", self.kernels), ("wins", self.wins)) for i, a in enumerate(listed)}
        notes = json.dumps({"layer": self.layer, "seen": self.seen, "cpu_s": self.cpu_s})
        np.savez(content, **arrays, notes=np.array(notes), settings=np.array(settings))
        write_bytes(path, content.getvalue())

    def load(self, path: Path, settings: str) -> None:
        """Go on from a file. Raises PretrainingError when it is from other settings."""
        with np.load(path) as saved:
            if (then := str(saved["settings"])) != settings:
                raise PretrainingError(f"{path} is from other settings ({then}, now {settings}); give those, or remove it to start anew")
            for i in range(len(self.kernels)):
                self.kernels[i], self.wins[i] = saved[f"kernels{i}"], saved[f"wins{i}"]
            for name, value in json.loads(str(saved["notes"])).items():
                setattr(self, name, value)


def pretrain(config: Config, images: Samples, seed: int, *, path: Path | None = None, quiet: bool = False) -> Pretraining:
    """Kernels of all layers after `config.pretraining_images` of these images each, in an order drawn from the seed.

    path: the .npz that keeps all of it, and that a stopped run goes on from.
    """
    shown = np.random.default_rng([seed, 5]).permutation(len(images))[: config.pretraining_images]
    channels = (2, *config.maps)
    kernels = [
        first_kernels(m, c, config.kernel, np.random.default_rng([seed, 6, i])) for i, (m, c) in enumerate(zip(config.maps, channels))
    ]
    state = Pretraining(kernels, [np.zeros(m, int) for m in config.maps])
    settings = json.dumps({**config.pretraining(), "shown": len(shown), "seed": seed})
    if path and path.is_file():
        state.load(path, settings)
    layers = len(config.maps)
    with progress("spike timing without labels", layers * len(shown), quiet=quiet) as show:
        while state.layer < layers:
            began = time.process_time()
            part = shown[state.seen : state.seen + KEEP_EVERY]
            for image in on_and_off(images, part).numpy():
                heard = hears(config, state.kernels[: state.layer], image)
                for winner in config.rules[state.layer].learn(state.kernels[state.layer], heard, config.latency_steps):
                    state.wins[state.layer][winner.map] += 1
            state.seen += len(part)
            if state.seen >= len(shown):
                state.layer, state.seen = state.layer + 1, 0
            state.cpu_s += time.process_time() - began
            if path:
                state.save(path, settings)
            show.update(state.layer * len(shown) + state.seen, f"{state.unsettled[min(state.layer, layers - 1)]:.3f} unsettled")
    return state


def hears(config: Config, below: list[np.ndarray], image: np.ndarray) -> np.ndarray:
    """Latencies that the layer above those with kernels `below` sees of one image [2, side, side] of on- and off-cells."""
    steps = config.latency_steps
    latency = latencies(image, steps)
    for kernels, rule in zip(below, config.rules):
        latency = pooled(first_of_maps(*fire(kernels, latency, rule.threshold, steps), steps), POOL)
    return latency
