"""A liquid: a recurrent network that echoes its input, of any neuron model and topology.

    build = partial(liquid, size=500, topology=small_world(20, 0.1), neuron="adex", parameters={"tau_w": lognormal(150, 0.3)})
    network = build(inputs=40, seed=1).network

Weights are given by what one spike does: 0.1 moves a resting neuron by a tenth of the way from rest to threshold at the height of
the postsynaptic potential (response.py), whatever the neuron model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import neuron as named
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.reservoirs.assembly import Delay, Value, placed_evenly, recurrent, values_of
from spiketwin.models.reservoirs.kinds import ByKind, Ends
from spiketwin.models.reservoirs.response import Receptor, holding_current, receptors
from spiketwin.models.reservoirs.strengths import Strengths, drawn, per_root_degree
from spiketwin.models.reservoirs.topology import Topology, fixed_in_degree
from spiketwin.models.reservoirs.wiring import Wiring, listens_to
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.stacks.heterogeneity import Sampler, gamma, uniform
from spiketwin.models.units import whole

INPUT = "input"
POPULATION = "liquid"

# Inhibition is a quarter as frequent and eight times as strong, so that it wins 2 : 1: driven by 20 to 80 channels at 10 to 50 Hz,
# 135 to 4,000 neurons then fire irregularly (CV .7 to 1.1) at 9 to 30 Hz on average. The same number of inputs for each neuron
# keeps single ones from firing at 200 Hz because they happen to have no inhibition.
CONNECTED = fixed_in_degree(16, 4)
RECURRENT = per_root_degree(drawn(ByKind(0.2, 0.2, -1.6, -1.6), gamma(1.0, shape=4.0)))
BACKGROUND = uniform(0.7, 0.95)
HEARD, HEARD_STRENGTH = listens_to(8), gamma(0.05, shape=4.0)
DELAYS_MS = ByKind(1.5, 0.8, 0.8, 0.8)  # Maass, Natschläger & Markram 2002


@dataclass(frozen=True, eq=False)
class Liquid:
    """A network that echoes its input, and who is listened to.

    network: has one SpikeSource named INPUT.  read: populations that a read-out sees, in this order.
    is_excitatory: bool [size] over the read populations.
    Raises ValueError when these do not fit each other.
    """

    network: Network
    read: tuple[str, ...]
    is_excitatory: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "read", tuple(self.read))
        object.__setattr__(self, "is_excitatory", np.asarray(self.is_excitatory, dtype=bool))
        sources = [s.name for s in self.network.sources]
        if sources.count(INPUT) != 1:
            raise ValueError(f"a liquid needs a SpikeSource named '{INPUT}', but its sources are {sources}")
        if self.is_excitatory.shape != (self.size,):
            raise ValueError(f"is_excitatory has shape {self.is_excitatory.shape}, but {self.size} neurons are read")

    @property
    def size(self) -> int:
        """How many neurons are read."""
        return sum(self.network.population(name).size for name in self.read)

    @property
    def inputs(self) -> int:
        """How many channels the input has."""
        return self.network.size_of(INPUT)


def liquid(
    inputs: int,
    size: int = 135,
    *,
    topology: Topology = CONNECTED,
    strengths: Strengths = RECURRENT,
    neuron: str | NeuronSpec = "cuba_lif",
    parameters: Mapping[str, Value] | None = None,
    background: float | Sampler = BACKGROUND,
    excitatory: float = 0.8,
    connection_scale: float = 1.0,
    inhibition: float = 1.0,
    input_scale: float = 1.0,
    wiring: Wiring = HEARD,
    input_strength: Sampler = HEARD_STRENGTH,
    delay_ms: Delay | ByKind[Delay] = DELAYS_MS,
    rule: PlasticityRule | None | ByKind[PlasticityRule | None] = None,
    seed: int = 0,
) -> Liquid:
    """One population, 'liquid', with projections 'ee', 'ei', 'ie' and 'ii' onto itself and 'input_to_liquid' from INPUT, all read;
    and 'inhibiting_input_to_liquid' where strengths of the input are negative.

    inputs: channels.  size: neurons.  topology, strengths: who is connected, how strongly (topology.py, strengths.py).
    neuron: a model with a threshold, or its name.  parameters: values that differ from its defaults, or distributions, such as
    {"tau_mem": lognormal(20, 0.3)}.
    background: constant current, as the share of the way to threshold at which it holds a neuron; a number or a distribution. The default
    holds neurons near threshold: the liquid answers weak inputs, but a difference in its state grows. uniform(0, 0.5) with input_scale=2
    and connection_scale=0.5 makes one that forgets (experiments/reservoirs/diagnostics).
    excitatory: share of the neurons; the others inhibit, and stand at even distances among them.
    connection_scale: factor on all recurrent weights.  inhibition: factor on those of inhibitory neurons.  input_scale: on those of
    the input.  wiring, input_strength: which channels a neuron hears, and how strongly, in the distance to threshold; of_both_signs
    (models/stacks/heterogeneity.py) lets channels excite and inhibit.
    delay_ms: a number or a distribution, for all synapses or by kind.  rule: how recurrent synapses change, for all or by kind.
    Raises ValueError naming the argument to change.
    """
    spec = _spiking(neuron)
    whole(1, inputs=inputs, size=size)
    whole(0, seed=seed)
    check_scales(connection_scale=connection_scale, inhibition=inhibition, input_scale=input_scale)
    check_functions(topology=topology, strengths=strengths, wiring=wiring, input_strength=input_strength)
    at_excitatory, at_inhibitory = receptors(spec)
    # a stream for each part, so that a change of one leaves the others as they are
    draws = [np.random.default_rng([seed, part]) for part in range(6)]
    is_excitatory = placed_evenly(size, excitatory)
    ends = Ends(is_excitatory, is_excitatory)
    weights = strengths(draws[1], topology(draws[0], is_excitatory), ends)
    weights = weights @ scipy.sparse.diags_array(connection_scale * np.where(is_excitatory, 1.0, inhibition))
    cells = Population(
        POPULATION, spec, size, values_of(parameters or {}, size, draws[2]), background_current(spec, background, size, draws[3])
    )
    inside = recurrent(
        POPULATION,
        scipy.sparse.csr_array(weights),
        ends,
        draws[4],
        receptors=ByKind(at_excitatory, at_excitatory, at_inhibitory, at_inhibitory),
        delay_ms=delay_ms,
        rule=rule,
    )
    heard = wiring(draws[5], size, inputs)
    strength = input_strength(heard.nnz, draws[5]) * input_scale
    entering = scipy.sparse.csr_array((strength, heard.indices, heard.indptr), shape=heard.shape)
    sources = entry(entering, at_excitatory, at_inhibitory)
    return Liquid(Network([cells], [*sources, *inside], [SpikeSource(INPUT, inputs)]), (POPULATION,), is_excitatory)


def entry(strengths: scipy.sparse.csr_array, at_excitatory: Receptor, at_inhibitory: Receptor) -> list[Projection]:
    """The projection of the input's synapses that excite, always there, and that of those that inhibit, if any do."""
    entries, name, made = strengths.tocoo(), f"{INPUT}_to_{POPULATION}", []
    inhibits = entries.data < 0
    for label, own, at in ((name, ~inhibits, at_excitatory), (f"inhibiting_{name}", inhibits, at_inhibitory)):
        if own.any() or label == name:
            weights = entries.data[own] * at.weight
            matrix = scipy.sparse.csr_array((weights, (entries.row[own], entries.col[own])), shape=strengths.shape)
            made.append(Projection(INPUT, POPULATION, matrix, at.name, at.unit, name=label))
    return made


def background_current(spec: NeuronSpec, background: float | Sampler, size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The drive that holds each neuron at its share of the way from rest to threshold, in SI; {} for 0."""
    share = background(size, rng) if callable(background) else np.full(size, float(background))
    if not share.any():
        return {}
    drive, holding = holding_current(spec)
    return {drive: share * holding}


def _spiking(neuron: str | NeuronSpec) -> NeuronSpec:
    spec = named(neuron) if isinstance(neuron, str) else neuron
    if not spec.threshold:
        raise ValueError(f"'{spec.name}' never spikes, so a liquid of it is silent; choose a model with a threshold")
    return spec


def check_scales(**scales: float) -> None:
    """Raises ValueError for a factor that is negative or not finite."""
    for name, value in scales.items():
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} = {value} must be finite and not negative; signs are those of the strengths")


def check_functions(**values: object) -> None:
    """Raises ValueError for what is no function, such as a name: topology='ring'."""
    for name, value in values.items():
        if not callable(value):
            raise ValueError(
                f"{name} = {value!r} is no function; give one, as those of models/reservoirs and heterogeneity.py: topology=ring(10)"
            )
