"""Losses made of losses: in chunks of time, in lower precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Shown = Mapping[str, float]
# (state or None at the start, steps of the chunk, indices of the batch, random numbers) -> (loss, state after it, what to show)
Chunk = Callable[[Any, slice, np.ndarray, np.random.Generator], tuple[Tensor, Any, Shown]]


def truncated(chunk: Chunk, *, steps: int, chunk_steps: int) -> Callable[[np.ndarray, np.random.Generator], Iterator[tuple[Tensor, Shown]]]:
    """A loss for `fit`: backpropagation through time that reaches back to the start of the present chunk only.

    The state goes on from chunk to chunk but passes no gradient, so memory is that of one chunk. The gradients of the
    chunks add up to one update per batch; let the chunks' losses add up to the loss of the whole sequence.
    What the last chunk shows is shown.  A TorchNetwork or Stack starts from a state and leaves one:

        def chunk(state, steps, index, rng):
            run = net(x[steps][:, index], start=state)
            return loss_of(run, steps), run.state, {}

    One chunk of all steps is backpropagation through time.
    Source: Williams & Peng 1990, BPTT(h; h') with h = h' = chunk_steps.
    """
    if steps < 1 or chunk_steps < 1:
        raise ValueError(f"steps = {steps} and chunk_steps = {chunk_steps} must be at least 1")

    def loss(index: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[Tensor, Shown]]:
        state = None
        for start in range(0, steps, chunk_steps):
            value, state, shown = chunk(state, slice(start, min(start + chunk_steps, steps)), index, rng)
            state = detached(state)
            yield value, shown

    return loss


def detached(state: Any) -> Any:
    """The same state cut from what it was computed from: tensors in tuples, lists, dicts, named tuples and dataclasses."""
    if torch.is_tensor(state):
        return state.detach()
    if isinstance(state, Mapping):
        return {name: detached(value) for name, value in state.items()}
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*map(detached, state))
    if isinstance(state, list | tuple):
        return type(state)(map(detached, state))
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        return dataclasses.replace(state, **{f.name: detached(getattr(state, f.name)) for f in dataclasses.fields(state) if f.init})
    return state


def mixed_precision(loss: Callable, *, device: str = "cpu", dtype: torch.dtype = torch.bfloat16) -> Callable:
    """The same loss with its matrix products and convolutions in bfloat16; weights, sums and updates stay in float32.

    device: 'cpu' or 'cuda'.  bfloat16 has the range of float32, so gradients need no scaling.
    A spike train may differ from that of float32 where a membrane passes close to its threshold.
    """

    def computed(index: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[Tensor, Shown]]:
        with torch.autocast(device, dtype):
            left = iter(parts(loss(index, rng)))
        while True:
            # each part on its own: backward, which the trainer calls between them, has no place inside
            with torch.autocast(device, dtype):
                part = next(left, None)
            if part is None:
                return
            yield part

    return computed


def parts(result) -> Iterator[tuple[Tensor, Shown]]:
    """What a loss gave, as an iterator: one (value, shown), or those of its chunks."""
    return iter((result,) if isinstance(result, tuple) else result)
