"""Images without labels: the network of Diehl & Cook learns by spike timing alone, and only then is told what its neurons stand for.

    train    every training image once or several times, in an order drawn from the seed; labels are not used
    label    learning off: responses to the last `label_images` training images seen say what each neuron's spike means
    test     learning off: every test image once

Studies of a data set are a file with QUESTION and its name (unsupervised_digits.py, unsupervised_fashion.py).
Source: Diehl & Cook 2015, section 2.5 and 2.6. Labels come from one presentation of 10,000 training images, not all 60,000.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spiketwin.experiments.data import Dataset, Samples
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Experiment, Result, measured, single
from spiketwin.experiments.studies.learning_rules.diehl_cook import EXCITATORY, LATERAL, LEARNING, STABLE, Protocol, build, present, start
from spiketwin.experiments.studies.learning_rules.frozen import freeze, respond
from spiketwin.models.network import Network
from spiketwin.models.spec import unknown
from spiketwin.rules.plasticity.diehl_cook import COLUMN_SUM, diehl_cook
from spiketwin.rules.votes import VOTES, class_responses, decide

if TYPE_CHECKING:
    from spiketwin.models.engines.compiled.session import Session

BLOCK = 1000  # images after which the accuracy so far is noted
WINDOW = 10_000  # last responses that it is judged by


class UnsupervisedError(ValueError):
    """A study of this kind cannot go on as asked. The message names what is wrong and the fix."""


@dataclass(frozen=True)
class Config:
    """Networks of several sizes, and how they learn."""

    neurons: tuple[int, ...] = (100, 400, 1600, 6400)
    """Excitatory neurons; a network for each."""
    passes: int = 1
    """Times that all images are shown."""
    images: int = 0
    """Training images of a pass, the first ones; 0 for all."""
    held_out: int = 0
    """Training images, the last ones, that are kept out and tested in place of the test images: for choosing settings. 0 for a final result."""
    label_images: int = 10_000
    """Last training images seen that, shown again with learning off, say what neurons stand for."""
    test_images: int = 0
    """Test images, the first ones; 0 for all."""
    vote: str = "likelihood"
    """How spikes become an answer: plain (as published), confident or likelihood. Chosen on held-out training images; all are reported."""
    dt_ms: float = 0.5
    """Time step in ms."""
    scheme: str = STABLE
    """How neurons are integrated; euler is published, and rings where many fire at once (diehl_cook.py)."""
    intensity: float = 2.0
    """Factor on the rates of pixel/8 Hz of a first presentation."""
    rest_ms: float = 150.0
    """Rest after an image in ms."""
    nu_pre: float = 1e-4
    """Learning rate at presynaptic spikes."""
    nu_post: float = 1e-2
    """Learning rate at postsynaptic spikes."""
    column_sum: float = COLUMN_SUM
    """Sum of the weights to a neuron, of 784 inputs."""
    lateral: str = "uniform"
    """How inhibition reaches other neurons: uniform (as published), or growing with their distance on a lattice."""
    inhibition_ns: float = 17.0
    """Weight of lateral inhibition in nS, the largest where it grows."""
    theta_plus_mv: float = 0.05
    """Rise of the threshold at a spike, in mV."""
    scaled_from: int = 1600
    """Neurons beyond which theta_plus_mv grows in proportion to their number, and nu_pre and nu_post with its root: each of them fires more
    rarely. Else thresholds of 6,400 settle so low that an image's first spikes decide."""
    tau_theta_ms: float = 1e7
    """Time constant with which the threshold recovers, in ms."""
    dtype: str = "float32"
    """Precision of the training: float32 or float64."""
    threads: int = 1
    """Threads that share the neurons of a network in training; tests use all cores."""
    keep_every: int = 5000
    """Images after which all is saved, so that a stopped run goes on from there."""
    brian2_images: int = 0
    """First images that Brian2 runs, too, with the smallest network in double precision; 0 leaves it out."""

    def __post_init__(self) -> None:
        if self.vote not in VOTES:
            raise UnsupervisedError(unknown(self.vote, "vote", "this study", VOTES))
        if self.lateral not in LATERAL:
            raise UnsupervisedError(unknown(self.lateral, "lateral inhibition", "this study", LATERAL))
        for name in ("passes", "label_images", "keep_every", "threads", "scaled_from"):
            if getattr(self, name) < 1:
                raise UnsupervisedError(f"{name} = {getattr(self, name)} must be at least 1")
        if not self.neurons or min(self.neurons) < 1:
            raise UnsupervisedError(f"neurons = {self.neurons} must name sizes of at least 1, e.g. 100 400")

    @property
    def protocol(self) -> Protocol:
        return Protocol(dt_ms=self.dt_ms, intensity=self.intensity, rest_ms=self.rest_ms, scheme=self.scheme)

    def rarity(self, neurons: int) -> float:
        """How many times more rarely than at `scaled_from` each of so many neurons fires; 1 for fewer."""
        return max(1.0, neurons / self.scaled_from)

    def homeostasis(self, neurons: int) -> dict[str, float]:
        """How thresholds learn: theta_plus in mV, tau_theta in ms."""
        return {"theta_plus": self.theta_plus_mv * self.rarity(neurons), "tau_theta": self.tau_theta_ms}

    def network(self, neurons: int, inputs: int, seed: int) -> Network:
        """The network before it learns."""
        faster = self.rarity(neurons) ** 0.5
        return build(
            neurons,
            inputs=inputs,
            seed=seed,
            rule=diehl_cook.with_parameters(nu_pre=self.nu_pre * faster, nu_post=self.nu_post * faster),
            column_sum=self.column_sum,
            inhibition=lambda n: LATERAL[self.lateral](n, self.inhibition_ns),
            homeostasis=self.homeostasis(neurons),
        )

    def gain(self, total: np.ndarray, inputs: int) -> np.ndarray:
        """Gain of neurons whose weights from so many inputs sum to `total` nS, where they have one."""
        return np.ones_like(total)

    def tune(self, session: Session, done: float) -> None:
        """Set what changes while a network learns, before an image. done: share of all images seen."""

    def learning(self) -> dict[str, Any]:
        """The settings that training depends on; a saved run may go on with others changed, such as more passes."""
        free = ("neurons", "passes", "label_images", "test_images", "vote", "threads", "keep_every", "brian2_images")
        return {name: value for name, value in asdict(self).items() if name not in free}


