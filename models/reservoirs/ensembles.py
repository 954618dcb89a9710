"""Several liquids with one joint read-out: side by side on parts of the input, with different time constants, or one behind the other.

    partitioned               several small liquids, each on its part of the channels          Wijesinghe et al. 2019
    several_time_constants    liquids on the whole input, one for each time constant
    deep                      layers, with winner-take-all encoders between them               Wang & Li 2016

build is any function of `inputs` and `seed` that returns a Liquid: liquid, maass_column, a partial of one, or an ensemble again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse

from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import neuron as named
from spiketwin.models.plasticity import Normalisation, PlasticityRule
from spiketwin.models.reservoirs.liquid import INPUT, Liquid, check_scales, liquid
from spiketwin.models.reservoirs.response import Receptor, psp_area_s, psp_height, receptors
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.stacks.heterogeneity import gamma
from spiketwin.models.units import whole

Build = Callable[..., Liquid]
EXPECTED_HZ = 15.0  # of a liquid that encoders listen to; the rate at which their feed-forward drive is `drive`
FEED_SPREAD = gamma(1.0, shape=1.0)  # encoders prefer different neurons


def partitioned(inputs: int, parts: int | Sequence[Sequence[int]] = 4, *, build: Build = liquid, seed: int = 0, **options: Any) -> Liquid:
    """One liquid for each part of the input, populations 'part0_liquid', 'part1_liquid', …, all read.

    parts: how many, for equal runs of neighbouring channels, or the channels of each part.
    options: for each build(inputs=…, seed=…, **options); a size is that of one part.
    Raises ValueError for more parts than channels, no part, an empty one, and a channel that does not exist or is named twice in one.
    Source: Wijesinghe, Srinivasan, Panda & Roy 2019, Front. Neurosci. 13:504.
    """
    whole(1, inputs=inputs)
    if isinstance(parts, int | float | np.number):
        whole(1, parts=parts)
        if parts > inputs:
            raise ValueError(f"parts = {parts} of an input of {inputs} channels; give 1 … {inputs}")
        channels = np.array_split(np.arange(inputs), parts)
    else:
        channels = [np.asarray(part, dtype=np.int64) for part in parts]
    if not channels:
        raise ValueError("parts is empty; give the channels of one part or more")
    for k, part in enumerate(channels):
        if not part.size or part.min() < 0 or part.max() >= inputs:
            raise ValueError(f"part {k} has the channels {part.tolist()}; give one or more of 0 … {inputs - 1}")
        if len(np.unique(part)) < len(part):
            raise ValueError(f"part {k} names a channel twice: {part.tolist()}; name each once")
    built = [build(inputs=len(part), seed=seeds, **options) for part, seeds in zip(channels, _seeds(seed, len(channels)))]
    return joint(built, channels, inputs, [f"part{k}_" for k in range(len(built))])


def several_time_constants(
    inputs: int,
    taus_ms: Sequence[float] = (5.0, 20.0, 80.0),
    *,
    parameter: str = "tau_mem",
    neuron: str | NeuronSpec = "cuba_lif",
    build: Build = liquid,
    seed: int = 0,
    **options: Any,
) -> Liquid:
    """One liquid on the whole input for each value of a neuron parameter, populations 'tau5_liquid', …, all read.

    taus_ms: in the parameter's unit.  options: for each build(inputs=…, neuron=…, seed=…, **options); a size is that of one liquid.
    """
    if not len(taus_ms):
        raise ValueError("taus_ms is empty; give one time constant or more")
    spec = named(neuron) if isinstance(neuron, str) else neuron
    built = [
        build(inputs=inputs, neuron=spec.with_defaults(**{parameter: float(tau)}), seed=each, **options)
        for tau, each in zip(taus_ms, _seeds(seed, len(taus_ms)))
    ]
    prefixes = [f"tau{tau:g}_".replace(".", "p") for tau in taus_ms]
    return joint(built, [np.arange(inputs)] * len(built), inputs, prefixes)


def deep(
    inputs: int,
    layers: Sequence[int] = (135, 135),
    *,
    encoders: int = 20,
    encoder: str | NeuronSpec = "adaptive_lif",
    drive: float = 3.0,
    lateral: float = 0.3,
    rule: PlasticityRule | None = None,
    normalisation: Normalisation | None = None,
    build: Build = liquid,
    seed: int = 0,
    **options: Any,
) -> Liquid:
    """Liquids 'layer0_liquid', 'layer1_liquid', … with encoders 'encoder0', … between them; all liquids are read.

    layers: neurons of each liquid.  encoders: neurons of each encoder; they hear the excitatory neurons of the liquid before
    ('feed0', …), inhibit each other ('lateral0', …), so that the one that fires first silences the others for a while, and are the
    input of the liquid behind.
    encoder: their model; a threshold that adapts lets others win, too.
    drive: how far towards threshold a liquid of 15 Hz drives an encoder, on average.  lateral: how far down a winner pushes the others.
    Neither may be negative.
    rule, normalisation: how feed-forward weights learn, by STDP in the paper; without a rule they stay random.
    options: for each build(inputs=…, size=…, seed=…, **options).
    Source: Wang & Li 2016, D-LSM, ICPR 2016.
    """
    if not len(layers):
        raise ValueError("layers is empty; give the sizes of one liquid or more")
    check_scales(drive=drive, lateral=lateral)
    if encoders < 2:
        raise ValueError(f"encoders = {encoders}: a competition needs 2 or more")
    spec = named(encoder) if isinstance(encoder, str) else encoder
    seeds = _seeds(seed, 2 * len(layers))
    populations, projections, read, kinds, source, width = [], [], [], [], INPUT, inputs
    for k, size in enumerate(layers):
        part = build(inputs=width, size=size, seed=seeds[2 * k], **options)
        own, inner = attached(part, f"layer{k}_", source, np.arange(width), width)
        populations, projections = [*populations, *own], [*projections, *inner]
        read += [f"layer{k}_{name}" for name in part.read]
        kinds.append(part.is_excitatory)
        if k + 1 < len(layers):
            source, width = f"encoder{k}", encoders
            populations.append(Population(source, spec, encoders))
            rng = np.random.default_rng(seeds[2 * k + 1])
            projections += _feed(part, k, spec, encoders, drive, rng, rule, normalisation)
            projections.append(_lateral(k, spec, encoders, lateral))
    return Liquid(Network(populations, projections, [SpikeSource(INPUT, inputs)]), tuple(read), np.concatenate(kinds))


def _feed(
    part: Liquid,
    k: int,
    spec: NeuronSpec,
    encoders: int,
    drive: float,
    rng: np.random.Generator,
    rule: PlasticityRule | None,
    normalisation: Normalisation | None,
) -> list[Projection]:
    """From the excitatory neurons of each read population of a layer to its encoders."""
    at, made = receptors(spec)[0], []
    edges = np.cumsum([0, *(part.network.population(name).size for name in part.read)])
    each = _weight_for(drive, spec, at, rate_hz=EXPECTED_HZ * max(1, part.is_excitatory.sum()))
    for name, first, end in zip(part.read, edges, edges[1:]):
        heard = np.flatnonzero(part.is_excitatory[first:end])
        value = each * FEED_SPREAD(encoders * len(heard), rng)
        places = (np.repeat(np.arange(encoders), len(heard)), np.tile(heard, encoders))
        weights = scipy.sparse.csr_array((value, places), shape=(encoders, end - first))
        label = f"feed{k}" if len(part.read) == 1 else f"feed{k}_{name}"
        made.append(
            Projection(
                f"layer{k}_{name}",
                f"encoder{k}",
                weights,
                at.name,
                at.unit,
                delay_ms=1.0,
                name=label,
                rule=rule,
                normalisation=normalisation,
            )
        )
    return made


def _weight_for(drive: float, spec: NeuronSpec, at: Receptor, *, rate_hz: float) -> float:
    """The weight with which spikes at rate_hz hold v at `drive` of the way to threshold, by the area of the potential."""
    return drive * at.weight / (rate_hz * psp_area_s(spec, at.name) / abs(psp_height(spec, at.name)))


def _lateral(k: int, spec: NeuronSpec, encoders: int, lateral: float) -> Projection:
    at = receptors(spec)[1]
    others = scipy.sparse.csr_array(1.0 - np.eye(encoders))
    return Projection(f"encoder{k}", f"encoder{k}", -lateral * at.weight * others, at.name, at.unit, name=f"lateral{k}", trainable=False)


def joint(parts: Sequence[Liquid], channels: Sequence[np.ndarray], inputs: int, prefixes: Sequence[str]) -> Liquid:
    """Liquids side by side as one: part k hears channels[k] of one input, its names begin with prefixes[k], all are read in order."""
    populations, projections, read = [], [], []
    for part, own, prefix in zip(parts, channels, prefixes, strict=True):
        cells, inside = attached(part, prefix, INPUT, own, inputs)
        populations, projections = [*populations, *cells], [*projections, *inside]
        read += [prefix + name for name in part.read]
    kinds = np.concatenate([part.is_excitatory for part in parts])
    return Liquid(Network(populations, projections, [SpikeSource(INPUT, inputs)]), tuple(read), kinds)


def attached(part: Liquid, prefix: str, source: str, columns: np.ndarray, size: int) -> tuple[list[Population], list[Projection]]:
    """The populations and projections of a liquid with a prefix, its input taken from `source` of `size` neurons.

    columns: which of these each channel of the liquid is, [inputs].
    """
    populations = [replace(p, name=prefix + p.name) for p in part.network.populations]
    projections = []
    for p in part.network.projections:
        moved = replace(p, name=prefix + p.name, target=prefix + p.target, source=source if p.source == INPUT else prefix + p.source)
        if p.source == INPUT:
            moved = replace(moved, weights=_widened(p.weights, columns, size), delay_ms=_widened(p.delay_ms, columns, size))
        projections.append(moved)
    return populations, projections


def _widened(matrix, columns: np.ndarray, size: int):
    """[N, inputs] as a sparse matrix [N, size] whose columns are those of the channels; one number stays one."""
    if np.ndim(matrix) == 0 and not hasattr(matrix, "shape"):
        return matrix
    entries = scipy.sparse.coo_array(matrix) if hasattr(matrix, "tocoo") else _every_entry(np.asarray(matrix))
    wide = scipy.sparse.csr_array((entries.data, (entries.row, columns[entries.col])), shape=(entries.shape[0], size))
    wide.sort_indices()
    return wide


def _every_entry(dense: np.ndarray) -> scipy.sparse.coo_array:
    """A dense matrix with each of its entries stored, zeros included: in dense weights every entry is a synapse."""
    row, column = np.indices(dense.shape)
    return scipy.sparse.coo_array((dense.ravel(), (row.ravel(), column.ravel())), shape=dense.shape)


def _seeds(seed: int, many: int) -> list[int]:
    whole(0, seed=seed)
    return [int(s) for s in np.random.SeedSequence([seed, 7]).generate_state(many)]
