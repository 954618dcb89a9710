"""Training at several time steps at once: each batch at one of them, validation at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from spiketwin.experiments.training.fit import Loss


def drawing_dt(losses: Mapping[float, Loss]) -> Loss:
    """A loss for `fit` that draws for each batch one of the steps, all with the same probability.

    losses: dt in ms -> the loss at this step, e.g. of SeveralSteps.at(dt).  The draw comes from the random numbers of the training,
    so that a resumed one goes on alike. What is shown is the mean over the batches of an epoch, whatever their steps.
    Raises ValueError for no losses.
    """
    if not losses:
        raise ValueError("no losses given; give one for each time step")
    choices = list(losses.values())

    def loss(index: np.ndarray, rng: np.random.Generator):
        return choices[int(rng.integers(len(choices)))](index, rng)

    return loss


def mean_over_dt(validate: Callable[[float], float], dts_ms: tuple[float, ...]) -> Callable[[], float]:
    """A validation for `fit`: the mean of validate(dt_ms) over the steps."""
    return lambda: float(np.mean([validate(dt) for dt in dts_ms]))