@dataclass(eq=False)
class Learner:
    """A network as it learns. counts: spikes [WINDOW, N] at the last images. gain: as in Config. curve: images seen and accuracy in percent of the last
    BLOCK, by labels of those before. presentations, spikes: of all images; seconds, cpu_s: spent on them."""

    session: Session
    counts: np.ndarray
    gain: Callable[[np.ndarray, int], np.ndarray]
    seen: int = 0
    presentations: int = 0
    spikes: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)

    @property
    def weights(self) -> np.ndarray:
        """Weights [N, inputs] as the next image meets them, in nS."""
        self.session.normalise()
        return np.asarray(self.session.weights(LEARNING))

    @property
    def learnt(self) -> dict[str, np.ndarray]:
        """What else the neurons have learnt [N]: theta in V, and gain where they have one."""
        names = ("theta", "gain") if self.has_gain else ("theta",)
        return {name: self.session.state(EXCITATORY, name).copy() for name in names}

    @property
    def has_gain(self) -> bool:
        return "gain" in self.session.network.population(EXCITATORY).neuron.states

    def scale(self, neurons: np.ndarray) -> None:
        """Set the gains of these neurons to what their weights ask for."""
        if self.has_gain:
            self.session.state(EXCITATORY, "gain")[neurons] = self.gain(
                self.session.total(LEARNING, neurons), self.session.network.sources[0].size
            )

    def see(self, image: np.ndarray, protocol: Protocol) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        response = present(self.session, image, protocol)
        self.counts[self.seen % len(self.counts)] = np.minimum(response.counts, 255)
        self.seen += 1
        self.presentations += response.presentations
        self.spikes += int(response.counts.sum())
        self.scale(response.fired)
        self.seconds += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu

    def judge(self, labels: np.ndarray, vote: str) -> None:
        """Note how many of the last BLOCK images the responses before them would have named. labels: of all images seen."""
        past = np.arange(max(0, self.seen - len(self.counts)), self.seen)
        before, now = past[:-BLOCK], past[-BLOCK:]
        responses = class_responses(self.counts[before % len(self.counts)], labels[before], int(labels.max()) + 1)
        hits = decide(self.counts[now % len(self.counts)], VOTES[vote](responses)) == labels[now]
        self.curve.append((self.seen, 100 * float(hits.mean())))

    def save(self, path: Path, settings: Mapping[str, Any]) -> None:
        notes = {name: getattr(self, name) for name in ("seen", "presentations", "spikes", "seconds", "cpu_s", "curve")}
        path.parent.mkdir(parents=True, exist_ok=True)
        self.session.save(path, counts=self.counts, notes=np.array(json.dumps({**notes, "settings": settings})))

    def load(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Go on from a file. Raises UnsupervisedError when it is from other settings."""
        with np.load(path) as saved:
            notes, counts = json.loads(str(saved["beside/notes"])), saved["beside/counts"]
        then = notes.pop("settings")
        if changed := [f"{name} was {then.get(name)}, is {value}" for name, value in settings.items() if then.get(name) != value]:
            raise UnsupervisedError(f"{path} is from other settings ({'; '.join(changed)}); give those, or remove it to start anew")
        self.session.load(path)
        self.counts[...] = counts
        for name, value in notes.items():
            setattr(self, name, value)
        self.curve = [(int(seen), float(accuracy)) for seen, accuracy in self.curve]


# -- the three parts -----------------------------------------------------------------------------------------------


def order(images: int, passes: int, seed: int) -> np.ndarray:
    """Which image is shown when: each pass in an order of its own, [passes * images]."""
    return np.concatenate([np.random.default_rng([seed, 2, p]).permutation(images) for p in range(passes)])


def train(
    config: Config, neurons: int, images: Samples, seed: int, *, path: Path | None = None, quiet: bool = False, title: str = "training"
) -> Learner:
    """The network after all passes. path: the .npz that keeps all of it, and that a stopped run goes on from, bit for bit;
    a picture of what the neurons look for is kept beside it."""
    protocol, shown = config.protocol, order(len(images), config.passes, seed)
    network = config.network(neurons, images.images.shape[1], seed)
    session = start(network, protocol, seed=seed, dtype=config.dtype, threads=config.threads)
    learner = Learner(session, np.zeros((min(WINDOW, len(shown)), neurons), np.uint8), config.gain)
    learner.scale(np.arange(neurons))
    settings = {**config.learning(), "of": neurons, "shown": len(images), "seed": seed}
    if path and path.is_file():
        learner.load(path, settings)
    labels = images.labels[shown]
    with progress(f"{title}, {neurons} neurons", len(shown), quiet=quiet) as show:
        while learner.seen < len(shown):
            config.tune(session, learner.seen / len(shown))
            learner.see(images.images[shown[learner.seen]] / images.maximum, protocol)
            if learner.seen % BLOCK == 0 and learner.seen > BLOCK:
                learner.judge(labels[: learner.seen], config.vote)
            if path and (learner.seen % config.keep_every == 0 or learner.seen == len(shown)):
                learner.save(path, settings)
                picture(learner, path.with_suffix(".png"))
            show.update(learner.seen, f"{learner.curve[-1][1]:.1f} % of the last {BLOCK}" if learner.curve else "")
    return learner


def picture(learner: Learner, path: Path) -> None:
    """What the neurons look for now, as a PNG file."""
    from spiketwin.experiments.studies.learning_rules.unsupervised_figures import draw_fields, save_figure

    save_figure(draw_fields(learner.weights), path)


def measure(
    config: Config, name: str, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False
) -> tuple[dict[str, float], dict[str, Any]]:
    """(metrics, curves) of networks of all sizes."""
    images, tested, part = parts(config, data)
    found: dict[str, float] = {}
    curves: dict[str, Any] = {}
    for n in config.neurons:
        path = folder / f"neurons_{n}_seed_{seed}.npz" if folder else None
        learner = train(config, n, images, seed, path=path, quiet=quiet, title=name)
        last = images[order(len(images), config.passes, seed)[-config.label_images :]]
        network = freeze(config.network(n, data.inputs, seed), learner.weights, learner.learnt)
        both = np.concatenate([last.intensities, tested.intensities])
        with progress(f"{name}, {n} neurons, learning off", len(both), quiet=quiet) as show:
            known, asked = np.split(respond(network, both, config.protocol, seed=seed, progress=show.update), [len(last)])
        responses = class_responses(known, last.labels, len(data.classes))
        answers = {vote: decide(asked, function(responses)) for vote, function in VOTES.items()}
        found[f"{part}_accuracy_{n}"] = percent(answers[config.vote] == tested.labels)
        found |= {f"{part}_accuracy_{n}_{vote}": percent(answer == tested.labels) for vote, answer in answers.items()}
        share = len(images) / learner.seen / 60
        found[f"minutes_per_pass_{n}"] = learner.seconds * share
        found[f"processor_minutes_per_pass_{n}"] = learner.cpu_s * share
        found[f"presentations_per_image_{n}"] = learner.presentations / learner.seen
        found[f"spikes_per_image_{n}"] = learner.spikes / learner.seen
        confusion = np.zeros((len(data.classes),) * 2, int)
        np.add.at(confusion, (tested.labels, answers[config.vote]), 1)
        curves[f"accuracy_{n}"] = {"images": [seen for seen, _ in learner.curve], "percent": [accuracy for _, accuracy in learner.curve]}
        curves[f"confusion_{n}"] = confusion.tolist()
    return found, curves


def parts(config: Config, data: Dataset) -> tuple[Samples, Samples, str]:
    """The images to learn from, those to test, and what the latter are called: test, or validation where training images are held out."""
    train, held = data.train, data.validation  # the published training images are both, in this order
    known = Samples(np.concatenate([train.images, held.images]), np.concatenate([train.labels, held.labels]), train.maximum)
    if config.held_out >= len(known):
        raise UnsupervisedError(f"held_out = {config.held_out} leaves none of {len(known)} training images; hold fewer out")
    learn = known[: len(known) - config.held_out]
    learn = learn[: config.images or len(learn)]
    tested, part = (known[-config.held_out :], "validation") if config.held_out else (data.test, "test")
    return learn, tested[: config.test_images or len(tested)], part


def percent(hits: np.ndarray) -> float:
    return 100 * float(np.mean(hits))


def answer(
    module: Experiment, config: Config, seed: int, data: Dataset, folder: Path | None = None, *, quiet: bool = False, note: str = ""
) -> Result:
    """The Result of one seed, with the figures in `folder`."""
    name = module.__name__.rpartition(".")[2]
    learn, tested, part = parts(config, data)
    split = (
        f"{note}{len(learn)} training images, of which the last {min(config.label_images, len(learn) * config.passes)} seen name the neurons / "
        f"{len(tested)} {part} images"
    )
    with measured(split=split) as provenance:
        found, curves = measure(config, name, data, seed, folder, quiet=quiet)
        if config.brian2_images:
            from spiketwin.experiments.studies.learning_rules.unsupervised_check import check_against_brian2

            found |= check_against_brian2(config, min(config.neurons), learn, config.brian2_images, seed, quiet=quiet)
        if folder:
            from spiketwin.experiments.studies.learning_rules.unsupervised_figures import draw_confusion, draw_curves, save_figure

            save_figure(draw_curves(curves), folder / f"accuracy_seed_{seed}.png")
            for n in config.neurons:
                figure = draw_confusion(curves[f"confusion_{n}"], data.classes)
                save_figure(figure, folder / f"confusion_{n}_seed_{seed}.png")
    return single(module, config, seed, found, curves=curves, provenance=provenance)


def smoke(module: Experiment, config: Config, data: Dataset) -> Result:
    """Three hundred images, twenty neurons, with these settings else."""
    small = replace(config, neurons=(20,), passes=1, images=300, label_images=300, test_images=100)
    return answer(module, small, 0, data, quiet=True, note="smoke test: ")
