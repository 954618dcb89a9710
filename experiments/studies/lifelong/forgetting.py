"""Forgetting: what the network of Diehl & Cook still knows of earlier digits when others come after them.

    sequential    0 and 1, then 2 and 3, … then 8 and 9, images of two classes in each phase, shown once, without labels
    interleaved   the same images in one random order, for comparison

After each phase learning is off for a while: responses to labelled training images that are never learnt from, of all classes shown so far,
say what the neurons stand for, and the test images of these classes are asked. The read-out is made anew each time, from old classes, too; so
what is lost is lost in the synapses and thresholds, or in neurons that now answer to several classes. More classes to choose from
make every answer harder: what the last phase is to be compared with is `interleaved`.

    stdp              the rule, normalisation and thresholds as published
    slow_threshold    the same, but a threshold rises by a fifth at each spike
    fixed_threshold   … and by nothing: no homeostasis but the sum of the weights
    stochastic        synapses of one bit that switch by chance, of neurons with gains in place of the sum (study stochastic_stdp)
    cascade           the remedy: these synapses have depths, and those that are often confirmed seldom switch
                      (Fusi, Drew & Abbott 2005; rules/plasticity/cascade.py)
    …_fast            both with three times the probability of a switch: what learns faster forgets faster, unless something keeps it

Source: the sequence of disjoint classes is that of Panda, Allred, Ramanathan & Roy 2018, IEEE JETCAS 8:51, and of Allred & Roy 2020,
Front. Neurosci. 14:7; Diehl & Cook 2015 for the network.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from spiketwin.experiments.data import Dataset, load
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Result, measured, single, write_json
from spiketwin.experiments.studies.learning_rules import stochastic_stdp, unsupervised
from spiketwin.experiments.studies.learning_rules.diehl_cook import start
from spiketwin.experiments.studies.learning_rules.frozen import freeze, respond
from spiketwin.experiments.studies.learning_rules.unsupervised import Learner
from spiketwin.experiments.studies.lifelong.phases import at_the_end, class_accuracies, shown, when_new
from spiketwin.experiments.studies.lifelong.phases import forgetting as mean_forgetting
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import unknown
from spiketwin.rules.plasticity.cascade import cascade
from spiketwin.rules.votes import class_responses, decide, likelihood

QUESTION = "What does a network that learns by spike timing forget when classes come one after the other, and what keeps it from that?"
DATA = "mnist"
OBJECTIVE = None  # the validation images tell what neurons stand for
ORDERS = ("sequential", "interleaved")


class ForgettingError(ValueError):
    """The study cannot go on as asked. The message names what is wrong and the fix."""


@dataclass(frozen=True)
class Config:
    """The network, the phases, and what is compared."""

    neurons: int = 100
    """Excitatory neurons."""
    classes_per_phase: int = 2
    """Classes that come together: 0 and 1, then 2 and 3, and so on."""
    images_per_phase: int = 2000
    """Images shown in a phase, without labels."""
    label_images: int = 1000
    """Labelled training images that say what neurons stand for, the first of the validation part; 0 for all 5,000 of them."""
    test_images: int = 0
    """Test images, the first ones; 0 for all."""
    variants: tuple[str, ...] = ("stdp", "slow_threshold", "fixed_threshold", "stochastic", "cascade", "stochastic_fast", "cascade_fast")
    """What is compared."""
    theta_plus_mv: float = 0.05
    """Rise of the threshold at a spike, in mV, as published; a fifth of it is the slow one."""
    p_switch: float = 0.01
    """Probability that a spike of the neuron offers a switch to a synapse of one bit; three times that in the fast variants."""
    depths: int = 8
    """Depths of a synapse of the cascade."""
    dt_ms: float = 0.5
    """Time step in ms."""
    threads: int = 1
    """Threads of training and tests."""
    keep_every: int = 500
    """Images after which all is saved, so that a stopped run goes on from there."""

    def __post_init__(self) -> None:
        for name in ("neurons", "classes_per_phase", "images_per_phase", "threads", "keep_every", "depths"):
            if getattr(self, name) < 1:
                raise ForgettingError(f"{name} = {getattr(self, name)} must be at least 1")
        for name in ("label_images", "test_images"):
            if getattr(self, name) < 0:
                raise ForgettingError(f"{name} = {getattr(self, name)} must be at least 1, or 0 for all")
        if not self.theta_plus_mv >= 0:
            raise ForgettingError(f"theta_plus_mv = {self.theta_plus_mv} must not be negative")
        for name in ("p_switch", "dt_ms"):
            if not getattr(self, name) > 0:
                raise ForgettingError(f"{name} = {getattr(self, name)} must be positive")
        if not self.variants:
            raise ForgettingError(f"there are no variants to compare; give some of {', '.join(VARIANTS)}")
        for variant in self.variants:
            if variant not in VARIANTS:
                raise ForgettingError(unknown(variant, "variant", "forgetting", VARIANTS))

    def phases(self, classes: int) -> tuple[tuple[int, ...], ...]:
        """Classes of each phase, of so many in all. Raises ForgettingError when there is one phase alone."""
        if self.classes_per_phase >= classes:
            raise ForgettingError(
                f"classes_per_phase = {self.classes_per_phase} of {classes} leaves one phase, which forgets nothing; give fewer"
            )
        starts = range(0, classes, self.classes_per_phase)
        return tuple(tuple(range(k, min(k + self.classes_per_phase, classes))) for k in starts)


@dataclass(frozen=True)
class Cascade(stochastic_stdp.Config):
    """Synapses of one bit with depths."""

    depths: int = 8
    """Depths of a synapse."""

    @cached_property
    def rule(self) -> PlasticityRule:
        return cascade.with_parameters(p_plus=self.p_plus, p_minus=self.p_minus, window=self.window_ms, depths=self.depths)


def _real(config: Config, factor: float) -> unsupervised.Config:
    """Real weights, and thresholds that rise `factor` times as fast as published."""
    return unsupervised.Config(dt_ms=config.dt_ms, threads=config.threads, theta_plus_mv=factor * config.theta_plus_mv)


def _bits(config: Config, factor: float = 1.0) -> stochastic_stdp.Config:
    """Synapses of one bit that are offered a switch `factor` times as often."""
    p = factor * config.p_switch
    shared = dict(dt_ms=config.dt_ms, threads=config.threads, theta_plus_mv=config.theta_plus_mv)
    return stochastic_stdp.Config(**shared, p_plus=p, p_minus=p, p_end=1.0)


def _deep(config: Config, factor: float = 1.0) -> Cascade:
    """The same with depths."""
    shared = {f.name: getattr(_bits(config, factor), f.name) for f in fields(stochastic_stdp.Config)}
    return Cascade(**shared, depths=config.depths)


VARIANTS: Mapping[str, Callable[[Config], unsupervised.Config]] = MappingProxyType(
    {
        "stdp": lambda config: _real(config, 1.0),
        "slow_threshold": lambda config: _real(config, 0.2),
        "fixed_threshold": lambda config: _real(config, 0.0),
        "stochastic": lambda config: _bits(config),
        "cascade": lambda config: _deep(config),
        "stochastic_fast": lambda config: _bits(config, 3.0),
        "cascade_fast": lambda config: _deep(config, 3.0),
    }
)


def accuracies(
    config: Config, variant: str, order: str, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False
) -> np.ndarray:
    """Accuracy by phase and class [P, K] in percent, of one network; of an interleaved one after the last phase alone, [1, K].

    folder: keeps the network and what is already known, so that a stopped run goes on, bit for bit.
    """
    setting, inputs = VARIANTS[variant](config), data.inputs
    phases = config.phases(len(data.classes))
    images = shown(data.train.labels, phases, config.images_per_phase, seed, interleaved=order == "interleaved")
    network = setting.network(config.neurons, inputs, seed)
    session = start(network, setting.protocol, seed=seed, dtype=setting.dtype, threads=config.threads)
    learner = Learner(session, np.zeros((1, config.neurons), np.uint8), setting.gain)
    learner.scale(np.arange(config.neurons))
    settings = json.loads(json.dumps({**setting.learning(), **_fixed(config), "variant": variant, "order": order, "seed": seed}))
    saved, rows = (folder / f"{variant}_{order}_seed_{seed}.npz" if folder else None), []
    if saved and saved.is_file():
        learner.load(saved, settings)
        if saved.with_suffix(".json").is_file():
            rows = json.loads(saved.with_suffix(".json").read_text())
    ends = [config.images_per_phase * (p + 1) for p in range(len(phases))]
    known = 0 if order == "sequential" else len(ends) - 1  # the first phase that is tested
    with progress(f"forgetting, {variant}, {order}", len(images), quiet=quiet) as show:
        while len(rows) < len(ends) - known:
            phase = known + len(rows)
            while learner.seen < ends[phase]:
                learner.see(data.train.images[images[learner.seen]] / data.train.maximum, setting.protocol)
                if saved and (learner.seen % config.keep_every == 0 or learner.seen in ends):
                    learner.save(saved, settings)
                show.update(learner.seen, f"after {len(rows)} tests")
            seen = [k for classes in phases[: phase + 1] for k in classes]
            row = ask(config, freeze(network, learner.weights, learner.learnt), setting, data, seen, seed)
            rows.append([None if np.isnan(a) else a for a in row])
            if saved:
                write_json(saved.with_suffix(".json"), rows)
                unsupervised.picture(learner, saved.with_suffix(".png"))
    return np.array(rows, float)


def _fixed(config: Config) -> dict[str, Any]:
    """The settings that a table of accuracies depends on besides those of learning."""
    return {name: value for name, value in asdict(config).items() if name not in ("variants", "threads", "keep_every")}


def ask(config: Config, network, setting: unsupervised.Config, data: Dataset, classes: list[int], seed: int) -> np.ndarray:
    """Percent of the test images of each class [K] that a frozen network tells among `classes`; NaN for the others."""

    def part(samples, count: int):
        first = samples[: count or len(samples)]
        return first[np.isin(first.labels, classes)]

    named, asked = part(data.validation, config.label_images), part(data.test, config.test_images)
    both = np.concatenate([named.intensities, asked.intensities])
    counts = respond(network, both, setting.protocol, seed=seed, threads=config.threads)
    votes = likelihood(class_responses(counts[: len(named)], named.labels, len(data.classes))[classes])
    answers = np.asarray(classes)[decide(counts[len(named) :], votes)]
    return class_accuracies(answers, asked.labels, len(data.classes))


def measure(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False):
    """(metrics, curves) of one seed: of all variants in both orders."""
    found: dict[str, float] = {}
    curves: dict[str, Any] = {"accuracy": {}, "interleaved": {}}
    for variant in config.variants:
        table, together = (accuracies(config, variant, order, data, seed, folder, quiet=quiet) for order in ORDERS)
        found |= {
            f"final_accuracy_{variant}": at_the_end(table),
            f"interleaved_accuracy_{variant}": at_the_end(together),
            f"lost_by_order_{variant}": at_the_end(together) - at_the_end(table),
            f"forgetting_{variant}": mean_forgetting(table),
            f"accuracy_when_new_{variant}": when_new(table),
        }
        curves["accuracy"][variant] = [[None if np.isnan(a) else round(a, 2) for a in row] for row in table]
        curves["interleaved"][variant] = np.round(together[-1], 2).tolist()
    for speed in ("", "_fast"):
        if {f"stochastic{speed}", f"cascade{speed}"} <= {*config.variants}:
            found[f"forgetting_kept_off_by_cascade{speed}"] = found[f"forgetting_stochastic{speed}"] - found[f"forgetting_cascade{speed}"]
    return found, curves


def answer(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False, note: str = "") -> Result:
    learnt = (
        f"{config.images_per_phase} images of the training part in each of {len(config.phases(len(data.classes)))} phases, without labels"
    )
    named = f"neurons named by the first {config.label_images or len(data.validation)} images of the validation part"
    split = f"{note}{learnt} / {named} / {config.test_images or len(data.test)} test images"
    with measured(split=split) as provenance:
        found, curves = measure(config, data, seed, folder, quiet=quiet)
    result = single(sys.modules[__name__], config, seed, found, curves=curves, provenance=provenance)
    if folder:
        from spiketwin.experiments.studies.lifelong.figures import save_all

        save_all(result, folder, f"seed_{seed}")
    return result


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return answer(config, load(DATA), seed, folder)


def draw(result: Result):
    """What each variant still knows at the end, and what it forgot, mean of the seeds."""
    from spiketwin.experiments.studies.lifelong.figures import figures

    return figures(result)["summary"]


def smoke() -> Result:
    """Ten neurons, sixty images in each of two phases of five classes; published rule and cascade."""
    config = replace(
        Config(),
        neurons=10,
        classes_per_phase=5,
        images_per_phase=60,
        label_images=100,
        test_images=100,
        variants=("stdp", "cascade"),
        p_switch=0.05,
    )
    return answer(config, load(DATA), 0, quiet=True, note="smoke test: ")
