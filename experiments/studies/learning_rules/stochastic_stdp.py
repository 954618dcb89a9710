"""Digits by synapses of one bit: the network of Diehl & Cook, whose weights are 0 or 1 and switch by chance.

    a neuron fires:  w <- w + step  with probability p_plus  where its pixel fired within the window before,
                     w <- w - step  with probability p_minus elsewhere;     step = 1/(levels - 1), w from 0 to 1

A pixel that is recent at a share q of a neuron's spikes is on for a share p_plus q/(p_plus q + p_minus (1 - q)) of the time: what the
neuron looks for are the pixels with q > p_minus/(p_plus + p_minus), learnt from its last ten or twenty spikes where p_plus is 10 %.
A synapse that is on counts `synapse_ns`. Both probabilities and the window were chosen on 3,000 training images held out, after 12,000 of the
others, with 400 neurons, out of p_plus 3 and 10 %, p_minus .2, .4 and 1 times that, windows of 20 and 40 ms. The same network with real weights is
the one of Diehl & Cook, sum and all.

Weights cannot be scaled to a sum without leaving their levels. So the neuron is scaled: its gain on what excites it is the root of a constant
over the sum of its weights, as if each field had the same length as a vector (`gain_share`). Else a neuron with a large field answers everything,
and thresholds make up for it in part only. On held-out images gains help one bit after a whole pass. A gain by the sum itself, which favours
small fields, is worth less.

With more levels both probabilities fall to a tenth over the training, so that what was learnt fast is averaged over more and more spikes: on
held-out images 16 levels come near to real weights after a third of a pass, and keep that to the end. One bit loses by it: perhaps since fields
grow alike then, where chance made neurons differ.

Source: Querlioz et al. 2013, IEEE Trans. Nanotechnol. 12:288, and Yousefzadeh et al. 2018, Front. Neurosci. 12:665, for the synapses; Turrigiano
2008, Cell 135:422, for neurons that scale all their synapses; Diehl & Cook 2015 for the network. How it is shown images: unsupervised.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spiketwin.experiments.data import Dataset, load
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.studies.learning_rules import unsupervised
from spiketwin.experiments.studies.learning_rules.diehl_cook import LATERAL, LEARNING, build
from spiketwin.models.network import Network
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.rules.plasticity.diehl_cook import diehl_cook
from spiketwin.rules.plasticity.stochastic import bits_per_synapse, window

if TYPE_CHECKING:
    from spiketwin.models.engines.compiled.session import Session

QUESTION = "How well do synapses of one bit, which switch by chance, learn handwritten digits without labels?"
DATA = "mnist"
OBJECTIVE = None  # by default nothing is held out; --held-out 5000 --objective validation_accuracy_400 would


@dataclass(frozen=True)
class Config(unsupervised.Config):
    """Synapses of a few levels, and what they are compared with. nu_pre, nu_post and column_sum are those of real weights alone."""

    neurons: tuple[int, ...] = (400, 6400)
    """Excitatory neurons; a network for each."""
    levels: int = 2
    """Values that a weight may take; 2 for one bit."""
    more_levels: tuple[int, ...] = (4, 16)
    """Levels that it is compared with, next to real weights."""
    compared: tuple[int, ...] = (400,)
    """Sizes at which other levels and real weights are trained, too; what is not among `neurons` is left out."""
    p_plus: float = 0.1
    """Probability of a step up where the pixel was recent, of one bit; with more levels, as many times larger as its steps are smaller, if it
    can be."""
    p_minus: float = 0.04
    """Probability of a step down elsewhere, likewise."""
    p_end: float = 1.0
    """Share of both probabilities that is left at the end of all passes, if they are to fall; they do so exponentially."""
    levels_p_end: float = 0.1
    """The same with more levels."""
    window_ms: float = 20.0
    """How long a pixel's spike counts as recent, in ms."""
    synapse_ns: float = 0.8
    """Conductance of a synapse of weight 1, in nS where the leak is 1 nS."""
    density: float = 0.5
    """Share of synapses that are on at the start."""
    gain_share: float = 1 / 6
    """Share of its synapses, on, at which a neuron's gain is 1; about what a digit covers. 0 leaves out gains."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for levels in (self.levels, *self.more_levels):
            if levels < 2:
                raise unsupervised.UnsupervisedError(f"levels = {levels} must be at least 2: a weight that takes one value learns nothing")
        for name in ("p_plus", "p_minus", "p_end", "levels_p_end", "density"):
            if not 0 < getattr(self, name) <= 1:
                raise unsupervised.UnsupervisedError(f"{name} = {getattr(self, name)} is a probability; give one above 0, at most 1")
        if not 0 <= self.gain_share <= 1:
            raise unsupervised.UnsupervisedError(f"gain_share = {self.gain_share} is a share of the synapses; give 0 … 1")
        for name in ("window_ms", "synapse_ns"):
            if not getattr(self, name) > 0:
                raise unsupervised.UnsupervisedError(f"{name} = {getattr(self, name)} must be positive")

    @cached_property
    def rule(self) -> PlasticityRule:
        """The rule of its synapses. A step of more levels is smaller, so it is taken more often: weights move as fast on average, or as
        fast as they can; the two probabilities keep their ratio."""
        often = min(self.levels - 1, 1 / max(self.p_plus, self.p_minus))
        return window.with_parameters(p_plus=often * self.p_plus, p_minus=often * self.p_minus, levels=self.levels, window=self.window_ms)

    def network(self, neurons: int, inputs: int, seed: int) -> Network:
        """The network before it learns. Weights are 0 … 1 nS, so a leak of 1/synapse_ns stands for what one of them counts."""
        on = np.random.default_rng([seed, 4]).random((neurons, inputs)) < self.density
        leak_ns = 1 / self.synapse_ns
        return build(
            neurons,
            inputs=inputs,
            seed=seed,
            rule=self.rule,
            column_sum=None,
            weights=on.astype(float),
            inhibition=lambda n: LATERAL[self.lateral](n, self.inhibition_ns * leak_ns),
            homeostasis={**self.homeostasis(neurons), "g_leak": leak_ns},
            gain=self.gain_share > 0,
        )

    def gain(self, total: np.ndarray, inputs: int) -> np.ndarray:
        """Root of the share of synapses that are on for a gain of 1, over the share that is."""
        return np.sqrt(self.gain_share * inputs / np.maximum(total, 1))

    def tune(self, session: Session, done: float) -> None:
        """Both probabilities: what was learnt fast at first is averaged over more and more spikes."""
        if self.p_end < 1:
            values = self.rule.values
            session.set_parameters(LEARNING, **{name: values[name] * self.p_end**done for name in ("p_plus", "p_minus")})

    def learning(self) -> dict[str, Any]:
        """With the passes, over which the probabilities fall."""
        kept = {name: value for name, value in super().learning().items() if name not in ("more_levels", "compared", "levels_p_end")}
        return kept | ({"passes": self.passes} if self.p_end < 1 else {})

    @property
    def real(self) -> unsupervised.Config:
        """The same with real weights: the rule of Diehl & Cook and its normalisation."""
        return unsupervised.Config(**{f.name: getattr(self, f.name) for f in fields(unsupervised.Config)})


def kinds(config: Config) -> Iterator[tuple[str, unsupervised.Config]]:
    """What is trained: the metrics' suffix, and the settings. One bit first."""
    yield "", config
    sizes = tuple(n for n in config.neurons if n in config.compared)
    if sizes:
        for levels in config.more_levels:
            yield f"_levels_{levels}", replace(config, levels=levels, neurons=sizes, p_end=config.levels_p_end)
        yield "_full_precision", replace(config.real, neurons=sizes)


