"""A current-based spiking network learns to read images from the times of first spikes.

    image -> one spike per bright pixel, the brighter the earlier -> hidden spiking neurons
          (recurrent or not) -> leaky read-outs; the class whose membrane rises highest wins

    tau_mem dv/dt     = -v + r i_syn,    v <- v - 1 when v > 1 mV
    tau_syn di_syn/dt = -i_syn,          i_syn <- i_syn + w

The resistance is chosen so that one exact step of dt is the recurrent network that others train,
I(t+1) = alpha I(t) + W S(t), U(t+1) = beta U(t) + I(t) - S(t): a weight of 1 nA means there what 1 means
here, learning rates carry over, and yet the equations hold at every other dt.

Source: eq. 5-17 of the thesis this project grew from; Neftci, Mostafa & Zenke 2019; Zenke, SpyTorch tutorial 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from spiketwin.experiments.data import Samples
from spiketwin.experiments.protocol import write_bytes
from spiketwin.models.encoders import time_to_first_spike
from spiketwin.models.mapping import PhysicalLIF, to_recurrent
from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import leaky_readout, rnn_lif
from spiketwin.models.spikes import Spikes

INPUT, HIDDEN, OUTPUT = "input", "hidden", "output"


@dataclass(frozen=True)
class TTFSConfig:
    """Settings of a time-to-first-spike classifier."""

    hidden: int = 100
    """Hidden neurons."""
    recurrent: bool = False
    """Whether hidden neurons also feed each other."""
    dt_ms: float = 1.0
    """Time step in ms that the network is trained at."""
    tmax_ms: float = 100.0
    """Length of a trial in ms; later first spikes are dropped."""
    tau_code_ms: float = 20.0
    """Time constant of the time-to-first-spike code in ms."""
    code_threshold: float = 0.2
    """Pixels must be brighter than this (0 to 1) to spike."""
    tau_mem_ms: float = 10.0
    """Membrane time constant in ms."""
    tau_syn_ms: float = 5.0
    """Synaptic time constant in ms."""
    scheme: str = "exact"
    """Integration scheme the training step is derived with (spiketwin list)."""
    weight_scale: float = 0.2
    """Initial weights are normal with this standard deviation over the square root of the inputs of a neuron."""
    surrogate_scale: float = 100.0
    """Steepness of the surrogate gradient 1/(scale |v - threshold| + 1)^2."""
    regulariser: float = 0.0
    """Price of one hidden spike in the loss."""
    input_dropout: float = 0.0
    """Share of input spikes left out at random while training."""
    flip_probability: float = 0.0
    """Probability with which a training image is shown as its mirror image, left to right."""
    epochs: int = 30
    """Passes through the training data."""
    batch_size: int = 256
    """Trials per weight update."""
    learning_rate: float = 2e-3
    """Adam's learning rate at the start, per nA."""
    decay: bool = True
    """Whether the learning rate falls to 0 along half a cosine."""

    def __post_init__(self) -> None:
        for name in ("flip_probability", "input_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)} is a share; give 0 … 1")

    @property
    def resistance_mohm(self) -> float:
        """The resistance at which a step adds 1 mV to the membrane per nA of synaptic current."""
        return 1 / float(to_recurrent(PhysicalLIF(self.tau_mem_ms, self.tau_syn_ms), self.dt_ms).gain)


