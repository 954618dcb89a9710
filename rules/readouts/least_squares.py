"""Least squares learnt one sample at a time: what FORCE learning runs on.

    k <- P x / (1 + xᵀ P x)
    w <- w + k (y - wᵀ x)
    P <- P - k (P x)ᵀ,    P = I/alpha at the start

After any number of samples w is what ridge regression with penalty alpha, without intercept, finds on all of them at once.

Source: Sussillo & Abbott 2009, Neuron 63:544, eq. 3-5 (FORCE); Haykin 2002, Adaptive Filter Theory, chapter 9.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from spiketwin.models.encoders.shared import positive


class RecursiveLeastSquares(RegressorMixin, BaseEstimator):
    """Ridge regression that learns on line.

    alpha: penalty on the weights.  forgetting: weight of a sample against the next, 1 to remember all.
    fit_intercept: whether a constant input of 1 is learnt along, with the same penalty.
    After fit() or partial_fit(): coef_ [outputs, features] or [features], intercept_, and the inverse correlation matrix P_.
    """

    def __init__(self, alpha: float = 1.0, forgetting: float = 1.0, fit_intercept: bool = True) -> None:
        self.alpha, self.forgetting, self.fit_intercept = alpha, forgetting, fit_intercept

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X, y) -> RecursiveLeastSquares:
        """From the start, samples in their order. X [samples, features], y [samples] or [samples, outputs]."""
        self.__dict__.pop("P_", None)
        return self.partial_fit(X, y)

    def partial_fit(self, X, y) -> RecursiveLeastSquares:
        """Go on from what was learnt."""
        positive(alpha=self.alpha)  # P starts as I/alpha
        if not 0 < self.forgetting <= 1:
            raise ValueError(f"forgetting = {self.forgetting} must be above 0, at most 1")
        begins = not hasattr(self, "P_")
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=float, reset=begins)
        X, targets = self._extended(X), np.asarray(y, float).reshape(len(X), -1)
        if begins:
            self.P_ = np.eye(X.shape[1]) / self.alpha
            self._weights = np.zeros((X.shape[1], targets.shape[1]))
        for x, target in zip(X, targets):
            self._learn(x, target)
        coefficients = self._weights.T if np.ndim(y) > 1 else self._weights[:, 0]
        self.coef_ = coefficients[..., : self.n_features_in_].copy()
        self.intercept_ = coefficients[..., -1].copy() if self.fit_intercept else 0.0
        return self

    def _learn(self, x: np.ndarray, target: np.ndarray) -> None:
        px = self.P_ @ x
        gain = px / (self.forgetting + x @ px)
        self._weights += np.outer(gain, target - x @ self._weights)
        P = (self.P_ - np.outer(gain, px)) / self.forgetting
        self.P_ = (P + P.T) / 2  # what rounding leaves of asymmetry would grow by 1/forgetting with every sample

    def predict(self, X) -> np.ndarray:
        """[samples], or [samples, outputs]."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=float, reset=False)
        return X @ self.coef_.T + self.intercept_

    def _extended(self, X: np.ndarray) -> np.ndarray:
        return np.hstack([X, np.ones((len(X), 1))]) if self.fit_intercept else X
