"""A network as data: populations, projections, inputs. No engine, no time step.

Weights are [N_post, N_pre] in the unit the projection names; engines turn them into SI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.models.plasticity import Normalisation, PlasticityRule
from spiketwin.models.spec import NeuronSpec, SpecError, unknown
from spiketwin.models.units import UnitError, unit

if TYPE_CHECKING:
    from spiketwin.models.engines.torch.stacks import Stack


@dataclass(frozen=True)
class SpikeSource:
    """An input whose spikes are given at run time: `inputs[name]` is a Spikes of shape [T, B, size]."""

    name: str
    size: int

    def __post_init__(self) -> None:
        _check_size(self.size, self.name)


@dataclass(frozen=True)
class PoissonSource:
    """An input that draws its own spikes: independent Poisson trains of `rate_hz` (one value, or one per neuron)."""

    name: str
    size: int
    rate_hz: float | np.ndarray = 10.0

    def __post_init__(self) -> None:
        _check_size(self.size, self.name)
        rate = np.asarray(self.rate_hz, dtype=float)
        if rate.shape not in ((), (self.size,)) or not np.isfinite(rate).all() or (rate < 0).any():
            raise ValueError(f"rate_hz of '{self.name}' must be finite, not negative, and one value or {self.size}; got {self.rate_hz}")


@dataclass(frozen=True)
class Population:
    """`size` neurons of one model.

    parameters: values that differ from the model's defaults, one number or an array [size], in the
    parameter's declared unit, or text such as '20 ms'.
    drives: constant analogue input, drive name -> text with unit, e.g. {'i_ext': '0.5 nA'}, or SI number or array [size];
    time-varying drives are given at run time as inputs['population.drive'].
    """

    name: str
    neuron: NeuronSpec
    size: int
    parameters: Mapping[str, float | str | np.ndarray] = field(default_factory=dict)
    drives: Mapping[str, float | str | np.ndarray] = field(default_factory=dict)
    initial: Mapping[str, float | str | np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_size(self.size, self.name)
        for name, value in self.parameters.items():
            if name not in self.neuron.parameters:
                raise SpecError(unknown(name, "parameter", self.neuron.name, self.neuron.parameters))
            _check_array(self.neuron.parameters[name].in_si(name, value), self.size, f"parameter '{name}' of population '{self.name}'")
        for values, names, kind in ((self.drives, self.neuron.drives, "drive"), (self.initial, self.neuron.states, "initial state")):
            for name, value in values.items():
                if name not in names:
                    raise SpecError(unknown(name, kind, self.neuron.name, names))
                _check_array(_si(value, self.neuron.dimension(name), name), self.size, f"{kind} '{name}' of population '{self.name}'")

    def parameter(self, name: str) -> np.ndarray:
        """A parameter in SI: 0-d where one value serves all neurons, [size] where they differ."""
        declared = self.neuron.parameters[name]
        return declared.in_si(name, self.parameters.get(name, declared.value))

    def parameter_values(self) -> dict[str, np.ndarray]:
        """Every parameter in SI, as parameter() gives it."""
        return {name: self.parameter(name) for name in self.neuron.parameters}

    def drive_values(self) -> dict[str, np.ndarray]:
        """Every constant drive in SI; 0 where none was given."""
        return {n: _si(self.drives.get(n, 0.0), self.neuron.dimension(n), n) for n in self.neuron.drives}

    def initial_values(self) -> dict[str, np.ndarray]:
        """Every state at time 0 in SI, [size]: what the population gives, else the model's initial expression."""
        from spiketwin.models.expressions import evaluate

        values = {**self.parameter_values(), **self.drive_values()}
        for name in self.neuron.states:
            if name in self.initial:
                values[name] = _si(self.initial[name], self.neuron.dimension(name), name)
        for name in [*self.neuron.initial, *self.neuron.states]:
            if name not in values:
                values[name] = evaluate(self.neuron.initial.get(name, "0"), values, self.neuron.subexpressions)
        return {n: np.broadcast_to(np.asarray(values[n], dtype=float), (self.size,)).copy() for n in self.neuron.states}


