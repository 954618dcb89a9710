"""Checkpoints: one safetensors file (no pickle) with all that the next epoch depends on.

Tensors under weights/, best/ and optimiser/, states of random numbers; the rest as JSON in the file's metadata.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    """A training as it stands. best: weights of the epoch that was best on validation.  rng: what orders the data.

    samples: training samples.  settings: of the network and its loss, which a checkpoint keeps and compares.
    """

    module: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: Schedule
    seed: int
    rng: np.random.Generator
    best: Mapping[str, Tensor]
    samples: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the present weights and buffers."""
    return {name: value.detach().clone().contiguous() for name, value in module.state_dict().items()}


def settings(run: Run) -> dict[str, Any]:
    """All that decides where a training goes, as JSON gives it back. Of two values by one name that given to fit itself is the one in use."""
    # what an optimiser has and does not use is 0, False or None, and differs between versions of torch
    used = [f"{name}={value}" for name, value in run.optimiser.defaults.items() if name != "lr" and value not in (0, None)]
    own = {"optimiser": f"{type(run.optimiser).__name__}({', '.join(used)})", "samples": run.samples, "seed": run.seed}
    return json.loads(json.dumps({**run.settings, **run.schedule.settings(), **own}, default=str))


def is_checkpoint(path: Path) -> bool:
    """Whether a safetensors file is what a training resumes from, and not weights alone."""
    with path.open("rb") as file:
        start = file.read(8)
        return "training" in _metadata(start + file.read(int.from_bytes(start, "little")))


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
        "settings": settings(run),
        "rng": run.rng.bit_generator.state,
        "python_rng": [version, gauss],
        "history": run.history,
    }
    return save({name: value.clone() for name, value in tensors.items()}, metadata={"training": json.dumps(notes)})


def restore(run: Run, content: bytes, path: object) -> None:
    """Put everything back as it was after the last epoch kept. path: what to call the file in an error."""
    try:
        notes = json.loads(_metadata(content)["training"])
        tensors = load(content)
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path} is not a checkpoint ({error}); remove it to start anew") from None
    if "settings" not in notes:
        raise CheckpointError(f"{path} is of an older version, which did not keep its settings; remove it to start anew")
    if changed := _changed(notes["settings"], settings(run)):
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


def _metadata(content: bytes) -> dict[str, str]:
    """Of a safetensors file, of which the header is enough: its length in 8 bytes, then JSON."""
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + length]).get("__metadata__", {})


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What to say of each setting that is no longer what it was."""
    pairs = {name: (then.get(name, "not given"), now.get(name, "not given")) for name in {**now, **then}}
    return [f"{name} was {was}, is {value}" for name, (was, value) in pairs.items() if was != value]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}
