"""Who is connected with whom: each topology is a function of a generator and of which neurons are excitatory.

    random_sparse(p)                 every pair with probability p                                      Vogels & Abbott 2005
    fixed_in_degree(e, i)            every neuron has as many inputs of each kind                       Brunel 2000
    distance_dependent(shape, λ, C)  C exp(-(D/λ)²), the neurons on a grid                              Maass et al. 2002
    ring(degree)                     from the nearest neighbours on a circle
    small_world(degree, p)           a ring whose synapses have a new presynaptic neuron with probability p   Watts & Strogatz 1998
    modular(modules, p_in, p_out)    groups, dense inside and sparse between

No neuron has a synapse onto itself. What they return is adjacency [N_post, N_pre], a sparse matrix of bool.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse

from spiketwin.models.reservoirs.kinds import ByKind, by_kind
from spiketwin.models.units import whole

# generator, whether each neuron is excitatory [N] -> adjacency bool [N_post, N_pre]
Topology = Callable[[np.random.Generator, np.ndarray], scipy.sparse.csr_array]


def random_sparse(probability: float | ByKind[float] = 0.1) -> Topology:
    """Every ordered pair is connected with the same probability, or with one for its kind."""
    chances = _probabilities(by_kind(probability))
    return lambda rng, is_excitatory: _drawn(rng, is_excitatory, lambda post: _chance(chances, is_excitatory, post))


def fixed_in_degree(excitatory: int, inhibitory: int) -> Topology:
    """Every neuron has exactly so many different presynaptic neurons of each kind, all others of that kind where there are fewer."""
    whole(0, excitatory=excitatory, inhibitory=inhibitory)

    def connect(rng: np.random.Generator, is_excitatory: np.ndarray) -> scipy.sparse.csr_array:
        groups = ((np.flatnonzero(is_excitatory), excitatory), (np.flatnonzero(~is_excitatory), inhibitory))
        pre = []
        for post in range(len(is_excitatory)):
            chosen = []
            for members, degree in groups:
                # one more than needed: where the neuron itself is among them it is left out
                drawn = rng.choice(members, min(degree + 1, len(members)), replace=False) if degree else members[:0]
                chosen.append(drawn[drawn != post][:degree])
            pre.append(np.concatenate(chosen))
        return _joined(pre)

    return connect


def distance_dependent(shape: tuple[int, ...], lam: float, probability: float | ByKind[float] = 1.0) -> Topology:
    """Neurons on a grid of unit spacing: P = C exp(-(D/lam)²) with D the Euclidean distance and C of the kind.

    Neuron n stands at np.unravel_index(n, shape).  Source: Maass, Natschläger & Markram 2002, section 4.
    """
    if not (np.isfinite(lam) and lam > 0):
        raise ValueError(f"lam = {lam}, the reach of connections in units of the grid, must be positive and finite")
    chances, at = _probabilities(by_kind(probability)), positions(shape)

    def connect(rng: np.random.Generator, is_excitatory: np.ndarray) -> scipy.sparse.csr_array:
        if len(is_excitatory) != len(at):
            raise ValueError(f"a grid of shape {shape} has {len(at)} places, but there are {len(is_excitatory)} neurons; make size equal")

        def chance(post: int) -> np.ndarray:
            squared = ((at - at[post]) ** 2).sum(axis=1)
            return _chance(chances, is_excitatory, post) * np.exp(-squared / lam**2)

        return _drawn(rng, is_excitatory, chance)

    return connect


def positions(shape: tuple[int, ...]) -> np.ndarray:
    """Places of a grid [N, dimensions], N the product of shape. Raises ValueError for a shape without places."""
    if not shape:
        raise ValueError("shape = () has no dimension; give one length or more, such as (15, 3, 3)")
    whole(1, **{f"shape[{k}]": length for k, length in enumerate(shape)})
    return np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=1).astype(float)


def ring(degree: int = 10) -> Topology:
    """Every neuron listens to its `degree` nearest neighbours on a circle, half on each side. Raises ValueError for an odd degree."""
    return small_world(degree, 0.0)


def small_world(degree: int = 10, rewiring: float = 0.1) -> Topology:
    """A ring where each synapse, with probability `rewiring`, comes from a random neuron instead; in-degrees stay what they are.

    0 is the ring: clustering 3(k - 2)/(4(k - 1)); 1 is random: clustering k/N.
    Source: Watts & Strogatz 1998, for directed edges.
    """
    if degree < 2 or degree % 2:
        raise ValueError(f"degree = {degree} must be an even number, 2 or more: as many neighbours on each side")
    if not 0 <= rewiring <= 1:
        raise ValueError(f"rewiring = {rewiring} is a probability: 0 … 1")

    def connect(rng: np.random.Generator, is_excitatory: np.ndarray) -> scipy.sparse.csr_array:
        size = len(is_excitatory)
        if degree > size - 1:
            raise ValueError(f"degree = {degree} needs a ring of more than {size} neurons; lower it")
        steps = np.concatenate([np.arange(1, degree // 2 + 1), -np.arange(1, degree // 2 + 1)])
        pre = (np.arange(size)[:, None] + steps) % size
        moved = rng.random(pre.shape) < rewiring
        for post in np.flatnonzero(moved.any(axis=1)):
            kept = pre[post, ~moved[post]]
            free = np.setdiff1d(np.arange(size), [*kept, post])
            pre[post, moved[post]] = rng.choice(free, moved[post].sum(), replace=False)
        return _adjacency(np.repeat(np.arange(size), degree), pre.ravel(), size)

    return connect


def modular(modules: int = 5, within: float = 0.3, between: float = 0.01) -> Topology:
    """Neurons in `modules` groups of neighbouring numbers, as equal as can be: pairs are connected with `within` inside, `between` across."""
    for name, value in (("within", within), ("between", between)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} = {value} is a probability: 0 … 1")
    whole(1, modules=modules)

    def connect(rng: np.random.Generator, is_excitatory: np.ndarray) -> scipy.sparse.csr_array:
        if modules > len(is_excitatory):
            raise ValueError(f"modules = {modules} need a neuron each, but there are {len(is_excitatory)}; lower it")
        module = module_of(len(is_excitatory), modules)
        return _drawn(rng, is_excitatory, lambda post: np.where(module == module[post], within, between))

    return connect


def module_of(size: int, modules: int) -> np.ndarray:
    """The number of the module of each neuron [size]."""
    return np.arange(size) * modules // size


def _probabilities(values: ByKind[float]) -> ByKind[float]:
    for kind in ("ee", "ei", "ie", "ii"):
        if not 0 <= values[kind] <= 1:
            raise ValueError(f"the probability of {kind} synapses is {values[kind]}; it must lie within 0 … 1")
    return values


def _chance(values: ByKind[float], is_excitatory: np.ndarray, post: int) -> np.ndarray:
    return np.where(is_excitatory, values.ee, values.ie) if is_excitatory[post] else np.where(is_excitatory, values.ei, values.ii)


def _drawn(rng: np.random.Generator, is_excitatory: np.ndarray, chance: Callable[[int], np.ndarray]) -> scipy.sparse.csr_array:
    """Every synapse by itself; chance: postsynaptic neuron -> probability [N_pre]."""
    size, pre = len(is_excitatory), []
    for post in range(size):
        connected = rng.random(size) < chance(post)
        connected[post] = False
        pre.append(np.flatnonzero(connected))
    return _joined(pre)


def _joined(pre: list[np.ndarray]) -> scipy.sparse.csr_array:
    """From the presynaptic neurons of each neuron."""
    return _adjacency(np.repeat(np.arange(len(pre)), [len(p) for p in pre]), np.concatenate(pre), len(pre))


def _adjacency(post: np.ndarray, pre: np.ndarray, size: int) -> scipy.sparse.csr_array:
    matrix = scipy.sparse.csr_array((np.ones(len(pre), dtype=bool), (post, pre)), shape=(size, size))
    matrix.sort_indices()
    return matrix
