"""Parameters that differ from neuron to neuron: each draws a value per neuron, in the parameter's own unit.

    stack(…, parameters={"tau_mem": gamma(20)}, trainable_parameters=("tau_mem",))

Source: Perez-Nieves et al. 2021, Nature Communications 12:5791, methods: time constants from a gamma distribution of shape 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spiketwin.models.units import positive

# number of neurons, generator -> a value per neuron
Sampler = Callable[[int, np.random.Generator], np.ndarray]


def gamma(mean: float, shape: float = 3.0) -> Sampler:
    """Gamma distribution; the spread is mean/sqrt(shape). Raises ValueError unless both are positive."""
    positive(mean=mean, shape=shape)
    return lambda size, rng: rng.gamma(shape, mean / shape, size)


def lognormal(median: float, sigma: float = 0.5) -> Sampler:
    """exp of a normal variable of standard deviation sigma. Raises ValueError unless both are positive."""
    positive(median=median, sigma=sigma)
    return lambda size, rng: median * np.exp(sigma * rng.standard_normal(size))


def uniform(low: float, high: float) -> Sampler:
    """Raises ValueError unless low < high, both finite."""
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"low = {low} must lie below high = {high}, and both must be finite")
    return lambda size, rng: rng.uniform(low, high, size)


def of_both_signs(magnitude: Sampler, positive: float = 0.5) -> Sampler:
    """Values of `magnitude`, a share of `positive` of them as they are, by chance, and the others negated. Raises ValueError outside 0 … 1."""
    if not 0 <= positive <= 1:
        raise ValueError(f"positive = {positive} is a share of the values; give 0 … 1")
    return lambda size, rng: magnitude(size, rng) * np.where(rng.random(size) < positive, 1.0, -1.0)


def each(value: float) -> Sampler:
    """The same value, but a number of its own for each neuron, so that each can be trained. Raises ValueError unless it is finite."""
    if not np.isfinite(value):
        raise ValueError(f"value = {value} of each neuron must be finite")
    return lambda size, rng: np.full(size, float(value))
