"""What reward can teach by spike timing: conditioning with reward that comes seconds late, and exclusive or.

    conditioning   many learners, each a neuron that hears all stimuli and is rewarded after one of them; success: its synapses from that
                   group end up stronger than those from any other (conditioning.py)
    xor            networks whose every output spike is rewarded or punished; success: afterwards, without rewards, each of the patterns
                   that mean 1 draws more output spikes than any that mean 0 (xor.py)

Beside the learners run as many controls with the same rule, whose rewards come at random times, or for random patterns.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.studies.learning_rules.rewards import conditioning as task
from spiketwin.experiments.studies.learning_rules.rewards import xor
from spiketwin.experiments.studies.learning_rules.rewards.figure import draw

__all__ = ["OBJECTIVE", "QUESTION", "Config", "RewardError", "answer", "draw", "run", "smoke"]

if TYPE_CHECKING:
    from spiketwin.models.network import Network

QUESTION = "Can reward alone teach synapses which of many stimuli is worth something, and exclusive or?"
OBJECTIVE = None  # nothing is held out for validation
SPLIT = "none: conditioning is judged by weights, exclusive or by new spike trains of the four patterns, with learning off"


class RewardError(ValueError):
    """The study cannot run as asked. The message names the setting and the fix."""


@dataclass(frozen=True)
class Config:
    """The stimuli, the learners, and how they are rewarded."""

    dt_ms: float = 1.0
    """Time step in ms."""
    learners: int = 20
    """Neurons that learn, and as many controls."""
    groups: int = 20
    """Stimuli, each a group of inputs."""
    group_inputs: int = 5
    """Inputs of a group."""
    background_hz: float = 1.0
    """Rate of each input between stimuli, in Hz."""
    duration_ms: float = 400_000.0
    """How long they learn, in ms; whole blocks of 10 s."""
    delay_ms: tuple[float, float] = (1000.0, 3000.0)
    """Shortest and longest time from a stimulus to its reward, in ms."""
    eta_hz: float = 1.0
    """Learning rate in mV per second of full reward."""
    networks: int = 4
    """Networks that learn exclusive or, and as many controls."""
    hidden: int = 60
    """Hidden neurons of each."""
    input_hz: float = 40.0
    """Rate of an input that means 1, in Hz."""
    epochs: int = 70
    """Times that the four patterns are shown, 500 ms each."""
    test_epochs: int = 10
    """Times that they are shown afterwards, without rewards."""
    xor_eta_hz: float = 40.0
    """Learning rate in mV per second of full reward."""
    keep_every: int = 6
    """Blocks, or epochs, after which all is saved, so that a stopped run goes on from there."""

    def __post_init__(self) -> None:
        for name in ("learners", "groups", "group_inputs", "networks", "hidden", "epochs", "test_epochs", "keep_every"):
            least = 2 if name == "groups" else 1  # of one group alone none is the best
            if getattr(self, name) < least:
                raise RewardError(f"{name} = {getattr(self, name)} must be at least {least}")
        if not (self.dt_ms > 0 and np.isclose(xor.PATTERN_MS / self.dt_ms, np.rint(xor.PATTERN_MS / self.dt_ms))):
            raise RewardError(f"dt_ms = {self.dt_ms} must be positive, and {xor.PATTERN_MS:g} ms a multiple of it")
        for name in ("background_hz", "input_hz"):
            if not 0 <= getattr(self, name) * self.dt_ms <= 1e3:
                raise RewardError(f"{name} = {getattr(self, name)} must not be negative, nor more than one spike in dt_ms = {self.dt_ms}")
        if not 0 <= self.delay_ms[0] < self.delay_ms[1]:
            raise RewardError(f"delay_ms = {self.delay_ms} must be the shortest and the longest delay, not negative; swap them?")
        if not 0 < self.duration_ms < np.inf or self.blocks < 1 or not np.isclose(self.blocks * task.BLOCK_MS, self.duration_ms):
            raise RewardError(f"duration_ms = {self.duration_ms} must be a multiple of {task.BLOCK_MS:g} ms")

    @property
    def blocks(self) -> int:
        return round(self.duration_ms / task.BLOCK_MS)


SMOKE = Config(
    learners=8,
    groups=8,
    duration_ms=60_000.0,
    delay_ms=(100.0, 500.0),
    eta_hz=1.5,
    networks=1,
    epochs=15,
    test_epochs=5,
    hidden=30,
    xor_eta_hz=120.0,
)


class Kept:
    """The session of a task and what it has shown so far, in a file that a stopped run goes on from, bit for bit.

    Raises RewardError when the file is from other settings.
    """

    def __init__(self, network: Network, config: Config, seed: int, path: Path | None) -> None:
        from spiketwin.models.engines.compiled import CompiledEngine

        self.session = CompiledEngine(threads=1).start(network, dt_ms=config.dt_ms, scheme="exact", seed=seed)
        self.path, self.every, self.seen = path, config.keep_every, []
        self.settings = json.dumps({**asdict(replace(config, keep_every=1)), "seed": seed})
        if path and path.is_file():
            with np.load(path) as saved:
                if str(saved["beside/settings"]) != self.settings:
                    raise RewardError(f"{path} is from other settings; give those, or remove it to start anew")
                self.seen = list(saved["beside/seen"])
            self.session.load(path)

    def add(self, shown: np.ndarray, total: int) -> None:
        self.seen.append(shown)
        if self.path and (len(self.seen) % self.every == 0 or len(self.seen) == total):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.session.save(self.path, seen=np.array(self.seen), settings=np.array(self.settings))


def learn(config: Config, seed: int, *, path: Path | None = None, quiet: bool = False) -> np.ndarray:
    """After each block, of each neuron: mean weight in mV of its own group and of the best other, [blocks, 2, 2 * learners]."""
    kept, events = Kept(task.network(config), config, seed, path), task.events(config, seed)
    with progress("conditioning", config.blocks, quiet=quiet) as show:
        while (block := len(kept.seen)) < config.blocks:
            kept.session.run(task.spikes(config, events, seed, block * task.BLOCK_MS), duration_ms=task.BLOCK_MS)
            kept.add(np.stack(task.preferences(config, kept.session.weights("learning"))), config.blocks)
            show.update(block + 1, f"{success(kept.seen[-1])[: config.learners].mean():.0f} % found their stimulus")
    return np.array(kept.seen)


def learn_xor(config: Config, seed: int, *, path: Path | None = None, quiet: bool = False) -> np.ndarray:
    """Output spikes of each network by pattern in every epoch, those without rewards last: [epochs + test_epochs, 2 * networks, 4]."""
    kept, total = Kept(xor.network(config, seed), config, seed, path), config.epochs + config.test_epochs
    with progress("exclusive or", total, quiet=quiet) as show:
        while (epoch := len(kept.seen)) < total:
            order, spikes = xor.lesson(config, seed, epoch, teach=epoch < config.epochs)
            run = kept.session.run(spikes, duration_ms=4 * xor.PATTERN_MS)
            kept.add(xor.answers(order, run.spikes["output"]), total)
            so_far = xor.margin(np.mean(kept.seen[-10:], axis=0))[: config.networks]
            show.update(epoch + 1, f"{100 * np.mean(so_far > 0):.0f} % of networks")
    return np.array(kept.seen)


def success(preferences: np.ndarray) -> np.ndarray:
    """100 where the own group [..., 0, N] is the strongest of all, else 0: [..., N], in percent."""
    return 100.0 * (preferences[..., 0, :] > preferences[..., 1, :])


def trials_to_criterion(found: np.ndarray, per_block: float) -> np.ndarray:
    """Stimuli of its own group until each learner succeeds for good, [N]; all of the run where it does not. found: success [blocks, N]."""
    fails = found == 0
    last = np.where(fails.any(axis=0), len(found) - np.argmax(fails[::-1], axis=0), 0)  # blocks up to the last failure
    return np.minimum(last + 1, len(found)) * per_block


def answer(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False) -> Result:
    n = config.learners

    def path(name: str) -> Path | None:
        return folder / f"{name}_seed_{seed}.npz" if folder else None

    with measured(split=SPLIT) as provenance:
        seen = learn(config, seed, path=path("conditioning"), quiet=quiet)
        counts = learn_xor(config, seed, path=path("xor"), quiet=quiet)
    tested, half = counts[config.epochs :].mean(axis=0), config.networks
    rates = tested[:half].mean(axis=0) / (1e-3 * xor.PATTERN_MS)
    found = success(seen)
    per_block = task.BLOCK_MS * 1e-3 / task.STIMULI_S / config.groups
    metrics = {
        "success": found[-1, :n].mean(),
        "success_of_controls": found[-1, n:].mean(),
        "success_by_chance": 100.0 / config.groups,
        "xor_success": 100 * np.mean(xor.margin(tested)[:half] > 0),
        "xor_success_of_controls": 100 * np.mean(xor.margin(tested)[half:] > 0),
        **{f"xor_rate_{a}{b}_hz": rate for (a, b), rate in zip(xor.PATTERNS, rates, strict=True)},
        "trials_to_criterion": np.median(trials_to_criterion(found[:, :n], per_block)),
        "own_weight_mv": seen[-1, 0, :n].mean(),
        "best_other_weight_mv": seen[-1, 1, :n].mean(),
        "own_weight_of_controls_mv": seen[-1, 0, n:].mean(),
    }
    curves = {
        "time_s": (np.arange(config.blocks) + 1) * task.BLOCK_MS * 1e-3,
        "success": found[:, :n].mean(axis=1),
        "success_of_controls": found[:, n:].mean(axis=1),
        "own_weight_mv": seen[:, 0, :n].mean(axis=1),
        "best_other_weight_mv": seen[:, 1, :n].mean(axis=1),
        "own_weight_of_controls_mv": seen[:, 0, n:].mean(axis=1),
        "xor_spikes": counts[:, :half].mean(axis=1),
        "xor_spikes_of_controls": counts[:, half:].mean(axis=1),
    }
    return single(sys.modules[__name__], config, seed, {k: float(v) for k, v in metrics.items()}, curves=curves, provenance=provenance)


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    result = answer(config, seed, folder=folder)
    if folder:
        draw(result).savefig(folder / f"reward_seed_{seed}.png", dpi=150)
    return result


def smoke() -> Result:
    """Eight stimuli and learners, reward within half a second, for a minute; one network, ten epochs."""
    return answer(SMOKE, 0, quiet=True)
