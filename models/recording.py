"""What a run leaves behind: spikes and states, with the settings that produced them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from spiketwin.models.spec import unknown
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import unit

if TYPE_CHECKING:
    from spiketwin.models.network import Network

# population -> names of the states to record, plastic projection -> ("w",); spikes are always recorded
Record = Mapping[str, tuple[str, ...]]

# SI unit as the declaration spells it -> the unit a neuroscientist reads
CONVENIENT = {
    "volt": "mV",
    "amp": "nA",
    "siemens": "nS",
    "amp/metre**2": "uA/cm**2",
    "siemens/metre**2": "mS/cm**2",
    "volt/second": "mV/ms",
    "second": "ms",
}


class Tables(NamedTuple):
    """A recording as pandas data frames.

    spikes: one row per spike: population, trial, neuron, step, time_ms.
    states: population -> frame with time_ms as index and columns (state, trial, neuron), values in SI.
    """

    spikes: Any
    states: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Recording:
    """Spikes and states of one run.

    spikes: population -> Spikes.  states: population -> state -> array [T, B, N] in SI, the value at
    the start of each step.  final: population -> state -> array [B, N] after the last step.
    weights: plastic projection -> its weights after the last step [B, S], in its unit, one per synapse in the order
    of Projection.synapses(); Projection.matrix() puts them in place. If recorded, `states[projection]["w"]` is [T, B, S].
    time_ms: [T], the times of the rows of `states`.
    """

    engine: str
    scheme: str
    dt_ms: float
    spikes: Mapping[str, Spikes]
    states: Mapping[str, Mapping[str, np.ndarray]]
    final: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    seed: int | None = None
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        spikes = ", ".join(f"{name}: {len(s)}" for name, s in self.spikes.items())
        states = ", ".join(f"{name}.{state}" for name, recorded in self.states.items() for state in recorded)
        return f"Recording({self.engine}, {self.scheme}, dt={self.dt_ms:g} ms, {len(self.time_ms)} steps; spikes {spikes}; states {states or 'none'})"

    @property
    def time_ms(self) -> np.ndarray:
        steps = next(iter(self.spikes.values())).shape[0]
        return np.arange(steps) * self.dt_ms

    def in_unit(self, population: str, state: str, unit_name: str) -> np.ndarray:
        """A recorded state [T, B, N] in a unit such as 'mV' or 'uA/cm**2'.

        The recording holds plain SI numbers: that the unit is of the right kind is up to the caller.
        Raises ValueError when the state was not recorded, UnitError for an unknown unit.
        """
        return self._state(population, state) / unit(unit_name)[0]

    def to_pandas(self) -> Tables:
        """Spikes and states as data frames. Raises ImportError naming the extra when pandas is missing."""
        pandas = _library("pandas")
        spikes = pandas.concat(
            [
                pandas.DataFrame({"population": name, "trial": s.batch, "neuron": s.neuron, "step": s.step, "time_ms": s.times_ms()})
                for name, s in self.spikes.items()
            ],
            ignore_index=True,
        )
        index = pandas.Index(self.time_ms, name="time_ms")
        states = {}
        for name, recorded in self.states.items():
            if recorded:
                shapes = [np.shape(x)[1:] for x in recorded.values()]
                columns = [
                    (state, b, n)
                    for state, (trials, size) in zip(recorded, shapes, strict=True)
                    for b in range(trials)
                    for n in range(size)
                ]
                flat = np.concatenate([np.reshape(x, (len(index), -1)) for x in recorded.values()], axis=1)
                states[name] = pandas.DataFrame(flat, index, pandas.MultiIndex.from_tuples(columns, names=("state", "trial", "neuron")))
        return Tables(spikes, states)

    def to_neo(self, network: Network | None = None):
        """A neo Block: one Segment per trial, with a SpikeTrain per neuron and an AnalogSignal [T, N] per recorded state.

        network: the one that was run; it knows the units of the states. Without it potentials called 'v' are in
        volts and other states are dimensionless SI numbers.
        Raises ImportError naming the extra when neo is missing.
        """
        neo, quantities = _library("neo"), _library("quantities")
        rate = 1e3 / self.dt_ms * quantities.Hz
        settings = {"engine": self.engine, "scheme": self.scheme, "dt_ms": self.dt_ms, "seed": self.seed}
        block = neo.Block(name="spiketwin", **{k: v for k, v in settings.items() if v is not None})
        steps, trials, _ = next(iter(self.spikes.values())).shape
        for b in range(trials):
            segment = neo.Segment(name=f"trial {b}", index=b)
            for name, spikes in self.spikes.items():
                one = spikes.trial(b)
                order = np.lexsort((one.times_ms(), one.neuron))
                trains = np.split(one.times_ms()[order], np.cumsum(np.bincount(one.neuron, minlength=one.shape[2]))[:-1])
                for n, times in enumerate(trains):
                    train = neo.SpikeTrain(times, units="ms", t_stop=steps * self.dt_ms, name=f"{name}[{n}]", population=name, neuron=n)
                    segment.spiketrains.append(train)
            for name, recorded in self.states.items():
                for state, values in recorded.items():
                    si = self._si_unit(name, state, network)
                    signal = neo.AnalogSignal(
                        values[:, b],
                        units="dimensionless" if si in ("", "1") else si,
                        sampling_rate=rate,
                        name=f"{name}.{state}",
                        population=name,
                        state=state,
                    )
                    segment.analogsignals.append(signal)
            block.segments.append(segment)
        return block

    def plot(self, *, trial: int = 0, neurons: int = 5, network: Network | None = None):
        """Draw one trial: a raster per population, and every recorded state of the first `neurons` neurons.

        network: the one that was run; with it every state has a unit of its kind, without it 'v' is in mV and
        others are SI numbers.
        Returns the axes, a list, to go on drawing; axes[0].figure is the figure.
        """
        from matplotlib import pyplot

        rows = [(name, "") for name in self.spikes] + [(name, state) for name, recorded in self.states.items() for state in recorded]
        _, grid = pyplot.subplots(len(rows), 1, sharex=True, squeeze=False, figsize=(8, 0.6 + 1.5 * len(rows)), layout="constrained")
        axes = list(grid[:, 0])
        for ax, (name, state) in zip(axes, rows, strict=True):
            if state:
                si = self._si_unit(name, state, network)
                shown = CONVENIENT.get(si, si)
                values = self.in_unit(name, state, shown or "1")[:, trial, :neurons]
                ax.plot(self.time_ms, values, linewidth=1)
                ax.set_ylabel(f"{state} ({shown or 'SI'})" if shown != "1" else state)
                ax.set_title(name, loc="left", fontsize="medium")
            else:
                spikes = self.spikes[name].trial(trial)
                ax.plot(spikes.times_ms(), spikes.neuron, "|", color="black", markersize=4)
                ax.set_ylim(-0.5, spikes.shape[2] - 0.5)
                ax.set_ylabel("neuron")
                ax.yaxis.get_major_locator().set_params(integer=True)
                ax.set_title(f"{name}: {len(spikes)} spikes", loc="left", fontsize="medium")
        axes[-1].set_xlabel("time (ms)")
        axes[-1].set_xlim(0, len(self.time_ms) * self.dt_ms)
        return axes

    def _state(self, population: str, state: str) -> np.ndarray:
        if population not in self.states:
            raise ValueError(unknown(population, "population with recorded states", "this recording", self.states))
        if state not in self.states[population]:
            raise ValueError(
                unknown(state, "recorded state", population, self.states[population]) + f" Add it to run(record={{'{population}': (…)}})."
            )
        return np.asarray(self.states[population][state])

    @staticmethod
    def _si_unit(population: str, state: str, network: Network | None) -> str:
        """'' where nothing says it: without a network only potentials have a name that tells."""
        if network is not None:
            return network.population(population).neuron.si_unit(state)
        return "volt" if state == "v" else ""


def _library(name: str):
    try:
        return import_module(name)
    except ImportError:
        raise ImportError(f"this needs {name}, which is not installed; install it with: pip install 'spiketwin[neo]'", name=name) from None
