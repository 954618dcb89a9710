"""STDP of a convolution: every neuron of a map has the same kernel, and the map's first spike teaches it.

An image is one spike per input at most; latency t_j is the step of it, `steps` where none comes. Neurons add up, without a leak:

    v_m(p, t) = sum_j k_mj [t_j <= t]        j: inputs in the patch at place p;  map m fires there once, when v >= threshold
    winners, one after the other: of all neurons that may still win, the one that fires first; of equal times, the highest v.
        It keeps all other neurons of its map from winning, and of the other maps those within `radius` of its place.
    a winner of map m teaches the kernel:    k_mj <- k_mj + a_plus  k_mj (1 - k_mj)    where t_j <= its own time
                                             k_mj <- k_mj - a_minus k_mj (1 - k_mj)    elsewhere

So a kernel stays within 0 … 1 and ends near both, where k(1 - k), averaged, is small (`unsettled`): strong where a spike usually precedes
the winner's, with probability above a_minus/(a_plus + a_minus), weak elsewhere. A synapse must know whether its input fired before the
winner did, and its own strength; a map must know who won.

No projection of an engine: what the winner learnt is at once the weight of all neurons of its map, which no synapse could know.

Source: Kheradpisheh, Ganjtabesh, Thorpe & Masquelier 2018, Neural Netw. 99:56, eq. 1-3, section 2.3 (STDP and competition) and 2.5 (a measure of
convergence). Lee, Panda, Srinivasan & Roy 2018, Front. Neurosci. 12:435, for such kernels as the start of supervised learning.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class ConvolutionalSTDP:
    """How a layer of maps fires and learns.

    threshold: of the membrane, in spikes through synapses of strength 1.  winners: maps that may learn from one image.
    radius: places around a winner, up, down and sideways, at which other maps cannot win.
    Raises ValueError for a number out of range.
    """

    threshold: float
    winners: int = 8
    radius: int = 2
    a_plus: float = 0.004
    a_minus: float = 0.003

    def __post_init__(self) -> None:
        if not 0 < self.threshold < inf:
            raise ValueError(f"threshold = {self.threshold} must be positive and finite")
        for name, least in (("winners", 1), ("radius", 0)):
            value = getattr(self, name)
            if not (value >= least and value == int(value)):
                raise ValueError(f"{name} = {value} must be a whole number, at least {least}")
        for name in ("a_plus", "a_minus"):
            # from 1 on a step could lead out of 0 … 1
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 0 and below 1")

    def learn(self, kernels: np.ndarray, latency: np.ndarray, steps: int) -> list[Winner]:
        """Show one image: `kernels` [M, C, K, K] change in place. Returns who won, first winner first.

        latency: [C, H, W], whole steps, `steps` for inputs that stay silent.
        Raises ValueError for shapes that do not fit, or kernels that are not within 0 … 1, which they would never return to.
        """
        _check(kernels, latency, steps)
        found = self.compete(*fire(kernels, latency, self.threshold, steps))
        seen = patches(latency, kernels.shape[-1])
        for w in found:
            kernel, early = kernels[w.map], seen[w.y, w.x] <= w.step
            kernel += np.where(early, self.a_plus, -self.a_minus) * kernel * (1 - kernel)
        return found

    def compete(self, step: np.ndarray, v: np.ndarray) -> list[Winner]:
        """Winners of neurons that fire at `step` [M, Y, X] with membranes v; those whose v is below threshold do not fire."""
        maps, height, width = step.shape
        may_win = v >= self.threshold
        order, found = np.lexsort((-v.ravel(), step.ravel())), []
        for k in order[may_win.ravel()[order]]:
            m, y, x = np.unravel_index(k, step.shape)
            if not may_win[m, y, x]:
                continue
            found.append(Winner(int(m), int(y), int(x), int(step[m, y, x])))
            may_win[m] = False
            may_win[:, max(0, y - self.radius) : y + self.radius + 1, max(0, x - self.radius) : x + self.radius + 1] = False
            if len(found) == min(self.winners, maps):
                break
        return found


def _check(kernels: np.ndarray, latency: np.ndarray, steps: int) -> None:
    size = kernels.shape[-1]
    if kernels.ndim != 4 or latency.ndim != 3 or kernels.shape[1:] != (len(latency), size, size) or min(latency.shape[1:]) < size:
        raise ValueError(
            f"kernels {kernels.shape} do not fit inputs {latency.shape}: they are [M, C, K, K] and [C, H, W], H and W at least K"
        )
    if steps < 1:
        raise ValueError(f"steps = {steps} must be at least 1")
    if not (kernels.min() >= 0 and kernels.max() <= 1):
        raise ValueError(f"kernels lie between {kernels.min():g} and {kernels.max():g}; they must start within 0 … 1 (first_kernels)")


class Winner(NamedTuple):
    """A neuron that won: its map and place, and the step at which it fired."""

    map: int
    y: int
    x: int
    step: int


def first_kernels(maps: int, channels: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Kernels [maps, channels, size, size] to start from: normal, mean 0.8 and spread 0.05, within 0 … 1 (Kheradpisheh et al. 2018)."""
    return np.clip(rng.normal(0.8, 0.05, (maps, channels, size, size)), 0.01, 0.99)


