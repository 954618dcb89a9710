"""Training with Adam in minibatches: what happens in an epoch, what is shown, what is kept, how it resumes.

After each epoch a checkpoint holds all that the next one depends on: weights, Adam's moments, the state of
the random numbers that order the data, the best weights so far, the history. A run that was stopped and
resumed gives the same weights, bit for bit, as one that was not (on a CPU; with the same number of threads).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from spiketwin.experiments.progress import Silent
from spiketwin.experiments.protocol import write_bytes

# (indices of the batch, random numbers) -> (loss, what to show about it)
Loss = Callable[[np.ndarray, np.random.Generator], tuple[Tensor, Mapping[str, float]]]
Row = dict[str, float]


class CheckpointError(ValueError):
    """A checkpoint cannot be continued. The message names the file, what is wrong and the fix."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. The learning rate falls from its start to 0 along half a cosine, batch by batch, or stays."""

    epochs: int
    batch_size: int
    learning_rate: float
    decay: bool = True

    def rate(self, batch: int, batches: int) -> float:
        """Learning rate of the batch-th of `batches` of the whole run."""
        return self.learning_rate * (0.5 * (1 + math.cos(math.pi * batch / batches)) if self.decay else 1.0)


def fit(
    module: nn.Module,
    loss: Loss,
    validate: Callable[[], float],
    *,
    samples: int,
    schedule: Schedule,
    seed: int,
    checkpoint: Path | None = None,
    show: Silent | None = None,
) -> list[Row]:
    """Train `module` in place; it ends with the weights of the epoch that was best on validation.

    validate: accuracy in percent of the present weights, called after each epoch.  samples: training samples.
    checkpoint: file to resume from if it exists, renewed after each epoch.
    Returns one row per epoch: epoch, loss, validation_accuracy, seconds, and the means of what `loss` shows.
    Raises CheckpointError when the checkpoint is damaged or from other settings, FloatingPointError when the
    loss is not finite.
    """
    show = show or Silent()
    optimiser = torch.optim.Adam(module.parameters(), lr=schedule.learning_rate)
    rng = np.random.default_rng(seed)
    history: list[Row] = []
    best = _weights(module)
    if checkpoint and checkpoint.exists():
        history, best = resume(checkpoint, module, optimiser, rng, schedule, seed)
        show.say(f"resumed after epoch {len(history)} from {checkpoint}")
    per_epoch = math.ceil(samples / schedule.batch_size)

    for epoch in range(len(history), schedule.epochs):
        start, seen = time.perf_counter(), []
        module.train()
        for k, index in enumerate(batches(samples, schedule.batch_size, rng)):
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate(epoch * per_epoch + k, schedule.epochs * per_epoch)
            value, shown = loss(index, rng)
            if not torch.isfinite(value):
                raise FloatingPointError(
                    f"the loss is {value.item()} in epoch {epoch + 1}; lower learning_rate = {schedule.learning_rate:g}"
                )
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            seen.append({"loss": value.item(), **shown, "share": len(index) / samples})
            show.update(epoch + (k + 1) / per_epoch, f"epoch {epoch + 1} of {schedule.epochs}, loss {seen[-1]['loss']:.3f}")
        module.eval()
        row: Row = {"epoch": epoch + 1}
        row |= {name: sum(s[name] * s["share"] for s in seen) for name in seen[0] if name != "share"}
        row |= {"validation_accuracy": validate(), "seconds": round(time.perf_counter() - start, 2)}
        if row["validation_accuracy"] > max((r["validation_accuracy"] for r in history), default=-math.inf):
            best = _weights(module)
        history.append(row)
        if checkpoint:
            keep(checkpoint, module, optimiser, rng, schedule, seed, history, best)
        show.say(" · ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.items()))
    module.load_state_dict(best)
    return history


def best_epoch(history: list[Row]) -> Row:
    """The row with the highest validation accuracy; the earliest of equals."""
    return max(history, key=lambda row: row["validation_accuracy"])


def batches(samples: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of all samples in random order, `size` at a time; the last batch may be smaller."""
    order = rng.permutation(samples)
    for start in range(0, samples, size):
        # sorted within the batch: the order inside is of no consequence, and memory is read forward
        yield np.sort(order[start : start + size])


# -- checkpoints: one safetensors file, tensors under weights/, best/ and adam/, the rest as JSON ---------------


def keep(
    path: Path, module, optimiser, rng: np.random.Generator, schedule: Schedule, seed: int, history: list[Row], best: Mapping[str, Tensor]
) -> None:
    """Write a checkpoint, all or nothing: a kill leaves the one before."""
    tensors = {f"weights/{name}": value for name, value in _weights(module).items()} | {
        f"best/{name}": value for name, value in best.items()
    }
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"adam/{index}/{name}": torch.as_tensor(value).contiguous() for name, value in moments.items()}
    tensors["torch_rng"] = torch.get_rng_state()
    notes = {"schedule": asdict(schedule), "seed": seed, "rng": rng.bit_generator.state, "history": history}
    write_bytes(path, save({name: value.clone() for name, value in tensors.items()}, metadata={"training": json.dumps(notes)}))


def resume(path: Path, module, optimiser, rng: np.random.Generator, schedule: Schedule, seed: int) -> tuple[list[Row], dict[str, Tensor]]:
    """Put everything back as it was after the last epoch kept. Returns the history and the best weights so far."""
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads(file.metadata()["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # not a dict
    except (SafetensorError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{path} is not a checkpoint ({error}); remove it to start anew") from None
    now = {**asdict(schedule), "seed": seed}
    then = {**notes["schedule"], "seed": notes["seed"]}
    if changed := [f"{name} was {then.get(name)}, is {value}" for name, value in now.items() if then.get(name) != value]:
        raise CheckpointError(f"{path} is from other settings ({'; '.join(changed)}); give those, or remove it to start anew")

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    try:
        module.load_state_dict(part("weights/"))
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the network ({str(error).splitlines()[-1].strip()}); remove it to start anew") from None
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in part("adam/").items():
        index, _, moment = name.partition("/")
        state.setdefault(int(index), {})[moment] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    rng.bit_generator.state = notes["rng"]
    torch.set_rng_state(tensors["torch_rng"])
    return notes["history"], part("best/")


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in module.state_dict().items()}
