"""A trained network as the cross-check sees it, whatever trained it.

    subject(trained)      of a time-to-first-spike network (studies/gradients/ttfs.py) or of a Classifier (classifier.py there)

An experiment offers its networks through one function:

    def networks(config, seed, *, folder=None, quiet=False) -> dict[str, Classifier | ttfs.Trained]

trained with these settings, by name; from the checkpoints in `folder` where they are finished.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from spiketwin.experiments.studies.gradients import ttfs
from spiketwin.models.engines import get_engine
from spiketwin.models.network import Network
from spiketwin.models.recording import Recording
from spiketwin.models.stacks.arrivals import once_per_step

Inputs = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network, its test samples, and what torch makes of them in double precision, so that no tie is decided by rounding.

    network: at the step of training.  layers: populations whose spikes are compared.  record: what to record; the first state of
    each is compared, too.  inputs: (indices of samples, how many times finer the step is) -> what an engine is given.
    reference: indices -> the run in torch at the training step.  decide: a run of any engine -> classes [B].
    finer: factor -> the network at a step so many times finer, where it is another one; `network` where there is none.
    aligned: a recording of an engine -> with each population in the steps that torch has; as it is where there is none.
    """

    name: str
    network: Network
    dt_ms: float
    scheme: str
    labels: np.ndarray
    layers: tuple[str, ...]
    record: Mapping[str, tuple[str, ...]]
    inputs: Callable[[np.ndarray, int], Inputs]
    reference: Callable[[np.ndarray], Recording]
    decide: Callable[[Recording], np.ndarray]
    finer: Callable[[int], Network] | None = None
    aligned: Callable[[Recording], Recording] | None = None

    def run(self, engine: str, index: np.ndarray, factor: int = 1, progress: Callable[[float], None] | None = None) -> Recording:
        """The samples `index` in an engine, at a step `factor` times finer than in training."""
        network = self.finer(factor) if self.finer and factor > 1 else self.network
        step = {"dt_ms": self.dt_ms / factor, "scheme": self.scheme}
        done = get_engine(engine).run(network, self.inputs(index, factor), **step, record=self.record, progress=progress)
        return self.aligned(done) if self.aligned else done

    def once_per_step(self) -> Subject:
        """With a refractory period of one step of training: in finer steps, too, a neuron fires at most as often as it could then."""
        finer = self.finer and (lambda factor, of=self.finer: once_per_step(of(factor), self.dt_ms))
        return replace(self, name=f"{self.name}_once_per_step", network=once_per_step(self.network, self.dt_ms), finer=finer)


def subject(trained: Any, name: str = "") -> Subject:
    """Of a network that a study has trained. name: in the report; by default that of the experiment.

    Raises TypeError for what is none, ValueError for one that has no form outside torch.
    """
    if isinstance(trained, Subject):
        return trained
    if isinstance(trained, ttfs.Trained):
        return _of_first_spikes(trained, name)
    if hasattr(trained, "net") and hasattr(trained, "feed"):
        return (_of_event_network if hasattr(trained.net, "inside") else _of_classifier)(trained, name)
    raise TypeError(f"a {type(trained).__name__} is no trained network; give a Classifier or a ttfs.Trained")


def _of_first_spikes(trained: ttfs.Trained, name: str) -> Subject:
    def inputs(index: np.ndarray, factor: int) -> Inputs:
        spikes = trained.inputs[ttfs.INPUT].trials(index)
        return {ttfs.INPUT: spikes.refined(factor) if factor > 1 else spikes}

    made = Subject(
        name=name or f"trained_{trained.experiment.removesuffix('_ttfs')}",
        network=trained.network,
        dt_ms=trained.dt_ms,
        scheme=trained.scheme,
        labels=trained.labels,
        layers=(ttfs.HIDDEN,),
        record={ttfs.OUTPUT: ("v",)},
        inputs=inputs,
        reference=lambda index: made.run("torch", index),
        decide=lambda run: ttfs.decide(run.states[ttfs.OUTPUT]["v"]),
    )
    return made


def _of_event_network(trained: Any, name: str) -> Subject:
    """A Classifier around a TorchNetwork, `net.inside`, which is fed Spikes; the last population is read out."""
    import torch

    from spiketwin.models.engines.torch.stacks import StackActivity

    samples, network = trained.data.test, trained.net.to_network()
    source, last = network.sources[0].name, network.populations[-1].name

    def inputs(index: np.ndarray, factor: int) -> Inputs:
        spikes = trained.feed(samples, index, None)
        return {source: spikes.refined(factor) if factor > 1 else spikes}

    def decide(run: Recording) -> np.ndarray:
        v = torch.as_tensor(np.concatenate([run.states[last]["v"][1:], run.final[last]["v"][None]]))
        return trained.scores(StackActivity(v, {}, {}, {})).argmax(1).numpy()

    made = Subject(
        name=name or f"trained_{trained.data.name}",
        network=network,
        dt_ms=trained.net.inside.dt_ms,
        scheme=trained.net.inside.scheme,
        labels=samples.labels,
        layers=tuple(p.name for p in network.populations if p.neuron.threshold),
        record={last: ("v",)},
        inputs=inputs,
        reference=lambda index: made.run("torch", index),
        decide=decide,
    )
    return made


def _of_classifier(trained: Any, name: str) -> Subject:
    """A Classifier is fed numbers, which become currents, unless all that it is fed are spikes."""
    import copy

    import torch

    from spiketwin.models.engines.torch.stacks import Stack
    from spiketwin.models.engines.torch.stacks.export import export
    from spiketwin.models.engines.torch.stacks.exported import name_of, recording_of

    if not isinstance(trained.net, Stack):
        raise TypeError(f"'{name}' is a {type(trained.net).__name__}, which has no spikes; offer networks that do")
    samples, net = trained.data.test, copy.deepcopy(trained.net).cpu().double().eval()
    for layer in net.neuron_layers().values():
        layer.network.kernels = "torch"  # the derived step itself: shares no code with the compiled kernels, and has none to compile
    first = trained.feed(samples, np.arange(min(10, len(samples))), None)
    over_time = first.ndim == 2 + len(net.declaration.input_shape)
    written = export(net, analog=not (over_time and bool(((first == 0) | (first == 1)).all())))
    last = list(net.neuron_layers())[-1]
    record = {
        **(trained.record or {}),
        **({} if net.neuron_layers()[last].spec.threshold else {last: net.neuron_layers()[last].spec.states[:1]}),
    }
    if strange := [layer for layer in record if name_of(layer) in written.stateless]:
        raise ValueError(f"'{name}' is read by states of '{strange[0]}', which other engines add to at another moment of a step")

    @torch.no_grad()
    def reference(index: np.ndarray) -> Recording:
        done = net(trained.feed(samples, index, None).double(), steps=trained.steps, record=record)
        return recording_of(net, done)

    def decide(run: Recording) -> np.ndarray:
        return trained.scores(written.activity(run)).argmax(1).numpy()

    return Subject(
        name=name or f"trained_{trained.data.name}",
        network=written.network,
        dt_ms=written.dt_ms,
        scheme=written.scheme,
        labels=samples.labels,
        layers=tuple(p.name for p in written.network.populations if p.neuron.threshold),
        record={name_of(layer): kept for layer, kept in record.items()},
        inputs=lambda index, factor: written.inputs(trained.feed(samples, index, None), trained.steps, factor=factor),
        reference=reference,
        decide=decide,
        finer=cache(written.at),
        aligned=written.aligned,
    )
