"""Training in minibatches.

After each epoch a checkpoint holds all that the next one depends on. A run that was stopped and resumed gives the same
weights, bit for bit, as one that was not (on a CPU; with the same number of threads and of processes).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spiketwin.experiments.progress import Silent
from spiketwin.experiments.protocol import write_bytes
from spiketwin.experiments.training.checkpoints import CheckpointError, Row, Run, restore, to_bytes, weights
from spiketwin.experiments.training.chunks import Shown, parts
from spiketwin.experiments.training.picture import save_history
from spiketwin.experiments.training.processes import Team, join
from spiketwin.experiments.training.schedule import Schedule

__all__ = ["CheckpointError", "Loss", "Row", "activity", "batches", "best_epoch", "fit"]

# (indices of the batch, random numbers) -> (loss, what to show about it), or an iterator of these, one for each chunk of time
Loss = Callable[[np.ndarray, np.random.Generator], tuple[Tensor, Shown] | Iterator[tuple[Tensor, Shown]]]


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
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    settings: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Train `module` in place; it ends with the weights of the epoch that was best on validation.

    loss: mean over the batch of the indices it is given.  validate: accuracy in percent of the present weights, called after
    each epoch.  samples: training samples.  optimiser: called with the parameters and lr.
    checkpoint: file to resume from if it exists, renewed after each epoch; beside it a picture of the history is drawn.
    settings: of the network, the loss and the data, which must be the same when it resumes; schedule, seed, samples and optimiser are
    compared anyway.
    Returns one row per epoch: epoch, loss, validation_accuracy, seconds, the means of what `loss` shows, and where gradients
    are clipped the mean gradient_norm before that.
    Raises CheckpointError when the checkpoint is damaged or from other settings, FloatingPointError when the loss or the validation
    accuracy is not finite, ValueError for no samples.
    """
    if samples < 1:
        raise ValueError(f"samples = {samples} must be positive; give training samples")
    team = join()
    show = show if show and team.is_first else Silent()
    trained = [p for p in module.parameters() if p.requires_grad]
    descent, rng = optimiser(trained, lr=schedule.learning_rate), np.random.default_rng(seed)
    run = Run(module, descent, schedule, seed, rng, weights(module), samples, settings or {})
    kept = team.told(checkpoint.read_bytes() if checkpoint and team.is_first and checkpoint.exists() else None)
    if kept is not None:
        restore(run, kept, checkpoint)
        show.say(f"resumed after epoch {len(run.history)} from {checkpoint}")
    team.agree(module)

    while not schedule.is_over([row["validation_accuracy"] for row in run.history]):
        start = time.perf_counter()
        row = _epoch(run, loss, samples, team, show)
        module.eval()
        accuracy = team.told(validate() if team.is_first else math.nan)
        if not math.isfinite(accuracy):
            raise FloatingPointError(
                f"the validation accuracy is {accuracy} in epoch {len(run.history) + 1}; give samples to validate on, "
                f"or lower learning_rate = {schedule.learning_rate:g}"
            )
        row |= {"validation_accuracy": accuracy, "seconds": round(time.perf_counter() - start, 2)}
        if accuracy > max((r["validation_accuracy"] for r in run.history), default=-math.inf):
            run.best = weights(module)
        run.history.append(row)
        if checkpoint and team.is_first:
            # all or nothing: a kill leaves the one before
            write_bytes(checkpoint, to_bytes(run))
        show.say(_caption(row))
    if len(run.history) < schedule.epochs:
        show.say(f"stopped early: no better validation accuracy in {schedule.patience} epochs")
    module.load_state_dict(run.best)
    if checkpoint and team.is_first and run.history:
        save_history(run.history, checkpoint.with_suffix(".png"))
    return run.history


def _epoch(run: Run, loss: Loss, samples: int, team: Team, show: Silent) -> Row:
    """One pass through the data; returns the means over it."""
    schedule, epoch, trained = run.schedule, len(run.history), run.optimiser.param_groups[0]["params"]
    per_epoch = math.ceil(samples / schedule.batch_size)
    draws = team.numbers(run.rng, run.seed, epoch)
    sums: Row = {}
    run.module.train()
    for k, index in enumerate(batches(samples, schedule.batch_size, run.rng)):
        for group in run.optimiser.param_groups:
            group["lr"] = schedule.rate(epoch * per_epoch + k, schedule.epochs * per_epoch)
        run.optimiser.zero_grad()
        mine = team.share(index)
        seen = _backward(loss, mine, draws, schedule, epoch) if len(mine) else {}
        team.average(trained, len(mine) / len(index))
        if schedule.clip_norm is not None:
            seen["gradient_norm"] = nn.utils.clip_grad_norm_(trained, schedule.clip_norm).item()
        run.optimiser.step()
        for name, value in seen.items():
            sums[name] = sums.get(name, 0.0) + value * (len(mine) / samples)
        share = min((k + 1) * schedule.batch_size, samples) / samples / team.size
        so_far = _caption({name: value / share for name, value in sums.items()})
        show.update(epoch + (k + 1) / per_epoch, f"epoch {epoch + 1} of {schedule.epochs}: {so_far}")
    team.agree(run.module)  # buffers such as running means are those of the first process, as in DistributedDataParallel
    return {"epoch": epoch + 1, **team.total(sums)}


def _backward(loss: Loss, index: np.ndarray, rng: np.random.Generator, schedule: Schedule, epoch: int) -> Row:
    """Add the gradients of a batch, chunk after chunk. Returns its loss and what the last chunk shows."""
    total, last = 0.0, None
    for value, shown in parts(loss(index, rng)):
        if not torch.isfinite(value):
            raise FloatingPointError(
                f"the loss is {value.item()} in epoch {epoch + 1}; lower learning_rate = {schedule.learning_rate:g}, or give clip_norm"
            )
        value.backward()
        total, last = total + value.item(), shown
    if last is None:
        raise ValueError("the loss gave nothing for a batch; return (loss, shown), or yield at least one")
    return {"loss": total, **last}


def _caption(row: Mapping[str, float]) -> str:
    return " · ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.items())


def activity(spikes: Tensor) -> dict[str, float]:
    """What to show about spikes [T, B, N]: mean spikes_per_neuron in a trial, silent_share of neurons that fire in no trial."""
    with torch.no_grad():
        counts = spikes.sum(0)
        return {"spikes_per_neuron": counts.mean().item(), "silent_share": (counts.sum(0) == 0).double().mean().item()}


def best_epoch(history: list[Row]) -> Row:
    """The row with the highest validation accuracy; the earliest of equals."""
    return max(history, key=lambda row: row["validation_accuracy"])


def batches(samples: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of all samples in random order, `size` at a time; the last batch may be smaller."""
    order = rng.permutation(samples)
    for start in range(0, samples, size):
        # sorted within the batch: the order inside is of no consequence, and memory is read forward
        yield np.sort(order[start : start + size])
