"""One training in several processes, as torchrun starts them; and in one, as without it.

    torchrun --nproc-per-node 2 -m spiketwin.experiments.cli run digits_ttfs

Every process holds the whole network and draws the same order of data. Each takes its share of a batch; the
gradients are averaged, weighted by the size of the shares, so that they are those of the whole batch: what
torch's DistributedDataParallel does, in one sum after the backward pass. The first process validates and writes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from spiketwin.experiments.progress import is_launched

T = TypeVar("T")


def device() -> torch.device:
    """The device of this process: its own GPU under torchrun, else the first one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if is_launched() else 0)


@dataclass(frozen=True)
class Team:
    """The processes that train together. rank: number of this one; size: how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, index: np.ndarray) -> np.ndarray:
        """This process's part of a batch."""
        return index[self.rank :: self.size]

    def told(self, value: T) -> T:
        """The value that the first process has."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def total(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Sums over the processes, by name."""
        if self.size == 1:
            return dict(sums)
        everyone: list[dict[str, float]] = [{} for _ in range(self.size)]
        distributed.all_gather_object(everyone, dict(sums))
        names = dict.fromkeys(name for one in everyone for name in one)
        return {name: sum(one.get(name, 0.0) for one in everyone) for name in names}

    def agree(self, module: nn.Module) -> None:
        """Give every process the weights and buffers of the first."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, src=0)

    def average(self, parameters: Sequence[Tensor], weight: float) -> None:
        """Replace gradients by their weighted mean over the processes. weight: this process's share of the batch."""
        if self.size == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = weight * torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat)
        for p, part in zip(parameters, flat.split([p.numel() for p in parameters])):
            p.grad = part.view_as(p)

    def numbers(self, own: np.random.Generator, seed: int, epoch: int) -> np.random.Generator:
        """The random numbers of the loss. Alone: those that also order the data.

        In a team each process draws its own, which then must not be those that order the data: the order is common.
        They start anew with each epoch, so that nothing of them needs to be kept.
        """
        if self.size == 1:
            return own
        sequence = np.random.SeedSequence([seed, epoch, self.rank])
        torch.manual_seed(int(sequence.generate_state(1)[0]))
        return np.random.default_rng(sequence)


def join() -> Team:
    """The team of this process; the first call under torchrun connects the processes."""
    if not distributed.is_available() or not (distributed.is_initialized() or is_launched()):
        return Team()
    if not distributed.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(device())
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        atexit.register(distributed.destroy_process_group)
    return Team(distributed.get_rank(), distributed.get_world_size())
