"""The tasks, their splits, and the read-out that all reservoirs share: ridge regression whose penalty a validation stretch chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spiketwin.experiments.reservoirs import signals

LAGS = 40  # of the memory capacity
XOR_DELAYS = 10
PENALTIES = 10.0 ** np.arange(-11, 2)


class Split(NamedTuple):
    """Inputs until which nothing is fitted, a read-out learns, is chosen, is tested."""

    washout: int
    train: int
    validation: int
    test: int

    @classmethod
    def of(cls, train: int, validation: int, test: int, washout: int = 100) -> Split:
        return cls(washout, washout + train, washout + train + validation, washout + train + validation + test)


@dataclass(frozen=True)
class Task:
    """wanted: [T, K] of the input [T].  score: of what was found [T, K] and what was wanted.  error: of a score, smaller is better.
    curve: the score of each column, which are delays.
    """

    name: str
    wanted: Callable[[np.ndarray], np.ndarray]
    score: Callable[[np.ndarray, np.ndarray], float]
    error: Callable[[float], float]
    curve: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


def accuracies(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """In percent, of each column [K]; wanted is -1 or 1."""
    return 100 * np.mean((found > 0) == (wanted > 0), axis=0)


# u uniform in -1 … 1, or random bits as -1 and 1
UNIFORM = (
    Task("narma10_nrmse", lambda u: signals.narma10((u + 1) / 4)[:, None], signals.nrmse, lambda s: s),
    Task(
        "memory_capacity",
        lambda u: np.stack([signals.delayed(u, k) for k in range(1, LAGS + 1)], axis=1),
        lambda found, wanted: float(signals.determination(found, wanted).sum()),
        lambda s: -s,
        signals.determination,
    ),
)
BITS = (
    Task(
        "delayed_xor_accuracy",
        lambda u: 2.0 * signals.delayed_xor(u > 0, XOR_DELAYS) - 1,
        lambda found, wanted: float(accuracies(found, wanted).mean()),
        lambda s: -s,
        accuracies,
    ),
)


def uniform_input(length: int, rng: np.random.Generator) -> np.ndarray:
    """u [length] uniform in -1 … 1, drawn again where NARMA-10 would grow without bound."""
    while True:
        u = rng.uniform(-1, 1, length)
        try:
            signals.narma10((u + 1) / 4)
        except ValueError:
            continue
        return u


def bits(length: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice([-1.0, 1.0], length)


class Ridge:
    """Linear read-outs of rows x [T, width] for any target and all PENALTIES: the eigenvectors of the correlations are found once.

    The penalty is on the weights of columns of mean 0, times T and the mean variance of the columns.
    """

    def __init__(self, x: np.ndarray) -> None:
        self.mean = x.mean(axis=0)
        self.centred = x - self.mean
        values, self.vectors = np.linalg.eigh(self.centred.T @ self.centred)
        self.values, self.unit = np.maximum(values, 0)[:, None], max(float(np.mean(values)), 1e-12)

    def learn(self, wanted: np.ndarray) -> Readouts:
        """Of a target [T, K]."""
        mean = wanted.mean(axis=0)
        return Readouts(self, self.vectors.T @ (self.centred.T @ (wanted - mean)), mean)


class Readouts(NamedTuple):
    """One for each penalty."""

    ridge: Ridge
    projected: np.ndarray
    mean: np.ndarray

    def weights(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """[width, K] and the constants [K]."""
        weights = self.ridge.vectors @ (self.projected / (self.ridge.values + penalty * self.ridge.unit))
        return weights, self.mean - self.ridge.mean @ weights

    def found(self, x: np.ndarray, penalty: float) -> np.ndarray:
        weights, constant = self.weights(penalty)
        return x @ weights + constant


class Choice(NamedTuple):
    """What validation made of a setting: its best error there, and with which penalty."""

    error: float
    penalty: float


def chosen(of_kind: Sequence[Task], x: np.ndarray, wanted: Mapping[str, np.ndarray], split: Split) -> dict[str, Choice]:
    """Of each task: the best penalty for rows x [T, width], by the error on the validation stretch."""
    learnt, held = slice(split.washout, split.train), slice(split.train, split.validation)
    ridge, choices = Ridge(x[learnt]), {}
    for task in of_kind:
        readouts, right = ridge.learn(wanted[task.name][learnt]), wanted[task.name][held]
        choices[task.name] = min(Choice(task.error(task.score(readouts.found(x[held], p), right)), float(p)) for p in PENALTIES)
    return choices


def tested(x: np.ndarray, wanted: np.ndarray, split: Split, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """What is found and what is wanted on the test stretch, by a read-out that has learnt from all before it."""
    learnt, held = slice(split.washout, split.validation), slice(split.validation, split.test)
    return Ridge(x[learnt]).learn(wanted[learnt]).found(x[held], penalty), wanted[held]