def bits(config: unsupervised.Config) -> float:
    """Of one synapse."""
    return bits_per_synapse(config.rule if isinstance(config, Config) else diehl_cook)


def compare(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False) -> tuple[dict, dict[str, Any]]:
    """(metrics, curves) of networks of all sizes and levels. folder: keeps a saved run of each, and a picture of its weights."""
    found: dict[str, float] = {"bits_per_synapse": bits(config)}
    curves: dict[str, Any] = {}
    accuracy: dict[str, dict[str, list]] = {}
    for suffix, kind in kinds(config):
        where = folder / f"synapses{suffix or f'_levels_{config.levels}'}" if folder else None
        numbers, drawn = unsupervised.measure(kind, f"digits by {bits(kind):g} bits", data, seed, where, quiet=quiet)
        found |= {f"{name}{suffix}": value for name, value in numbers.items()}
        curves |= {f"{name}{suffix}": value for name, value in drawn.items()}
        for n in kind.neurons:
            line = accuracy.setdefault(str(n), {"bits": [], "percent": []})
            line["bits"].append(bits(kind))
            line["percent"].append(next(v for name, v in numbers.items() if name.endswith(f"_accuracy_{n}")))
    return found, {**curves, "bits": accuracy}


def answer(config: Config, seed: int, data: Dataset, folder: Path | None = None, *, quiet: bool = False, note: str = "") -> Result:
    """The Result of one seed, with the figures in `folder`."""
    learn, tested, part = unsupervised.parts(config, data)
    split = f"{note}{len(learn)} training images, shown without labels; of the last {config.label_images} seen, labels name the neurons / "
    with measured(split=f"{split}{len(tested)} {part} images") as provenance:
        found, curves = compare(config, data, seed, folder, quiet=quiet)
        if folder:
            from spiketwin.experiments.studies.learning_rules.unsupervised_figures import draw_bits, draw_curves, save_figure

            save_figure(draw_bits(curves["bits"]), folder / f"bits_seed_{seed}.png")
            save_figure(draw_curves(curves), folder / f"accuracy_seed_{seed}.png")
    return single(sys.modules[__name__], config, seed, found, curves=curves, provenance=provenance)


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return answer(config, seed, load(DATA), folder)


def draw(result: Result):
    """Accuracy against bits per synapse, mean of the seeds, a line for each size."""
    from spiketwin.experiments.studies.learning_rules.unsupervised_figures import draw_bits

    of_seeds = result.curves["bits"] if len(result.seeds) > 1 else [result.curves["bits"]]
    return draw_bits(
        {n: {key: np.mean([seed[n][key] for seed in of_seeds], axis=0).tolist() for key in line} for n, line in of_seeds[0].items()}
    )


def smoke() -> Result:
    """Three hundred images, twenty neurons; one bit, two bits and real weights."""
    config = replace(
        Config(), neurons=(20,), compared=(20,), more_levels=(4,), images=300, label_images=300, test_images=100, p_plus=0.02, p_minus=0.02
    )
    return answer(config, 0, load(DATA), quiet=True, note="smoke test: ")
