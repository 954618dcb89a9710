"""The networks on which every registered model is checked, and the time steps it is checked at."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from spiketwin.models.discretisation import SCHEMES, unsupported_reason
from spiketwin.models.network import Network, PoissonSource, Population, Projection
from spiketwin.models.neurons import neuron
from spiketwin.models.neurons.stimuli import stimulus
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.units import quantity

SINGLE, RECURRENT = "single", "recurrent"
DURATION_MS = 500.0
DELAYS_MS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)


def schemes(spec: NeuronSpec) -> tuple[str, ...]:
    """The schemes that can integrate a model; the one it is normally run with comes first."""
    usable = [s for s in SCHEMES if not unsupported_reason(spec, s)]
    preferred = ("exact", "exponential_euler", "euler_maruyama", "rk4")
    return tuple(sorted(usable, key=lambda s: preferred.index(s) if s in preferred else len(preferred)))


def dt_ms(spec: NeuronSpec, scheme: str) -> float:
    """A step at which the scheme follows the model's spikes: 0.5 ms if it only leaks, less if it draws its own spikes."""
    if spec.name.startswith("hh"):
        return 0.05 if scheme == "exponential_euler" else 0.025 if scheme == "rk4" else 0.01
    return 0.1 if spec.name in ("adex", "izhikevich") else 0.5


def case(name: str, *, seed: int = 1, size: int = 200, singles: int = 10) -> Network:
    """`singles` unconnected neurons with spread parameters, and a random recurrent network of `size` with delays.

    Each neuron is driven by the model's standard stimulus: a current of .8 to 1.4 times the standard one where the
    model takes one, and its own Poisson train where it has a receptor. The network has one synapse in ten possible,
    four in five excitatory, delays from 0 to 5 ms; a recurrent synapse has a tenth of the stimulus' weight.
    """
    spec, standard = neuron(name), stimulus(name)
    rng = np.random.default_rng([seed, *name.encode()])
    populations, projections, sources = [], [], []
    for label, count in ((SINGLE, singles), (RECURRENT, size)):
        drives = {d: quantity(text)[0] * np.linspace(0.8, 1.4, count) for d, text in standard["drive"].items()}
        populations.append(Population(label, spec, count, _spread(spec, count), drives))
        if standard["receptor"]:
            source = PoissonSource(f"{label}_input", count, standard["rate_hz"])
            sources.append(source)
            each_its_own = scipy.sparse.diags_array(np.full(count, quantity(standard["weight"])[0]), format="csr")
            projections.append(Projection(source.name, label, each_its_own, standard["receptor"]))
    if spec.threshold:
        projections += [_recurrent(receptor, standard, size, rng) for receptor in spec.inputs]
    return Network(tuple(populations), tuple(projections), tuple(sources))


def _recurrent(receptor: str, standard: dict, size: int, rng: np.random.Generator) -> Projection:
    connected = rng.random((size, size)) < 0.1
    np.fill_diagonal(connected, False)
    weights = scipy.sparse.csr_array(connected.astype(float))
    excitatory = rng.random(size) < 0.8
    # receptors of conductances take positive weights only: what they do to the membrane is in their reversal potential
    signs = np.ones(size) if receptor.startswith("g_") else np.where(excitatory, 1.0, -1.0)
    strength = 0.1 * quantity(standard["weight"])[0] * rng.uniform(0.5, 1.5, weights.nnz)
    weights.data = strength * signs[weights.indices]
    delays = weights.copy()
    # stored zeros must stay stored: a delay of 0 is a delay
    delays.data = rng.choice(DELAYS_MS, weights.nnz)
    return Projection(RECURRENT, RECURRENT, weights, receptor, delay_ms=delays)


def _spread(spec: NeuronSpec, count: int) -> dict:
    """Membrane time constants (or capacitances) from -20 to +20 % of the default, so that no two neurons are equal."""
    name = next((n for n in ("tau_mem", "c_mem") if n in spec.parameters), None)
    return {} if name is None else {name: spec.parameters[name].value * np.linspace(0.8, 1.2, count)}