@dataclass(frozen=True)
class Convolution:
    """Weights of a convolutional projection: kernel [C_out, C_in, K, K] over an image of C_in × H × W neurons.

    The target must have C_out × H_out × W_out neurons, counted channel by channel, row by row.
    """

    kernel: np.ndarray
    height: int
    width: int
    stride: int = 1
    padding: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        c_out, c_in = self.kernel.shape[:2]
        h, w = self.out_size
        return c_out * h * w, c_in * self.height * self.width

    @property
    def out_size(self) -> tuple[int, int]:
        kh, kw = self.kernel.shape[2:]
        return (self.height + 2 * self.padding - kh) // self.stride + 1, (self.width + 2 * self.padding - kw) // self.stride + 1

    def to_sparse(self):
        """The same map as a scipy CSR matrix [N_post, N_pre]."""
        import scipy.sparse

        c_out, c_in, kh, kw = self.kernel.shape
        (h_out, w_out), (h, w) = self.out_size, (self.height, self.width)
        o, c, y, x, ky, kx = np.meshgrid(*(np.arange(k) for k in (c_out, c_in, h_out, w_out, kh, kw)), indexing="ij", sparse=True)
        row, column = y * self.stride + ky - self.padding, x * self.stride + kx - self.padding
        inside = (row >= 0) & (row < h) & (column >= 0) & (column < w) & (o >= 0) & (c >= 0)
        post = np.broadcast_to((o * h_out + y) * w_out + x, inside.shape)[inside]
        pre = np.broadcast_to((c * h + row) * w + column, inside.shape)[inside]
        value = np.broadcast_to(self.kernel[:, :, None, None], inside.shape)[inside]
        return scipy.sparse.csr_array((value, (post, pre)), shape=self.shape)


