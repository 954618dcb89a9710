"""The p-delta rule: parallel perceptrons that vote, each taught by the error of all.

    a class c has n perceptrons; its vote is the number of those with α · x >= 0, minus the others, squashed to -1 … 1 by rho
    too high a vote:   α <- α - eta x      where α · x >= 0
    too low:           α <- α + eta x      where α · x < 0
    right:             α <- α + eta mu x   where 0 <= α · x < gamma,   α <- α - eta mu x   where -gamma < α · x < 0
    then               |α| is drawn towards 1:  α <- α - eta (|α|² - 1) α

One layer of such gates approximates any function, though none is told what the others do. x has a constant 1 appended and length 1.

Source: Auer, Burgsteiner & Maass 2008, Neural Networks 21:786, section 3 (the read-out of Maass, Natschläger & Markram 2002).
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from spiketwin.models.encoders.shared import positive, whole


class PDelta(ClassifierMixin, BaseEstimator):
    """Classes by parallel perceptrons, one group against the rest for each class; the largest vote wins.

    perceptrons: n of each class.  epochs: passes over the samples.  learning_rate: eta at the start; it falls with the root of the epoch.
    margin: gamma, how clear the perceptrons' sums should be.  clarity: mu, how much unclear ones are moved.
    tolerance: epsilon, how far a vote may be off.  random_state: of the first weights and the order of samples.
    """

    def __init__(
        self,
        perceptrons: int = 15,
        epochs: int = 50,
        learning_rate: float = 0.05,
        margin: float = 0.05,
        clarity: float = 1.0,
        tolerance: float = 0.1,
        random_state: int = 0,
    ) -> None:
        self.perceptrons, self.epochs, self.learning_rate = perceptrons, epochs, learning_rate
        self.margin, self.clarity, self.tolerance, self.random_state = margin, clarity, tolerance, random_state

    def fit(self, X, y) -> PDelta:
        """X [samples, features], y [samples]."""
        whole(1, perceptrons=self.perceptrons, epochs=self.epochs)
        positive(learning_rate=self.learning_rate)
        for name in ("margin", "clarity", "tolerance"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} = {getattr(self, name)} must not be negative")
        X, y = validate_data(self, X, y, dtype=float)
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"all samples are of one class, {self.classes_[0]!r}; a classifier needs two")
        self.center_, self.scale_ = X.mean(axis=0), np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
        inputs = self._inputs(X)
        rng = np.random.default_rng(self.random_state)
        weights = rng.standard_normal((len(self.classes_), self.perceptrons, inputs.shape[1]))
        self.weights_ = weights / np.linalg.norm(weights, axis=2, keepdims=True)
        target = np.where(np.arange(len(self.classes_)) == index[:, None], 1.0, -1.0)
        for epoch in range(self.epochs):
            eta = self.learning_rate / np.sqrt(epoch + 1)
            for k in rng.permutation(len(inputs)):
                self._learn(inputs[k], target[k], eta)
        return self

    def _learn(self, x: np.ndarray, target: np.ndarray, eta: float) -> None:
        sums = self.weights_ @ x  # [classes, n]
        vote = self._squash(np.where(sums >= 0, 1, -1).sum(axis=1))
        high, low = ((sign * (vote - target) > self.tolerance)[:, None] for sign in (1, -1))
        change = np.where(high & (sums >= 0), -1.0, 0.0) + np.where(low & (sums < 0), 1.0, 0.0)
        unclear = ~(high | low) & (np.abs(sums) < self.margin)
        change += np.where(unclear, np.where(sums >= 0, self.clarity, -self.clarity), 0.0)
        self.weights_ += eta * change[:, :, None] * x
        self.weights_ -= eta * ((self.weights_**2).sum(axis=2, keepdims=True) - 1) * self.weights_

    def _squash(self, count: np.ndarray) -> np.ndarray:
        """Votes within -1 … 1: all of a small majority counts, rho = n/4 of them is sure."""
        return np.clip(count / max(self.perceptrons / 4, 1), -1, 1)

    def decision_function(self, X) -> np.ndarray:
        """Votes [samples, classes], with two classes those for the second [samples]."""
        check_is_fitted(self)
        inputs = self._inputs(validate_data(self, X, dtype=float, reset=False))
        # ties of votes are broken by the mean of the sums, which is far smaller than a vote
        sums = np.einsum("cnf,bf->bcn", self.weights_, inputs)
        votes = np.where(sums >= 0, 1, -1).mean(axis=2) + 1e-3 * sums.mean(axis=2) / self.perceptrons
        return votes[:, 1] - votes[:, 0] if len(self.classes_) == 2 else votes

    def predict(self, X) -> np.ndarray:
        """The class of each sample."""
        votes = self.decision_function(X)
        return self.classes_[(votes > 0).astype(int) if votes.ndim == 1 else votes.argmax(axis=1)]

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        extended = np.hstack([(X - self.center_) / self.scale_, np.ones((len(X), 1))])
        return extended / np.linalg.norm(extended, axis=1, keepdims=True)