def latencies(intensities: np.ndarray, steps: int) -> np.ndarray:
    """Step of the spike of each input, of the shape of the intensities: the stronger the earlier; `steps`, never, where it is 0.

    Inputs above 0 are ranked and shared out evenly over the steps, equal ones to the same: only order counts. One image.
    Raises ValueError for negative intensities, or fewer steps than one.  Source: Kheradpisheh et al. 2018, section 2.2.
    """
    x = np.asarray(intensities, float)
    if not (steps >= 1 and steps == int(steps)):
        raise ValueError(f"steps = {steps} must be a whole number, at least 1")
    if not x.size:
        raise ValueError(f"there are no intensities: their shape is {x.shape}")
    if not x.min() >= 0:
        raise ValueError(f"intensities lie between {x.min():g} and {x.max():g}; they must not be negative")
    found = np.full(x.shape, steps)
    values, place, count = np.unique(-x[x > 0], return_inverse=True, return_counts=True)
    if len(values):
        before = np.cumsum(count) - count
        found[x > 0] = (before * steps // count.sum())[place]
    return found


def patches(latency: np.ndarray, size: int) -> np.ndarray:
    """What the neuron at each place sees of inputs [C, H, W]: [H - size + 1, W - size + 1, C, size, size]; a view."""
    return np.lib.stride_tricks.sliding_window_view(latency, (1, size, size))[:, :, :, 0].transpose(1, 2, 0, 3, 4)


def fire(kernels: np.ndarray, latency: np.ndarray, threshold: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(step, v): when each neuron fires, int [M, Y, X], `steps` where it does not; and its membrane then, or at the end.

    kernels: [M, C, K, K], none negative, so that a membrane never falls.  latency: [C, H, W], `steps` for inputs that stay silent.
    """
    seen = patches(latency, kernels.shape[-1])
    height, width = seen.shape[:2]
    flat = seen.reshape(height * width, -1)
    early = (flat[None] <= np.arange(steps)[:, None, None]).astype(np.float32)
    v = early @ kernels.reshape(len(kernels), -1).T.astype(np.float32)  # [steps, places, maps]
    step = (v < threshold).sum(axis=0)
    then = np.take_along_axis(v, np.minimum(step, steps - 1)[None], axis=0)[0]
    return tuple(a.T.reshape(len(kernels), height, width) for a in (step, then))


def first_of_maps(step: np.ndarray, v: np.ndarray, steps: int) -> np.ndarray:
    """Steps [M, Y, X] of those neurons alone that are the first at their place; of equal times the highest v, then the first map."""
    order = step - (v / (1 + v.max())) * (step < steps)  # v breaks ties: the quotient is below 1
    winner = order.argmin(axis=0)
    return np.where(np.arange(len(step))[:, None, None] == winner, step, steps)


def pooled(step: np.ndarray, size: int) -> np.ndarray:
    """The earliest step of each window [M, Y // size, X // size]; what is left over at the border is dropped.

    Raises ValueError where not one window fits.
    """
    if not 1 <= size <= min(step.shape[1:]):
        raise ValueError(f"size = {size} of windows must be at least 1 and at most the smaller side of maps {step.shape}")
    m, height, width = step.shape
    cut = step[:, : height // size * size, : width // size * size]
    return cut.reshape(m, height // size, size, width // size, size).min(axis=(2, 4))


def unsettled(kernels: np.ndarray) -> float:
    """Mean of k(1 - k): 0.25 where all is undecided, 0 where every synapse is 0 or 1. Published: below 0.01 learning may end."""
    return float(np.mean(kernels * (1 - kernels)))