@dataclass(frozen=True)
class Projection:
    """Synapses from `source` to the state `receptor` of `target`.

    weights: [N_post, N_pre] dense array, scipy sparse matrix (only stored entries are synapses) or
    Convolution, in `unit` ('' for SI).  delay_ms: one value, or an array of the weights' shape (for
    sparse weights a sparse matrix of the same sparsity); 0 means the spike acts at the end of the step it was fired in.
    trainable: whether the torch engine makes the weights a Parameter.
    rule: how spikes change the weights while the network runs; None: they stay.
    normalisation: what keeps the sum of a neuron's incoming plastic weights.
    """

    source: str
    target: str
    weights: object
    receptor: str
    unit: str = ""
    delay_ms: object = 0.0
    trainable: bool = True
    name: str = ""
    rule: PlasticityRule | None = None
    normalisation: Normalisation | None = None

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", f"{self.source}_to_{self.target}_{self.receptor}")
        values = self.values()
        if not np.isfinite(values).all():
            raise ValueError(
                f"weights of '{self.name}' hold {np.count_nonzero(~np.isfinite(values))} values that are NaN or infinite; repair or mask them first"
            )
        delays = np.asarray(self.delay_ms.data if hasattr(self.delay_ms, "tocsr") else self.delay_ms, dtype=float)
        if not np.isfinite(delays).all() or (delays < 0).any():
            raise ValueError(f"delays of '{self.name}' must be finite and not negative")
        if self.normalisation is not None and not isinstance(self.normalisation, Normalisation):
            raise ValueError(f"normalisation = {self.normalisation!r} of '{self.name}' is none; give Normalisation(total)")
        if self.normalisation and not self.rule:
            raise ValueError(f"the weights of '{self.name}' have a normalisation but no rule that changes them; scale them once yourself")
        if self.rule:
            self._check_plastic(self.rule, values)

    def _check_plastic(self, rule: PlasticityRule, values: np.ndarray) -> None:
        if not isinstance(rule, PlasticityRule):
            raise ValueError(
                f"rule = {rule!r} of '{self.name}' is no PlasticityRule; take one by its name, spiketwin.rules.rule('pair_additive')"
            )
        if isinstance(self.weights, Convolution):
            raise ValueError(
                f"'{self.name}' shares its weights by convolution, which rule '{rule.name}' cannot: give each synapse its own, weights.to_sparse()"
            )
        low, high = rule.limits
        if (outside := (values < low) | (values > high)).any():
            raise ValueError(
                f"{np.count_nonzero(outside)} weights of '{self.name}', such as {values[outside][0]:g}, lie outside the bounds {low:g} … {high:g} of "
                f"rule '{rule.name}'; clip them"
            )

    @property
    def shape(self) -> tuple[int, int]:
        return tuple(self.weights.shape)

    @property
    def is_sparse(self) -> bool:
        return hasattr(self.weights, "tocsr")

    def values(self) -> np.ndarray:
        """The weights as stored: [N_post, N_pre], the stored entries of a sparse matrix, or the kernel."""
        if self.is_sparse:
            return np.asarray(self.weights.data, dtype=float)
        if isinstance(self.weights, Convolution):
            return np.asarray(self.weights.kernel, dtype=float)
        return np.asarray(self.weights, dtype=float)

    def synapses(self):
        """One row per synapse, ordered by (pre, post): pre, post int [S], weight float [S] in SI, delay_ms float [S].

        In dense weights every entry is a synapse, zeros included.
        """
        scale = unit(self.unit or "1")[0]
        if self.is_sparse or isinstance(self.weights, Convolution):
            matrix = (self.weights.to_sparse() if isinstance(self.weights, Convolution) else self.weights).tocsc(copy=True)
            matrix.sort_indices()
            pre = np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
            post, weight = matrix.indices, matrix.data
        else:
            dense = np.asarray(self.weights, dtype=float)
            pre, post = (a.ravel() for a in np.meshgrid(np.arange(dense.shape[1]), np.arange(dense.shape[0]), indexing="ij"))
            weight = dense.T.ravel()
        if hasattr(self.delay_ms, "tocsc"):
            delays = self.delay_ms.tocsc(copy=True)
            delays.sort_indices()
            if not np.array_equal(delays.indices, post):
                raise ValueError(
                    f"delays of '{self.name}' are a sparse matrix of another sparsity than the weights; store one delay per synapse"
                )
            delay = delays.data
        else:
            delay = np.asarray(self.delay_ms, dtype=float)
            delay = np.full(len(pre), float(delay)) if delay.ndim == 0 else delay[post, pre]
        return (
            pre.astype(np.int64, copy=False),
            post.astype(np.int64, copy=False),
            np.asarray(weight, dtype=float) * scale,
            np.asarray(delay, dtype=float),
        )

    @property
    def _is_full(self) -> bool:
        """Whether every pair has a synapse, so that their order is that of the transposed matrix."""
        return not self.is_sparse and not isinstance(self.weights, Convolution)

    def synapse_values(self) -> np.ndarray:
        """The weights [S] in the projection's own unit, in the order of synapses()."""
        if self._is_full:
            return np.asarray(self.weights, dtype=float).T.flatten()  # a copy in any case
        return replace(self, unit="").synapses()[2]

    def matrix(self, values):
        """Weights [N_post, N_pre], dense or sparse as declared, from one value per synapse in the order of synapses()."""
        import scipy.sparse

        values = np.asarray(values)
        if self._is_full and values.shape == (np.prod(self.shape),):
            return values.reshape(self.shape[::-1]).T.copy(order="C")
        pre, post, *_ = self.synapses()
        if values.shape != pre.shape:
            raise ValueError(f"'{self.name}' has {len(pre)} synapses, got values of shape {values.shape}")
        if self.is_sparse:
            return scipy.sparse.csr_array((values, (post, pre)), shape=self.shape)
        dense = np.zeros(self.shape, values.dtype)
        dense[post, pre] = values
        return dense