@dataclass(frozen=True, eq=False)
class FirstSpikes:
    """Images as spikes, quick to assemble into batches.

    An image has few grey values, so the code is computed once per value: a batch is a look-up and a sort.
    """

    samples: Samples
    config: TTFSConfig
    shape: tuple[int, ...] = ()
    """Rows and columns of the images, where any are to be mirrored."""

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def code(self) -> Spikes:
        """The spike of every grey value, as neurons of one trial."""
        c = self.config
        grey = np.arange(self.samples.maximum + 1)[None] / self.samples.maximum
        return time_to_first_spike(grey, tau_ms=c.tau_code_ms, threshold=c.code_threshold, tmax_ms=c.tmax_ms, dt_ms=c.dt_ms)

    def batch(self, index: np.ndarray | slice, keep: np.ndarray | None = None, mirrored: np.ndarray | None = None) -> Spikes:
        """Spikes [T, B, N] of the images `index`; those of pixels where `keep` [B, N] is False are left out.

        mirrored: bool [B], which images are shown left to right.
        """
        step_of, time_of = self._by_grey
        images, T = self.samples.images[index], self.code.shape[0]
        if mirrored is not None:
            images = images.copy()
            images[mirrored] = images[mirrored].reshape(-1, *self.shape)[:, :, ::-1].reshape(-1, images.shape[1])
        step = step_of[images].ravel()
        fires = step < T if keep is None else (step < T) & keep.ravel()
        where = np.flatnonzero(fires).astype(np.int32)
        # short keys are sorted in linear time, and a stable sort leaves trials and neurons in order
        where = where[np.argsort(step[where], kind="stable")]
        batch, neuron = np.divmod(where, np.int32(images.shape[1]))
        return Spikes(step[where], batch, neuron, (T, *images.shape), self.config.dt_ms, time_of[images.ravel()[where]])

    @cached_property
    def _by_grey(self) -> tuple[np.ndarray, np.ndarray]:
        """Step and exact time in ms of the spike of every grey value; step T where there is none."""
        code, T = self.code, self.code.shape[0]
        step = np.full(self.samples.maximum + 1, T, dtype=np.uint8 if T < 256 else np.uint16)
        time_ms = np.full(len(step), np.inf)
        step[code.neuron], time_ms[code.neuron] = code.step, code.times_ms()
        return step, time_ms


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network with the test images as spikes, and what torch made of them.

    network: weights in nA.  inputs: {'input': Spikes [T, B, N]} for any engine.  labels, predictions: int [B];
    the predictions are those of the float64 network, so that no tie is decided by rounding.
    """

    experiment: str
    config: TTFSConfig
    seed: int
    network: Network
    inputs: Mapping[str, Spikes]
    labels: np.ndarray
    predictions: np.ndarray
    split: str
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def dt_ms(self) -> float:
        return self.config.dt_ms

    @property
    def scheme(self) -> str:
        return self.config.scheme

    @property
    def accuracy(self) -> float:
        """Test accuracy in percent."""
        return percent(self.predictions == self.labels)


# -- the network -----------------------------------------------------------------------------------------------


def network(config: TTFSConfig, inputs: int, outputs: int, seed: int) -> Network:
    """The network with initial weights drawn from `seed`."""
    rng = np.random.default_rng([seed, 0])

    def normal(post: int, pre: int) -> np.ndarray:
        return rng.normal(0, config.weight_scale / np.sqrt(pre), (post, pre))

    parameters = {"tau_mem": config.tau_mem_ms, "tau_syn": config.tau_syn_ms, "r": config.resistance_mohm}
    links = [(INPUT, HIDDEN, normal(config.hidden, inputs)), (HIDDEN, OUTPUT, normal(outputs, config.hidden))]
    if config.recurrent:
        links.append((HIDDEN, HIDDEN, normal(config.hidden, config.hidden)))
    return Network(
        sources=(SpikeSource(INPUT, inputs),),
        populations=(Population(HIDDEN, rnn_lif, config.hidden, parameters), Population(OUTPUT, leaky_readout, outputs, parameters)),
        projections=tuple(Projection(source, target, w, "i_syn", "nA", name=f"{source}_to_{target}") for source, target, w in links),
    )


def decide(v: np.ndarray) -> np.ndarray:
    """The class [B] whose read-out membrane v [T, B, K] rises highest; the first of equals."""
    return v.max(axis=0).argmax(axis=-1)


def percent(hits) -> float:
    return 100 * float(np.mean(hits))


# -- what is left of a training -------------------------------------------------------------------------------


def metrics(trained: Trained) -> dict[str, float]:
    """What the result files of both experiments hold, for one seed."""
    best = max(trained.history, key=lambda row: row["validation_accuracy"])
    return {
        "test_accuracy": trained.accuracy,
        "validation_accuracy": best["validation_accuracy"],
        "training_accuracy": best["training_accuracy"],
        "spikes_per_neuron": best["spikes_per_neuron"],
        "silent_share": 100 * best["silent_share"],
        "best_epoch": best["epoch"],
        "seconds_per_epoch": float(np.median([row["seconds"] for row in trained.history])),
        "training_minutes": sum(row["seconds"] for row in trained.history) / 60,
    }


def curves(trained: Trained) -> dict[str, list[float]]:
    """Loss, accuracies and activity per epoch."""
    return {name: [row[name] for row in trained.history] for name in trained.history[0] if name != "epoch"}


def checkpoint(folder: Path | None, seed: int, size: str = "") -> Path | None:
    """What a stopped training resumes from. size: tells networks of one experiment apart."""
    return folder / f"checkpoint{size}_{seed}.safetensors" if folder else None


def weights(folder: Path, seed: int, size: str = "") -> Path:
    """The trained weights of a seed."""
    return folder / f"weights{size}_{seed}.safetensors"


def save_weights(path: Path, trained: Trained) -> Path:
    """The weights, single precision in nA, with the settings that explain them: a safetensors file."""
    from safetensors.numpy import save

    tensors = {p.name: p.values().astype(np.float32) for p in trained.network.projections}
    notes = {
        "experiment": trained.experiment,
        "seed": str(trained.seed),
        "config": json.dumps(asdict(trained.config)),
        "history": json.dumps(trained.history),
    }
    return write_bytes(path, save(tensors, metadata=notes))
