"""Liquids driven by currents, and FORCE learning: a read-out that is fed back while it learns.

    neuron n gets the current weights[n] · u for every_ms, then for the next u
    x(t) = Σ_k (t - t_k)/tau exp(-(t - t_k)/tau)     over the spikes of a neuron: they pass twice through a filter of tau, which
    z = w · x                                        smoothes what single spikes would make jump
    u = z closes the loop, and recursive least squares bring z to the target at each u

As the loop runs on its own output while w learns, w learns to correct what its own errors lead to: closed without learning, the liquid
goes on producing the target.

Source: Sussillo & Abbott 2009, Neuron 63:544, figure 2 (FORCE); Nicola & Clopath 2017, Nature Communications 8:2208, for spiking neurons.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spiketwin.models.encoders.shared import positive, whole, whole_steps
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.network import Network
from spiketwin.models.neurons import cuba_lif
from spiketwin.models.reservoirs import Liquid
from spiketwin.models.reservoirs.response import holding_current, threshold_distance
from spiketwin.rules.readouts import RecursiveLeastSquares

HELD = "i_held"
USUAL_HZ = 50.0  # rates are read in this unit, membranes in the distance from rest to threshold: numbers of about one size
# cuba_lif with one more current: a drive of a session is constant, but its states may be written between two runs, and this one stays
# what it is told to be
HOLDING = f"""
    dv/dt = (v_rest - v + r*(i_syn + i_ext + {HELD}))/tau_mem : volt (unless refractory)
    di_syn/dt = -i_syn/tau_syn : amp
    d{HELD}/dt = 0*{HELD}/tau_syn : amp
    i_ext : amp
"""


class Moment(NamedTuple):
    """A state to go back to: the session's, and the spikes through one filter and through both."""

    session: bytes
    once: np.ndarray
    twice: np.ndarray