@dataclass(frozen=True)
class Network:
    """Populations, sources and the projections between them, checked against each other.

    Raises ValueError or SpecError when names, shapes or units do not fit.
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...] = ()
    sources: tuple[SpikeSource | PoissonSource, ...] = ()

    def __post_init__(self) -> None:
        for name in ("populations", "projections", "sources"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        names = [p.name for p in (*self.populations, *self.sources)]
        for kind, listed in (("population or source", names), ("projection", [p.name for p in self.projections])):
            if twice := {n for n in listed if listed.count(n) > 1}:
                raise ValueError(f"{kind} '{sorted(twice)[0]}' is declared twice; give each its own name")
        for projection in self.projections:
            self._check(projection, names)

    def _check(self, p: Projection, names: list[str]) -> None:
        if p.source not in names:
            raise ValueError(unknown(p.source, "source", p.name, names))
        if p.target not in [q.name for q in self.populations]:
            raise ValueError(unknown(p.target, "target", p.name, [q.name for q in self.populations]))
        if silent := [q for q in self.populations if q.name == p.source and not q.neuron.threshold]:
            raise ValueError(
                f"'{p.name}' starts at population '{p.source}', but '{silent[0].neuron.name}' never spikes: it has no threshold; read its states instead"
            )
        target = self.population(p.target)
        if p.receptor not in target.neuron.inputs:
            raise SpecError(unknown(p.receptor, "input", target.neuron.name, target.neuron.inputs))
        if p.rule:
            _check_rule(p.rule, target, p.name)
        if p.unit:
            dimension = unit(p.unit)[1]
            if dimension != target.neuron.dimension(p.receptor):
                raise UnitError(
                    f"weights of '{p.name}' are in {p.unit}, but '{p.receptor}' of '{target.neuron.name}' is in {target.neuron.si_unit(p.receptor)}"
                )
        expected = (target.size, self.size_of(p.source))
        if p.shape != expected:
            hint = "; transpose them" if p.shape == expected[::-1] else ""
            raise ValueError(f"weights of '{p.name}' have shape {p.shape}, but [N_post, N_pre] is {expected}{hint}")
        delay_shape = np.shape(p.delay_ms) if not hasattr(p.delay_ms, "shape") else tuple(p.delay_ms.shape)
        if delay_shape not in ((), expected):
            raise ValueError(f"delays of '{p.name}' have shape {delay_shape}; give one value or an array of the weights' shape {expected}")

    def population(self, name: str) -> Population:
        for p in self.populations:
            if p.name == name:
                return p
        raise ValueError(unknown(name, "population", "network", [p.name for p in self.populations]))

    def size_of(self, name: str) -> int:
        return next(p.size for p in (*self.populations, *self.sources) if p.name == name)


def _check_rule(rule: PlasticityRule, target: Population, name: str) -> None:
    """What a rule reads of its target is there, and means the same in Brian2."""
    from spiketwin.models.neurons.listening import ADDED

    spec = target.neuron
    for state, needed in rule.post_states.items():
        if state not in spec.states:
            hint = " spiketwin.models.neurons.listening.listening(neuron, rule.post_states) adds it." if state in ADDED else ""
            raise SpecError(f"rule '{rule.name}' of '{name}': " + unknown(state, "state of the target", spec.name, spec.states) + hint)
        if spec.dimension(state) != unit(needed)[1]:
            raise UnitError(
                f"rule '{rule.name}' of '{name}' reads '{state}_post' in {needed}, but in '{spec.name}' it is in {spec.si_unit(state)}"
            )
    if rule.statements["post"] and not spec.threshold:
        raise ValueError(
            f"rule '{rule.name}' of '{name}' waits for spikes of '{target.name}', but '{spec.name}' never spikes: it has no threshold"
        )
    for parameter in rule.parameters:
        base = parameter.removesuffix("_post")
        if base != parameter and base in (*spec.states, *spec.drives, *spec.subexpressions):
            raise SpecError(
                f"parameter '{parameter}' of rule '{rule.name}' would mean '{base}' of '{spec.name}' in Brian2; rename it, or the state"
            )


def _check_size(size: int, name: str) -> None:
    if not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"size of '{name}' is {size!r}; it must be a whole number, at least 1")


def _check_array(value: np.ndarray, size: int, what: str) -> None:
    if value.shape not in ((), (size,)):
        raise ValueError(f"{what} has shape {value.shape}; give one value or {size}, one per neuron")
    if not np.isfinite(value).all():
        raise ValueError(f"{what} holds NaN or infinite values; repair them first")


def _si(value, dimension, name: str) -> np.ndarray:
    from spiketwin.models.units import quantity

    if isinstance(value, str):
        si, found = quantity(value)
        if found != dimension:
            raise UnitError(f"'{name}' = {value} has unit {found}, but {dimension} is needed")
        return np.asarray(si)
    return np.asarray(value, dtype=float)


def stack(text: str, *, neuron: NeuronSpec | str, dt_ms: float, input_shape: tuple[int, ...], **options) -> Stack:
    """The layers that a line such as '12C5-MP2-64C5-MP2-1024FC10' names (models/stacks/text.py), as a torch module.

    neuron: a model or its name.  input_shape: (channels, height, width) or (neurons,).
    options: surrogate, readout, parameters, trainable_parameters, …, those of models/engines/torch/stacks/build.py.
    """
    from spiketwin.models.engines.torch.stacks import stack as build

    return build(text, neuron=neuron, dt_ms=dt_ms, input_shape=input_shape, **options)
