"""Classes in phases: what is shown when, and what a table of accuracies by phase and class says.

accuracy [P, K]: percent of the test images of each class that are told, after each phase; NaN for classes that have not been shown yet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Phases = Sequence[Sequence[int]]


def shown(labels: np.ndarray, phases: Phases, images_per_phase: int, seed: int, *, interleaved: bool = False) -> np.ndarray:
    """Which image is shown when, [phases * images_per_phase]: images of each phase's classes, drawn without repetition.

    interleaved: the same images in one random order. Raises ValueError when a phase has fewer images than asked for.
    """
    rng = np.random.default_rng([seed, 9])
    parts = []
    for classes in phases:
        there = rng.permutation(np.flatnonzero(np.isin(labels, classes)))
        if len(there) < images_per_phase:
            raise ValueError(
                f"images_per_phase = {images_per_phase}, but classes {tuple(classes)} have {len(there)} images; ask for at most so many"
            )
        parts.append(there[:images_per_phase])
    order = np.concatenate(parts)
    return rng.permutation(order) if interleaved else order


def class_accuracies(answers: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Percent of the images of each class [K] whose answer is right; NaN for a class without an image."""
    count = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[answers == labels], minlength=classes)
    return np.where(count > 0, 100 * right / np.maximum(count, 1), np.nan)


def forgetting(accuracy: np.ndarray) -> float:
    """Mean over all classes but those of the last phase: the best accuracy after an earlier phase, less that after the last.

    Source: Chaudhry et al. 2018, Riemannian walk for incremental learning, ECCV, eq. 3, of classes where they have tasks.
    """
    old = ~np.isnan(accuracy[:-1]).all(axis=0)
    return float(np.mean(np.nanmax(accuracy[:-1][:, old], axis=0) - accuracy[-1, old]))


def when_new(accuracy: np.ndarray) -> float:
    """Mean over classes of the accuracy after the phase that showed them."""
    first = (~np.isnan(accuracy)).argmax(axis=0)
    return float(np.mean(accuracy[first, np.arange(accuracy.shape[1])]))


def at_the_end(accuracy: np.ndarray) -> float:
    """Mean over classes of the accuracy after the last phase."""
    return float(np.mean(accuracy[-1]))