class Driven:
    """A liquid that hears numbers as currents and answers in features, one row for each.

    liquid: of one population of cuba_lif.  weights: [size, inputs] in the current that holds a neuron at threshold.
    every_ms: how long each number lasts.  taus_ms: of the filters of spikes.  membranes: whether the mean of v over each every_ms is
    read, too. A row has size · (filters + membranes) numbers: all neurons through the first filter, through the second, …, membranes.
    Raises ValueError for another neuron model, and for weights or numbers of another shape or not finite.
    """

    def __init__(
        self,
        liquid: Liquid,
        weights: np.ndarray,
        *,
        every_ms: float = 20.0,
        taus_ms: Sequence[float] = (20.0,),
        membranes: bool = False,
        dt_ms: float = 1.0,
        engine: CompiledEngine | None = None,
    ) -> None:
        (cells, *others), weights = liquid.network.populations, np.asarray(weights, float)
        if others or cells.neuron.equations != cuba_lif.equations:
            kinds = ", ".join(p.neuron.name for p in liquid.network.populations)
            raise ValueError(f"the liquid is of {kinds}; only one population of {cuba_lif.name} has a current to hold, build it of that")
        if weights.ndim != 2 or len(weights) != liquid.size:
            raise ValueError(f"weights have shape {weights.shape}; give [size, inputs] for {liquid.size} neurons")
        if not np.isfinite(weights).all():
            raise ValueError("weights hold NaN or infinite values; repair them first")
        self._steps = whole_steps(every_ms, dt_ms, "every_ms")
        if not (len(taus_ms) or membranes):
            raise ValueError("taus_ms is empty and membranes are not read: nothing is left; give a time constant")
        for tau in taus_ms:
            positive(taus_ms=tau)
        self.inputs = weights.shape[1]
        self.size, self._name, self._duration_ms = liquid.size, cells.name, self._steps * dt_ms
        self._weights = weights * holding_current(cells.neuron)[1]
        self._threshold, self._membranes = threshold_distance(cells.neuron), membranes
        self._rest = cells.parameter_values()["v_rest"]
        spec = replace(cells.neuron, name=f"held_{cells.neuron.name}", equations=HOLDING)
        held = Network([replace(cells, neuron=spec)], liquid.network.projections, liquid.network.sources)
        self._start = lambda: (engine or CompiledEngine(threads=1)).start(held, dt_ms=dt_ms, scheme="exact")
        age_ms, self._taus_ms = (self._steps - np.arange(self._steps)) * dt_ms, np.asarray(taus_ms, float)[:, None]
        # what a spike in each step leaves at the end, after one filter and after both [filters, steps]
        self._once_left = np.exp(-age_ms / self._taus_ms)
        self._twice_left = age_ms / self._taus_ms * self._once_left
        self.restart()

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self.size * (len(self._taus_ms) + self._membranes)

    def restart(self) -> None:
        """From the liquid's own start, with silent filters."""
        self._session = self._start()
        self._held = self._session.state(self._name, HELD)
        self._once, self._twice = np.zeros((2, len(self._taus_ms), self.size))
        self.spikes = 0

    def hear(self, u: np.ndarray) -> np.ndarray:
        """The row after u [inputs] has been heard."""
        u = np.asarray(u, float)
        if u.shape != (self.inputs,) or not np.isfinite(u).all():
            raise ValueError(f"u = {u} has shape {u.shape}; give {self.inputs} finite numbers")
        self._held[:] = self._weights @ u
        record = {self._name: ("v",)} if self._membranes else None
        answer = self._session.run(duration_ms=self._duration_ms, record=record)
        fired = answer.spikes[self._name]
        self.spikes += len(fired)
        passed = self._duration_ms / self._taus_ms
        self._twice = (self._twice + self._once * passed) * np.exp(-passed)
        self._once = self._once * np.exp(-passed)
        for filtered, left in ((self._once, self._once_left), (self._twice, self._twice_left)):
            for row, kernel in zip(filtered, left, strict=True):
                row += np.bincount(fired.neuron, kernel[fired.step], minlength=self.size)
        rates = self._twice / self._taus_ms * (1e3 / USUAL_HZ)
        if not self._membranes:
            return rates.ravel()
        v = (answer.states[self._name]["v"][:, 0].mean(axis=0) - self._rest) / self._threshold
        return np.concatenate([rates.ravel(), v])

    def follow(self, u: np.ndarray) -> np.ndarray:
        """Rows [T, width] of one number after the other, u [T, inputs]."""
        return np.array([self.hear(now) for now in u])

    def rate_hz(self) -> float:
        """Mean rate of all neurons since the start."""
        return self.spikes / self.size / max(self._session.time_ms, 1e-9) * 1e3

    def mark(self) -> Moment:
        """The state now, for back()."""
        with tempfile.TemporaryDirectory() as folder:
            return Moment(self._session.save(Path(folder) / "now.npz").read_bytes(), self._once.copy(), self._twice.copy())

    def back(self, to: Moment) -> None:
        """To a state that mark() gave."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "now.npz"
            path.write_bytes(to.session)
            self._session.load(path)
        self._once, self._twice = to.once.copy(), to.twice.copy()


class Force:
    """A driven liquid whose read-out is fed back: z [outputs] is heard as the next u.

    alpha: penalty on the weights of the read-out; a small one learns fast (1/alpha is Sussillo & Abbott's P(0)).
    Raises ValueError unless the liquid has as many inputs as there are outputs.
    """

    def __init__(self, driven: Driven, *, outputs: int = 1, alpha: float = 1.0) -> None:
        whole(1, outputs=outputs)
        if driven.inputs != outputs:
            raise ValueError(f"the liquid hears {driven.inputs} numbers, but {outputs} are fed back; make them equal")
        self.driven, self.output = driven, np.zeros(outputs)
        self.readout = RecursiveLeastSquares(alpha=alpha)

    def learn(self, target: np.ndarray) -> np.ndarray:
        """What came out [T, outputs] while it was taught `target` [T, outputs], each before the step that corrects it."""
        target = np.asarray(target, float)
        if target.shape[1:] != self.output.shape:
            raise ValueError(f"target has shape {target.shape}; give [T, {len(self.output)}]")
        return np.array([self._step(wanted) for wanted in target])

    def run(self, steps: int) -> np.ndarray:
        """What comes out [T, outputs] of the closed loop, without learning."""
        return np.array([self._step() for _ in range(steps)])

    def _step(self, wanted: np.ndarray | None = None) -> np.ndarray:
        x = self.driven.hear(self.output)
        known = hasattr(self.readout, "coef_")
        self.output = self.readout.coef_ @ x + self.readout.intercept_ if known else np.zeros_like(self.output)
        if wanted is not None:
            self.readout.partial_fit(x[None], wanted[None])
        return self.output
