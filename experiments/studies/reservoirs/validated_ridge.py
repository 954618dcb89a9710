"""One read-out for all listeners: ridge regression onto the classes, its penalty chosen on validation.

Each class has a target of 1 for its samples and -1 for the others; the answer is the class whose prediction is largest. With more
features than samples the regression is solved in the samples, Z' (Z Z' + alpha)^-1 y, else in the features, (Z' Z + alpha)^-1 Z' y, with Z
the standardised features and y the centred targets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve

ALPHAS = (10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)


class Split(NamedTuple):
    """Which samples are for what, bool [samples] each."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Judged(NamedTuple):
    """Percent right on validation and on test, and the penalty that was best on validation."""

    validation: float
    test: float
    alpha: float


def judge(features: np.ndarray, labels: np.ndarray, split: Split) -> Judged:
    """Learn from the training samples with each penalty, take the best on validation, learn again from both parts, and test.

    features: [samples, width].  labels: int [samples].
    """
    right = accuracies(features, labels, split.train, split.validation, ALPHAS)
    best = int(np.argmax(right))
    (test,) = accuracies(features, labels, split.train | split.validation, split.test, ALPHAS[best : best + 1])
    return Judged(right[best], test, ALPHAS[best])


def accuracies(features: np.ndarray, labels: np.ndarray, known: np.ndarray, asked: np.ndarray, alphas: tuple[float, ...]) -> list[float]:
    """Percent of the samples `asked` that regressions on the samples `known` get right, for each penalty."""
    learnt = np.asarray(features[known], np.float32)
    mean, spread = learnt.mean(axis=0), learnt.std(axis=0)
    scale = np.where(spread > 0, spread, 1)
    z, other = (learnt - mean) / scale, (np.asarray(features[asked], np.float32) - mean) / scale
    targets = 2.0 * (labels[known][:, None] == np.arange(labels.max() + 1)) - 1
    usual = targets.mean(axis=0)
    y = targets - usual
    # either both sides are as many as the samples, or as many as the features
    wide = z.shape[1] > len(z)
    gram = (z @ z.T if wide else z.T @ z).astype(float)
    left, right = ((other @ z.T).astype(float), y) if wide else (other.astype(float), (z.T @ y.astype(np.float32)).astype(float))
    found = []
    for alpha in alphas:
        weights = solve(gram + alpha * np.eye(len(gram)), right, assume_a="pos")
        found.append(100 * float(np.mean((left @ weights + usual).argmax(axis=1) == labels[asked])))
    return found
