"""Attention over the layers of a deep liquid: their features as one weighted sum, as wide as one layer.

    x = Σ_l a_l z_l,    a = softmax(s)        z_l standardised features of layer l
    s and a logistic read-out of x learn together: cross-entropy + alpha/2 |W|²/samples -> min

The sum is what a read-out behind it sees: make_pipeline(LayerAttention(3), RidgeClassifier()).
Source: Soures & Kudithipudi 2019, Front. Neurosci. 13:686, for attention over the layers of a deep liquid, there computed for each
sample; here one weight per layer for all.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data


class LayerAttention(TransformerMixin, BaseEstimator):
    """Compresses features [samples, reads · layers · neurons], as rules/readouts/features.py orders them, to [samples, reads · neurons].

    layers: how many, of equal size.  reads: times at which each neuron is read.  alpha: how strongly large weights are held back.
    After fit(): weights_ [layers], not negative, of sum 1.
    Raises ValueError for features that the layers do not divide, an alpha below 0, or labels that are not two classes or more.
    """

    def __init__(self, layers: int = 2, *, reads: int = 1, alpha: float = 10.0) -> None:
        self.layers, self.reads, self.alpha = layers, reads, alpha

    def fit(self, X, y) -> LayerAttention:
        if not (np.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha = {self.alpha} must be finite and not negative")
        X, y = validate_data(self, X, y, dtype=float)
        self._check(X.shape[1])
        check_classification_targets(y)
        self.mean_, spread = X.mean(axis=0), X.std(axis=0)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        z = self._layers(X)
        classes, target = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"all samples are of one class, {classes[0]!r}; attention needs two to tell apart")
        start = np.zeros(self.layers + (z.shape[2] + 1) * len(classes))
        found = minimize(loss, start, (z, np.eye(len(classes))[target], self.alpha), jac=True, method="L-BFGS-B", options={"maxiter": 300})
        self.weights_ = softmax(found.x[: self.layers])
        return self

    def transform(self, X) -> np.ndarray:
        check_is_fitted(self, "weights_")
        return np.einsum("l,sln->sn", self.weights_, self._layers(validate_data(self, X, dtype=float, reset=False)))

    def _layers(self, X: np.ndarray) -> np.ndarray:
        """Standardised [samples, layers, reads · neurons]."""
        z = (X - self.mean_) / self.scale_
        return z.reshape(len(z), self.reads, self.layers, -1).swapaxes(1, 2).reshape(len(z), self.layers, -1)

    def _check(self, width: int) -> None:
        if self.layers < 1 or self.reads < 1 or width % (self.layers * self.reads):
            raise ValueError(f"{width} features are not layers = {self.layers} of equal size at reads = {self.reads} times")


def loss(parameters: np.ndarray, z: np.ndarray, target: np.ndarray, alpha: float) -> tuple[float, np.ndarray]:
    """Loss and gradient by scores s [L], W [N, C] and bias [C], one after the other. z: [S, L, N].  target: [S, C], one 1 in each row."""
    samples, layers, width = z.shape
    classes = target.shape[1]
    a = softmax(parameters[:layers])
    W = parameters[layers : layers + width * classes].reshape(width, classes)
    x = np.einsum("l,sln->sn", a, z)
    logs = log_softmax(x @ W + parameters[-classes:], axis=1)
    value = -np.sum(target * logs) / samples + 0.5 * alpha * np.sum(W**2) / samples
    at_output = (np.exp(logs) - target) / samples
    by_a = np.einsum("sn,sln->l", at_output @ W.T, z)
    gradient = (a * (by_a - a @ by_a), (x.T @ at_output + alpha * W / samples).ravel(), at_output.sum(axis=0))
    return float(value), np.concatenate(gradient)
