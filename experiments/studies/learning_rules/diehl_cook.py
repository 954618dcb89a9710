"""Digits without labels: the network of Diehl & Cook (2015), built and shown one image after the other.

    784 Poisson inputs --plastic, delays 0 … 10 ms--> n excitatory neurons --one to one--> n inhibitory neurons,
    each of which inhibits all excitatory neurons but its own.

Each image lasts 350 ms at rates of pixel/8 times the intensity in Hz, then the network rests for 150 ms. An image that draws
fewer than five excitatory spikes is shown again, stronger. Before each presentation the weights of every neuron are scaled
to sum 78. Source: Diehl & Cook 2015, section 2; Brian2's example Diehl_Cook_2015.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse

from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import neuron
from spiketwin.models.plasticity import Normalisation, PlasticityRule
from spiketwin.models.spec import NeuronSpec
from spiketwin.rules.plasticity.diehl_cook import COLUMN_SUM, diehl_cook

if TYPE_CHECKING:
    from spiketwin.models.engines.compiled.session import Session

INPUT, EXCITATORY, INHIBITORY, LEARNING = "input", "exc", "inh", "input_to_exc"


@dataclass(frozen=True)
class Protocol:
    """How images are shown."""

    dt_ms: float = 0.5
    """Time step in ms."""
    image_ms: float = 350.0
    """How long an image is shown, in ms."""
    rest_ms: float = 150.0
    """How long the network rests after it, in ms."""
    rate_hz: float = 255 / 8
    """Rate of a pixel of full brightness at intensity 1, in Hz."""
    intensity: float = 2.0
    """Factor on all rates of a first presentation."""
    intensity_step: float = 1.0
    """What each further presentation adds to it."""
    fewest_spikes: int = 5
    """Excitatory spikes that a presentation must draw to count."""
    most_presentations: int = 20
    """Presentations of one image after which it is given up: a black image never draws a spike."""
    scheme: str = "euler"
    """How the neurons are integrated; the published script takes forward Euler, which may ring: see STABLE."""

    def __post_init__(self) -> None:
        for name in ("dt_ms", "image_ms", "rate_hz", "intensity", "most_presentations"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive")
        if not self.rest_ms >= self.dt_ms:
            raise ValueError(f"rest_ms = {self.rest_ms} must last a step of {self.dt_ms} ms at least")


class Response(NamedTuple):
    """What one image drew. counts: spikes of each excitatory neuron [n] in the last presentation. presentations: how many it took.
    fired: excitatory neurons that fired in any of them, rests included."""

    counts: np.ndarray
    presentations: int
    fired: np.ndarray


def all_but_own(neurons: int, strength: float = 17.0) -> np.ndarray:
    """Weights [N, N] in nS: each inhibitory neuron inhibits all excitatory neurons but its own, equally."""
    return strength * (1 - np.eye(neurons))


def growing(neurons: int, strength: float = 17.0) -> np.ndarray:
    """Weights [N, N] in nS that grow with the root of the distance on a square lattice, up to `strength` at a quarter of its side.

    Neighbours may fire together, so that they come to look for similar images. Source: Hazan et al. 2018, arXiv:1807.09374, section III.B.
    """
    side = math.ceil(math.sqrt(neurons))
    y, x = np.divmod(np.arange(neurons), side)
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    return strength * np.minimum(np.sqrt(distance / (side / 4)), 1)


# Forward Euler multiplies a neuron's distance from the inhibitory reversal potential by 1 - g_inh dt/tau: where n neurons fire in one step,
# g_inh = 17 n nS over a leak of 1 nS, so that beyond n = 2 tau/(17 dt) = 23 (tau 100 ms, dt .5 ms) the inhibited swing to the other side,
# further than they came from, above threshold: all fire in each refractory period from then on, and thresholds only rise. It is rare, and
# no property of the equations: exponential Euler does not ring at any step.
STABLE = "exponential_euler"


def scaled(excitatory: NeuronSpec) -> NeuronSpec:
    """The neuron with a gain on what excites it: a state that stays as it is set, for weights that cannot be scaled themselves."""
    equations = excitatory.equations.replace("(g_exc*(e_exc - v)", "(gain*g_exc*(e_exc - v)") + "\ndgain/dt = 0*gain/tau_mem : 1"
    return replace(excitatory, name=f"{excitatory.name}_scaled", equations=equations, initial={**excitatory.initial, "gain": "1"})


LATERAL: Mapping[str, Callable[[int, float], np.ndarray]] = MappingProxyType({"uniform": all_but_own, "growing": growing})


def build(
    neurons: int,
    *,
    inputs: int = 784,
    seed: int = 0,
    rule: PlasticityRule = diehl_cook,
    column_sum: float | None = COLUMN_SUM,
    weights: np.ndarray | None = None,
    inhibition: Callable[[int], np.ndarray] = all_but_own,
    homeostasis: Mapping[str, float] = MappingProxyType({}),
    gain: bool = False,
) -> Network:
    """The network with random weights and delays. Weights are in nS, the unit of the leak; so is the published 1.

    rule, column_sum: how the weights from the input learn, and their sum for 784 inputs; None: nothing keeps it.
    weights: those from the input [N, inputs] at the start, in place of the published. inhibition: neurons -> weights [N, N].
    homeostasis: parameters of the excitatory neurons that differ from the published, such as theta_plus in mV. gain: whether they have one.
    """
    rng = np.random.default_rng([seed, 1])
    published = 0.3 * (rng.random((neurons, inputs)) + 0.01)
    delay_ms = rng.uniform(0, 10, (neurons, inputs))
    one_to_one = scipy.sparse.diags_array(np.full(neurons, 10.4), format="csr")
    exc, inh = neuron("diehl_cook_exc"), neuron("diehl_cook_inh")
    exc = scaled(exc) if gain else exc
    # everything starts well below rest: the first image finds no neuron ahead of the others
    populations = (
        Population(EXCITATORY, exc, neurons, homeostasis, initial={"v": "-105 mV"}),
        Population(INHIBITORY, inh, neurons, initial={"v": "-100 mV"}),
    )
    # the published sum is that of 784 pixels
    normalisation = None if column_sum is None else Normalisation(column_sum * inputs / 784)
    learnt = published if weights is None else weights
    projections = (
        Projection(INPUT, EXCITATORY, learnt, "g_exc", "nS", delay_ms, name=LEARNING, rule=rule, normalisation=normalisation),
        Projection(EXCITATORY, INHIBITORY, one_to_one, "g_exc", "nS"),
        Projection(INHIBITORY, EXCITATORY, inhibition(neurons), "g_inh", "nS"),
    )
    return Network(populations, projections, (SpikeSource(INPUT, inputs),))


def start(
    neurons: int | Network, protocol: Protocol | None = None, *, inputs: int = 784, seed: int = 0, dtype: str = "float64", threads: int = 0
) -> Session:
    """The network, of published parts or one that was built, in the compiled engine, ready to be shown images.

    Integrated by the protocol's scheme. threads: as in CompiledEngine.
    """
    from spiketwin.models.engines.compiled import CompiledEngine

    protocol = protocol or Protocol()
    network = neurons if isinstance(neurons, Network) else build(neurons, inputs=inputs, seed=seed)
    return CompiledEngine(dtype=dtype, threads=threads).start(network, dt_ms=protocol.dt_ms, scheme=protocol.scheme, seed=seed)


def present(session: Session, image: np.ndarray, protocol: Protocol | None = None) -> Response:
    """Show one image [inputs] of intensities 0 … 1 until it draws enough spikes.

    Raises ValueError for intensities outside 0 … 1.
    """
    protocol = protocol or Protocol()
    image = np.asarray(image, dtype=float)
    if not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"intensities lie between {image.min():g} and {image.max():g}; scale them to 0 … 1")
    shown, counts, presentations = round(protocol.image_ms / protocol.dt_ms), np.zeros(0, int), 0
    fired: set[int] = set()
    while presentations < protocol.most_presentations and (not presentations or counts.sum() < protocol.fewest_spikes):
        session.normalise()
        rates = image * (protocol.rate_hz * (protocol.intensity + presentations * protocol.intensity_step))
        spikes = session.run({INPUT: rates}, duration_ms=protocol.image_ms + protocol.rest_ms, input_ms=protocol.image_ms).spikes[
            EXCITATORY
        ]
        counts = np.bincount(spikes.neuron[spikes.step < shown], minlength=spikes.shape[2])
        fired |= set(spikes.neuron.tolist())
        presentations += 1
    return Response(counts, presentations, np.array(sorted(fired), int))


def show(session: Session, images: Iterable[np.ndarray], protocol: Protocol | None = None) -> Iterator[Response]:
    """Show images one after the other; a Response each."""
    for image in images:
        yield present(session, image, protocol)
