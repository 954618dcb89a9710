"""Checkpoints: one safetensors file (no pickle) with all that the next epoch depends on.

Tensors under weights/, best/ and optimiser/, states of random numbers; the rest as JSON in the file's metadata.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from spiketwin.experiments.training.schedule import Schedule

Row = dict[str, float]


class CheckpointError(ValueError):
    """A checkpoint cannot be continued. The message names the file, what is wrong and the fix."""


@dataclass(eq=False)
class Run:
    """A training as it stands. best: weights of the epoch that was best on validation.  rng: what orders the data."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: Schedule
    seed: int
    rng: np.random.Generator
    best: Mapping[str, Tensor]
    history: list[Row] = field(default_factory=list)


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the present weights and buffers."""
    return {name: value.detach().clone().contiguous() for name, value in module.state_dict().items()}


def to_bytes(run: Run) -> bytes:
    """The content of a checkpoint."""
    tensors = _under("weights", weights(run.module)) | _under("best", run.best)
    for index, state in run.optimiser.state_dict()["state"].items():
        kept = {name: torch.as_tensor(value).contiguous() for name, value in state.items() if value is not None}
        tensors |= _under(f"optimiser/{index}", kept)
    version, words, gauss = random.getstate()
    tensors |= {"torch_rng": torch.get_rng_state(), "python_rng": torch.tensor(words, dtype=torch.int64)}
    if torch.cuda.is_available():
        tensors["cuda_rng"] = torch.cuda.get_rng_state()
    notes = {
        "schedule": run.schedule.settings(),
        "seed": run.seed,
        "rng": run.rng.bit_generator.state,
        "python_rng": [version, gauss],
        "history": run.history,
    }
    return save({name: value.clone() for name, value in tensors.items()}, metadata={"training": json.dumps(notes)})


def restore(run: Run, content: bytes, path: object) -> None:
    """Put everything back as it was after the last epoch kept. path: what to call the file in an error."""
    try:
        # the header of a safetensors file: its length in 8 bytes, then JSON
        (length,) = struct.unpack_from("<Q", content)
        notes = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["training"])
        tensors = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path} is not a checkpoint ({error}); remove it to start anew") from None
    now, then = {**run.schedule.settings(), "seed": run.seed}, {**notes["schedule"], "seed": notes["seed"]}
    if changed := [f"{name} was {then.get(name)}, is {value}" for name, value in now.items() if then.get(name) != value]:
        raise CheckpointError(f"{path} is from other settings ({'; '.join(changed)}); give those, or remove it to start anew")

    def below(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    state: dict[int, dict[str, Tensor]] = {}
    for name, value in below("optimiser/").items():
        index, _, quantity = name.partition("/")
        state.setdefault(int(index), {})[quantity] = value
    try:
        run.module.load_state_dict(below("weights/"))
        run.optimiser.load_state_dict({"state": state, "param_groups": run.optimiser.state_dict()["param_groups"]})
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the network ({str(error).splitlines()[-1].strip()}); remove it to start anew") from None
    run.best, run.history = below("best/"), notes["history"]
    run.rng.bit_generator.state = notes["rng"]
    torch.set_rng_state(tensors["torch_rng"])
    version, gauss = notes["python_rng"]
    random.setstate((version, tuple(tensors["python_rng"].tolist()), gauss))
    if "cuda_rng" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda_rng"])


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}
