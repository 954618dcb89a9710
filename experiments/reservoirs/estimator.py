"""The liquid state machine as an estimator: a fixed liquid, and a read-out that learns.

    lsm = LiquidStateMachine(partial(maass_column, lam=2.0), features=FilteredSpikes(30, reads=4), readout=RidgeClassifier())
    lsm.fit(words.train, words.train.labels).score(words.test, words.test.labels)

LiquidStates alone is a transformer, for a Pipeline with any read-out behind it. All parameters can be searched: input_scale,
features__tau_ms, readout__alpha. Samples are EventSamples, or arrays [samples, features] or [samples, steps, channels] (senses/).

Source: Maass, Natschläger & Markram 2002, Neural Computation 14:2531.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from spiketwin.experiments.reservoirs.diagnostics import Diagnosis, Probe, diagnose
from spiketwin.experiments.reservoirs.senses import EventInput, OnOff, Sense, is_events, joined
from spiketwin.experiments.reservoirs.states import respond
from spiketwin.models.encoders.shared import whole
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.reservoirs import Liquid
from spiketwin.models.reservoirs import liquid as random_liquid
from spiketwin.models.reservoirs.liquid import check_functions
from spiketwin.rules.readouts.features import Features, FilteredSpikes


class LiquidStates(TransformerMixin, BaseEstimator):
    """What a liquid makes of each sample: rows of features.

    liquid: makes it: called with inputs=…, size=…, the three scales and seed=…; models.reservoirs.liquid by default.
    size, connection_scale, inhibition, input_scale: given to it; None leaves out what it does not take.
    sense: turns samples into spikes; None: EventInput for events, OnOff for numbers.
    features: what is read (rules/readouts/features.py); None: FilteredSpikes().
    dt_ms, duration_ms: step and length of a run, the same for all samples.  scheme: how the liquid is integrated.
    dtype: 'float32' or 'float64'.  at_once: samples in memory.  threads: 0 for all cores; 1 where a search runs on all cores already.
    random_state: the seed of the liquid.
    After fit(): liquid_, sense_, n_features_in_.
    """

    def __init__(
        self,
        liquid: Callable[..., Liquid] | None = None,
        *,
        size: int | None = 135,
        connection_scale: float | None = 1.0,
        inhibition: float | None = 1.0,
        input_scale: float | None = 1.0,
        sense: Sense | None = None,
        features: Features | None = None,
        dt_ms: float = 1.0,
        duration_ms: float = 300.0,
        scheme: str = "exact",
        dtype: str = "float32",
        at_once: int = 64,
        threads: int = 0,
        random_state: int = 0,
    ) -> None:
        self.liquid, self.size, self.connection_scale = liquid, size, connection_scale
        self.inhibition, self.input_scale = inhibition, input_scale
        self.sense, self.features, self.dt_ms, self.duration_ms, self.scheme = sense, features, dt_ms, duration_ms, scheme
        self.dtype, self.at_once, self.threads, self.random_state = dtype, at_once, threads, random_state

    def fit(self, X, y=None) -> LiquidStates:
        """Build the liquid for as many inputs as the samples have, and learn the scales of numbers."""
        X = self._samples(X, reset=True)
        self.sense_ = (clone(self.sense) if self.sense else EventInput() if is_events(X) else OnOff()).fit(X)
        given = {name: getattr(self, name) for name in ("size", "connection_scale", "inhibition", "input_scale")}
        build = self.liquid or random_liquid
        check_functions(liquid=build)
        self.liquid_ = build(inputs=self.sense_.inputs_, seed=self.random_state, **{k: v for k, v in given.items() if v is not None})
        return self

    def transform(self, X, *, path: Path | None = None, progress: Callable[[int], None] = lambda done: None) -> np.ndarray:
        """Features [samples, width]. path: a .npy file that takes them, from which a stopped run goes on (states.py)."""
        return self._answers(X, check=False, path=path, progress=progress)

    def fit_transform(self, X, y=None, **options: Any) -> np.ndarray:
        """fit(), then the features of these samples. It is what a Pipeline learns from.

        options: those of transform().  Raises LiquidError when the samples leave the liquid silent or saturated.
        """
        return self.fit(X, y)._answers(X, check=True, **options)

    def diagnose(self, X, *, samples: int = 20) -> Diagnosis:
        """What the fitted liquid is like: activity for the first `samples` of X; separation, ranks, memory, perturbations and branching
        for Poisson inputs of as many spikes. print() it, or draw its figure(). Takes seconds, half a minute for 1,000 neurons.

        Raises LiquidError when the samples leave the liquid silent or saturated.
        """
        check_is_fitted(self, "liquid_")
        whole(1, samples=samples)
        spikes, _ = self.sense_.spikes(self._samples(X, reset=False)[:samples], dt_ms=self.dt_ms, duration_ms=self.duration_ms)
        # float64 whatever dtype says: small differences are followed
        engine, rate_hz = CompiledEngine(threads=self.threads), float(spikes.rates_hz().mean())
        if not rate_hz > 0:
            raise ValueError(f"the first {spikes.shape[1]} samples make no spike; give samples that do, or raise rate_hz of the sense")
        tau_ms = getattr(self.features, "tau_ms", FilteredSpikes().tau_ms)
        return diagnose(self.liquid_, spikes, Probe(rate_hz, self.duration_ms, tau_ms, self.dt_ms, self.scheme, engine, self.random_state))

    def _answers(self, X, *, check: bool, **options: Any) -> np.ndarray:
        check_is_fitted(self, "liquid_")
        X = self._samples(X, reset=False)
        return respond(
            self.liquid_,
            self.sense_,
            self.features or FilteredSpikes(),
            X,
            dt_ms=self.dt_ms,
            duration_ms=self.duration_ms,
            scheme=self.scheme,
            engine=CompiledEngine(dtype=self.dtype, threads=self.threads),
            at_once=self.at_once,
            check=check,
            **options,
        )

    def _samples(self, X, *, reset: bool):
        if is_events(X):
            X = joined(X)
            if not reset and X.size != self.n_features_in_:
                raise ValueError(f"X has {X.size} channels, but {type(self).__name__} is expecting {self.n_features_in_} as input")
            self.n_features_in_ = X.size
            return X
        return validate_data(self, X, dtype=float, allow_nd=True, reset=reset)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


class _WithReadout(LiquidStates):
    """A liquid, and a read-out of its states, standardised. scikit-learn reads the parameters off the signature, so it is written out."""

    def __init__(
        self,
        liquid: Callable[..., Liquid] | None = None,
        *,
        readout: BaseEstimator | None = None,
        size: int | None = 135,
        connection_scale: float | None = 1.0,
        inhibition: float | None = 1.0,
        input_scale: float | None = 1.0,
        sense: Sense | None = None,
        features: Features | None = None,
        dt_ms: float = 1.0,
        duration_ms: float = 300.0,
        scheme: str = "exact",
        dtype: str = "float32",
        at_once: int = 64,
        threads: int = 0,
        random_state: int = 0,
    ) -> None:
        super().__init__(
            liquid,
            size=size,
            connection_scale=connection_scale,
            inhibition=inhibition,
            input_scale=input_scale,
            sense=sense,
            features=features,
            dt_ms=dt_ms,
            duration_ms=duration_ms,
            scheme=scheme,
            dtype=dtype,
            at_once=at_once,
            threads=threads,
            random_state=random_state,
        )
        self.readout = readout

    def _learn(self, X, y, default: BaseEstimator):
        super().fit(X)
        readout = clone(self.readout) if self.readout is not None else default
        self.readout_ = make_pipeline(StandardScaler(), readout).fit(self._answers(X, check=True), y)
        return self

    def predict(self, X) -> np.ndarray:
        """What the read-out makes of each sample."""
        check_is_fitted(self, "readout_")
        return self.readout_.predict(self.transform(X))


def _offers(method: str) -> Callable[[_WithReadout], bool]:
    """Whether the read-out of a classifier has a method."""
    return lambda machine: hasattr(RidgeClassifier() if machine.readout is None else machine.readout, method)


class LiquidStateMachine(ClassifierMixin, _WithReadout):
    """A classifier: a liquid, and a read-out that learns classes from its states.

    readout: any classifier of scikit-learn or of rules/readouts; None: RidgeClassifier(). The states are standardised for it.
    Everything else is that of LiquidStates. After fit(): classes_, readout_ (scaler and read-out), and what LiquidStates has.
    Raises LiquidError when the training samples leave the liquid silent or saturated.
    """

    def fit(self, X, y) -> LiquidStateMachine:
        X, y = _checked(self, X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"all samples are of one class, {self.classes_[0]!r}; a classifier needs two")
        return self._learn(X, y, RidgeClassifier())

    @available_if(_offers("decision_function"))
    def decision_function(self, X) -> np.ndarray:
        """That of the read-out, where it has one."""
        check_is_fitted(self, "readout_")
        return self.readout_.decision_function(self.transform(X))

    @available_if(_offers("predict_proba"))
    def predict_proba(self, X) -> np.ndarray:
        """Probabilities of the classes [samples, classes], where the read-out has them."""
        check_is_fitted(self, "readout_")
        return self.readout_.predict_proba(self.transform(X))


class LiquidRegressor(RegressorMixin, _WithReadout):
    """A regressor: one or several numbers for each sample. readout: None: Ridge(). Everything else as in LiquidStateMachine."""

    def fit(self, X, y) -> LiquidRegressor:
        X, y = _checked(self, X, y, y_numeric=True, multi_output=True)
        return self._learn(X, y, Ridge())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _checked(estimator: BaseEstimator, X, y, **options):
    """X as it is, y as an array of as many entries."""
    if is_events(X):
        X, y = joined(X), np.asarray(y)
        if len(X) != len(y):
            raise ValueError(f"{len(X)} samples, but {len(y)} labels; they must be equally many")
        return X, y
    return validate_data(estimator, X, y, dtype=float, allow_nd=True, ensure_min_samples=2, **options)
