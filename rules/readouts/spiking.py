"""A read-out of spiking neurons, trained by surrogate gradients.

    features of `bins` stretches of time -> weights and bias -> one leaky integrate-and-fire neuron per class; the one that fires most wins

Each stretch is a constant current that lasts `steps_per_bin` steps of 1 ms; loss is the cross-entropy of the spike counts.

Source: Neftci, Mostafa & Zenke 2019, IEEE Signal Processing Magazine 36:51 (surrogate gradients).
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from spiketwin.models.encoders.shared import positive, whole

SPIKES_PER_LOGIT = 4.0  # a few spikes more than the others are a decision


class SpikingReadout(ClassifierMixin, BaseEstimator):
    """Classes by the counts of trained leaky integrate-and-fire neurons.

    bins: stretches of time that a row of features holds, in the order of SpikeCounts(bins).  steps_per_bin: how long each lasts, in ms.
    tau_mem_ms: membrane time constant.  slope: of the surrogate gradient, the fast sigmoid.
    epochs, batch_size, learning_rate: of Adam.  random_state: of the first weights and the order of samples.
    After fit(): weights_, the module's state dict in numpy, and loss_curve_, the mean loss of each epoch.
    """

    def __init__(
        self,
        bins: int = 1,
        steps_per_bin: int = 10,
        tau_mem_ms: float = 10.0,
        slope: float = 25.0,
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 5e-3,
        random_state: int = 0,
    ) -> None:
        self.bins, self.steps_per_bin, self.tau_mem_ms, self.slope = bins, steps_per_bin, tau_mem_ms, slope
        self.epochs, self.batch_size, self.learning_rate, self.random_state = epochs, batch_size, learning_rate, random_state

    def fit(self, X, y) -> SpikingReadout:
        """X [samples, bins * neurons], y [samples]."""
        import torch

        from spiketwin.rules.losses import count_cross_entropy

        whole(1, bins=self.bins, steps_per_bin=self.steps_per_bin, epochs=self.epochs, batch_size=self.batch_size)
        positive(tau_mem_ms=self.tau_mem_ms, slope=self.slope, learning_rate=self.learning_rate)
        X, y = validate_data(self, X, y, dtype=float)
        check_classification_targets(y)
        if X.shape[1] % self.bins:
            raise ValueError(f"{X.shape[1]} features are not {self.bins} bins of equally many neurons; set bins to that of the features")
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"all samples are of one class, {self.classes_[0]!r}; a classifier needs two")
        self.center_, self.scale_ = X.mean(axis=0), np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
        net = self._net()
        optimiser = torch.optim.Adam(net.parameters(), lr=self.learning_rate)
        rng, labels, self.loss_curve_ = np.random.default_rng(self.random_state), torch.as_tensor(index), []
        for _ in range(self.epochs):
            losses = []
            for batch in np.array_split(rng.permutation(len(X)), -(-len(X) // self.batch_size)):
                optimiser.zero_grad()
                loss = count_cross_entropy(self._spikes(net, X[batch]) / SPIKES_PER_LOGIT, labels[batch])
                loss.backward()
                optimiser.step()
                losses.append(loss.item() * len(batch))
            self.loss_curve_.append(sum(losses) / len(X))
        self.weights_ = {name: value.numpy() for name, value in net.state_dict().items()}
        return self

    def _net(self):
        """The neurons; with their first weights, before they are trained."""
        from spiketwin.models.network import stack
        from spiketwin.models.stacks import leaky
        from spiketwin.rules.surrogate import fast_sigmoid

        return stack(
            f"FC{len(self.classes_)}",
            neuron=leaky(self.tau_mem_ms),
            dt_ms=1.0,
            input_shape=(self.n_features_in_ // self.bins,),
            surrogate=fast_sigmoid(self.slope),
            seed=self.random_state,
        )

    def _spikes(self, net, X: np.ndarray):
        """Spikes [T, B, classes]."""
        import torch

        rows = ((X - self.center_) / self.scale_ / np.sqrt(X.shape[1] / self.bins)).reshape(len(X), self.bins, -1)
        current = np.repeat(rows.transpose(1, 0, 2), self.steps_per_bin, axis=0)
        return net(torch.as_tensor(current, dtype=torch.float32)).output

    def decision_function(self, X) -> np.ndarray:
        """Spikes of each class's neuron [samples, classes], with two classes those of the second more than of the first [samples]."""
        import torch

        check_is_fitted(self)
        X = validate_data(self, X, dtype=float, reset=False)
        net = self._net()
        net.load_state_dict({name: torch.as_tensor(value) for name, value in self.weights_.items()})
        with torch.no_grad():
            counts = self._spikes(net, X).sum(0).numpy().astype(float)
        return counts[:, 1] - counts[:, 0] if len(self.classes_) == 2 else counts

    def predict(self, X) -> np.ndarray:
        """The class of each sample."""
        counts = self.decision_function(X)
        return self.classes_[(counts > 0).astype(int) if counts.ndim == 1 else counts.argmax(axis=1)]
