"""Randman: every class is a smooth random manifold of spike times. Generated, so it can be as hard as one likes.

    f_n(x) = Π_d Σ_k k^-alpha  a sin(2π (k b x_d + c)),    a, b, c ~ U(0, 1) for each unit n, axis d and frequency k

A sample is a point x ~ U(0, 1)^dim of its class; unit n fires once, at f_n(x), scaled so that its times within a class
fill 0 … duration. No unit's rate or mean time tells the class: only the relations between times do. A larger alpha is
smoother, a larger dim harder.

Source: Zenke & Vogels 2021, The Remarkable Robustness of Surrogate Gradient Learning for Instilling Complex Function in
Spiking Neural Networks, Neural Computation 33, 899-925, section 'smooth random manifolds'
"""

from __future__ import annotations

import numpy as np

from spiketwin.experiments.data.dataset import Dataset
from spiketwin.experiments.data.events import EventSamples, HeldEvents

# Frequencies whose weight k^-alpha is smaller are left out, and never more are kept.
PRECISION = 1e-3
FREQUENCIES = 1000
SIZE = "10,000 spike patterns of 20 units, 50 ms, 10 classes; generated, any size can be had"
SPLIT = "of each class 8 tenths train, 1 tenth validation, 1 tenth test: independent draws from the same manifold"


def load(
    nb_classes: int = 10,
    nb_units: int = 20,
    dim: int = 1,
    alpha: float = 3.0,
    *,
    samples_per_class: int = 1000,
    duration_ms: float = 50.0,
    seed: int = 0,
) -> Dataset[EventSamples]:
    """A data set of nb_classes manifolds of dimension dim in nb_units spike times, the same for the same seed.

    The times of a unit are 0 … duration_ms, ends included; a batch that is a few steps longer keeps them all and leaves
    the network time to answer.  Raises ValueError for settings that are not positive.
    """
    settings = {"nb_classes": nb_classes, "nb_units": nb_units, "dim": dim, "alpha": alpha, "duration_ms": duration_ms}
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} = {value} must be positive")
    if samples_per_class < 10 or samples_per_class % 10:
        raise ValueError(f"samples_per_class = {samples_per_class} must be a multiple of 10: it is split 8 : 1 : 1")
    rng = np.random.default_rng(seed)
    times = [manifold(rng, samples_per_class, nb_units, dim, alpha) * duration_ms for _ in range(nb_classes)]
    events = HeldEvents(
        np.concatenate(times).ravel(),
        np.tile(np.arange(nb_units), nb_classes * samples_per_class),
        np.arange(nb_classes * samples_per_class + 1) * nb_units,
    )
    numbers = np.arange(nb_classes * samples_per_class)
    everything = EventSamples(events, numbers, numbers // samples_per_class, nb_units)
    tenth = numbers % samples_per_class * 10 // samples_per_class
    return Dataset(
        name="randman",
        train=everything[tenth < 8],
        validation=everything[tenth == 8],
        test=everything[tenth == 9],
        shape=(nb_units,),
        classes=tuple(str(c) for c in range(nb_classes)),
        split=SPLIT,
        source=f"generated after Zenke & Vogels 2021: dim {dim}, alpha {alpha:g}, seed {seed}",
    )


def manifold(rng: np.random.Generator, samples: int, units: int, dim: int, alpha: float) -> np.ndarray:
    """Points of a new random manifold [samples, units], each unit scaled to fill 0 … 1."""
    # rounded first: 1e-3 ** (-1/3) is 10 on one machine and 10.000000000000002 on another
    k = np.arange(1, 1 + min(int(np.ceil(round(PRECISION ** (-1 / alpha), 9))), FREQUENCIES))
    x = rng.random((samples, dim))
    out = np.empty((samples, units))
    for n in range(units):
        a, b, c = rng.random((3, dim, len(k)))
        out[:, n] = (a * k**-alpha * np.sin(2 * np.pi * (k * b * x[:, :, None] + c))).sum(axis=-1).prod(axis=-1)
    low, high = out.min(axis=0), out.max(axis=0)
    return (out - low) / (high - low)
