"""Topologies and strengths against closed forms: counts, clustering, path length, balance, spectrum."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.csgraph

from spiketwin.models.reservoirs.assembly import placed_evenly, split_by_kind
from spiketwin.models.reservoirs.kinds import KINDS, ByKind, Ends
from spiketwin.models.reservoirs.maass import CONNECTION
from spiketwin.models.reservoirs.strengths import balanced, drawn, per_root_degree, spectral_radius, spectrally_scaled, tightly_balanced
from spiketwin.models.reservoirs.topology import (
    distance_dependent,
    fixed_in_degree,
    modular,
    module_of,
    positions,
    random_sparse,
    ring,
    small_world,
)
from spiketwin.models.reservoirs.wiring import listens_to, reaches, sees


def connected(topology, size=400, seed=0):
    is_excitatory = placed_evenly(size, 0.8)
    adjacency = topology(np.random.default_rng(seed), is_excitatory)
    assert adjacency.shape == (size, size) and adjacency.dtype == bool and adjacency.data.all()
    assert not adjacency.diagonal().any(), "no neuron has a synapse onto itself"
    return adjacency, is_excitatory


def within(count, expected, variance, sigmas=4):
    assert abs(count - expected) < sigmas * np.sqrt(variance), (count, expected, np.sqrt(variance))


def test_random_sparse_has_as_many_synapses_of_each_kind_as_expected():
    chances = ByKind(0.1, 0.2, 0.3, 0.4)
    adjacency, is_excitatory = connected(random_sparse(chances))
    many = {"e": 320, "i": 80}
    assert is_excitatory.sum() == 320
    for kind, part in split_by_kind(adjacency, Ends(is_excitatory, is_excitatory)).items():
        pairs = many[kind[0]] * (many[kind[1]] - (kind[0] == kind[1]))
        within(part.nnz, pairs * chances[kind], pairs * chances[kind] * (1 - chances[kind]))
    # in-degrees are binomial: variance n p (1 - p) for one p
    degrees = connected(random_sparse(0.1))[0].sum(axis=1)
    assert degrees.var() == pytest.approx(399 * 0.09, rel=0.3)  # the variance of 400 draws has a spread of 7 %


def test_fixed_in_degrees_are_exact_and_sources_uniform():
    adjacency, is_excitatory = connected(fixed_in_degree(40, 10))
    dense = adjacency.toarray()
    assert (dense[:, is_excitatory].sum(axis=1) == 40).all() and (dense[:, ~is_excitatory].sum(axis=1) == 10).all()
    out = dense[:, is_excitatory].sum(axis=0)
    # each excitatory neuron is chosen by 400 neurons with probability 1/8: 50 ± 6.6
    assert out.mean() == 50 and out.std() == pytest.approx(np.sqrt(400 * 0.125 * 0.875), rel=0.2)
    few, _ = connected(fixed_in_degree(40, 10), size=10)
    assert few.sum() == 90, "all others where there are fewer"


def test_the_column_follows_distance_and_kind():
    shape, lam = (15, 3, 3), 2.0
    at = positions(shape)
    assert at.shape == (135, 3) and at[0].tolist() == [0, 0, 0] and at[134].tolist() == [14, 2, 2]
    near = np.exp(-((at[:, None] - at[None]) ** 2).sum(axis=2) / lam**2)
    np.fill_diagonal(near, 0)
    is_excitatory = placed_evenly(135, 0.8)
    ends = Ends(is_excitatory, is_excitatory)
    counts, expected, variance = dict.fromkeys(KINDS, 0), {}, {}
    for kind in KINDS:
        post, pre = ends.are(kind)
        p = CONNECTION[kind] * near[np.ix_(post, pre)]
        expected[kind], variance[kind] = 20 * p.sum(), 20 * (p * (1 - p)).sum()
    for seed in range(20):
        adjacency = distance_dependent(shape, lam, CONNECTION)(np.random.default_rng(seed), is_excitatory)
        for kind, part in split_by_kind(adjacency, ends).items():
            counts[kind] += part.nnz
    for kind in KINDS:
        within(counts[kind], expected[kind], variance[kind])
    # by hand: neighbours one apart along x among excitatory neurons have .3 exp(-1/4) = .2336
    assert 0.3 * near[0, 9] == pytest.approx(0.2336, abs=1e-4)


def clustering(adjacency):
    """Watts and Strogatz's coefficient of an undirected graph: how many of the pairs of neighbours are neighbours."""
    a = ((adjacency + adjacency.T) > 0).astype(float).toarray()
    degree = a.sum(axis=1)
    return np.mean(np.diag(a @ a @ a) / (degree * (degree - 1)))


def path_length(adjacency):
    distance = scipy.sparse.csgraph.shortest_path(adjacency.astype(float), unweighted=True)
    return distance[~np.eye(len(distance), dtype=bool)].mean()


def test_the_limits_of_watts_and_strogatz():
    size, k = 400, 10
    lattice, _ = connected(ring(k))
    assert (lattice.sum(axis=1) == k).all() and (lattice != lattice.T).nnz == 0
    # the ring: C = 3 (k - 2)/(4 (k - 1)) = 2/3 and L = N/2k to leading order; exactly, with N/k = 40: mean of ceil(d/5), d = 1 … 200
    assert clustering(lattice) == pytest.approx(3 * 8 / (4 * 9))
    distances = np.minimum(np.arange(1, 400), 400 - np.arange(1, 400))
    assert path_length(lattice) == pytest.approx(np.mean(np.ceil(distances / 5)))
    random, _ = connected(small_world(k, 1.0))
    assert (random.sum(axis=1) == k).all()
    # random: made undirected its degree is nearly 2k, and C the chance of an edge, 2k/N = .05; L close to ln N/ln k = 2.6
    assert clustering(random) == pytest.approx(2 * k / size, rel=0.15)
    assert path_length(random) == pytest.approx(np.log(size) / np.log(k), rel=0.15)
    # between them lies the small world: short paths, and still clustered (1 - p)^3
    small, _ = connected(small_world(k, 0.1))
    assert path_length(small) < 0.25 * path_length(lattice)
    assert clustering(small) > 0.5 * clustering(lattice)
    moved = 1 - (small.multiply(lattice)).sum() / small.sum()
    assert moved == pytest.approx(0.1, abs=0.02)  # 4,000 synapses: ± .005, and few land on neighbours again


def test_modules_are_dense_inside_and_sparse_between():
    adjacency, _ = connected(modular(5, within=0.3, between=0.02))
    module = module_of(400, 5)
    assert np.bincount(module).tolist() == [80] * 5
    entries = adjacency.tocoo()
    inside = (module[entries.row] == module[entries.col]).sum()
    within(inside, 5 * 80 * 79 * 0.3, 5 * 80 * 79 * 0.3 * 0.7)
    within(adjacency.nnz - inside, 400 * 320 * 0.02, 400 * 320 * 0.02 * 0.98)


def test_wiring_of_the_input():
    heard = listens_to(8)(np.random.default_rng(0), 100, 40)
    assert heard.shape == (100, 40) and (heard.sum(axis=1) == 8).all()
    assert (listens_to(8)(np.random.default_rng(0), 100, 3).sum(axis=1) == 3).all()
    reached = reaches(0.3)(np.random.default_rng(0), 100, 40)
    assert (reached.sum(axis=0) == 30).all()
    assert reaches(0.3, heard=1.2)(np.random.default_rng(0), 100, 40).sum() == 40 * 3  # 1.2/40 of 100 neurons


MEAN = ByKind(1.0, 2.0, -4.0, -3.0)


def strong(strengths, size=400, topology=None):
    adjacency, is_excitatory = connected(topology or random_sparse(0.2), size)
    ends = Ends(is_excitatory, is_excitatory)
    weights = strengths(np.random.default_rng(1), adjacency, ends)
    assert weights.nnz == adjacency.nnz and np.array_equal(weights.indices, adjacency.indices)
    return weights, ends


def test_drawn_strengths_have_the_mean_and_spread_of_their_kind():
    weights, ends = strong(drawn(MEAN))
    for kind, part in split_by_kind(weights, ends).items():
        n = part.nnz
        assert part.data.mean() == pytest.approx(MEAN[kind], rel=4 / np.sqrt(n))  # a standard deviation of 100 %
        assert part.data.std() == pytest.approx(abs(MEAN[kind]), rel=4 * np.sqrt(2 / n))  # (kurtosis - 1)/4 = 2 for the exponential
    scaled, _ = strong(per_root_degree(drawn(MEAN)))
    np.testing.assert_allclose(scaled.data, weights.data / np.sqrt(weights.nnz / 400))


def test_tight_balance_is_exact_and_keeps_signs():
    weights, ends = strong(tightly_balanced(drawn(MEAN)))
    size = abs(weights).sum(axis=1)
    assert (size > 0).all() and (abs(weights.sum(axis=1)) < 1e-12 * size).all()
    dense = weights.toarray()
    assert (dense[:, ends.pre] >= 0).all() and (dense[:, ~ends.pre] <= 0).all()
    # by hand: excitation 3, inhibition 6, so that inhibition is halved
    by_hand = balanced(scipy.sparse.csr_array(np.array([[1.0, 2.0, -6.0], [0.0, 0.0, 0.0], [4.0, -1.0, -1.0]])))
    np.testing.assert_allclose(by_hand.toarray(), [[1, 2, -3], [0, 0, 0], [4, -2, -2]])


@pytest.mark.parametrize("size", [400, 1600])  # dense eigenvalues, and the iteration
def test_spectral_radius_is_what_was_asked_for(size):
    weights, _ = strong(spectrally_scaled(drawn(ByKind(0.2, 0.2, -0.8, -0.8)), radius=0.9), size, fixed_in_degree(80, 20))
    dense = np.abs(np.linalg.eigvals(weights.toarray())) if size == 400 else None
    assert spectral_radius(weights) == pytest.approx(0.9, rel=1e-3)
    if dense is not None:
        assert dense.max() == pytest.approx(0.9)
        # a disc, no outlier: the next eigenvalues are as large
        assert np.sort(dense)[-10] > 0.8
    np.testing.assert_allclose(weights.sum(axis=1), 0, atol=1e-12)


def test_without_the_balance_an_outlier_would_set_the_scale():
    """Rajan & Abbott 2006: rows of mean weight mu K have the eigenvalue mu K, the disc the radius of the standard deviation √N."""
    weights, ends = strong(drawn(ByKind(1.0, 1.0, -1.0, -1.0)), 400, fixed_in_degree(80, 20))
    found = np.abs(np.linalg.eigvals(weights.toarray()))
    outlier = 80 - 20  # the mean row sum
    # of an entry: second moment .25 · 2 (exponential), so that the disc has √(400 · .25 · 2) = 14 less the mean's share
    assert found.max() == pytest.approx(outlier, rel=0.05) and np.sort(found)[-2] < 0.3 * outlier


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: random_sparse(1.5), "probability of ee synapses is 1.5"),
        (lambda: small_world(3), "degree = 3 must be an even number"),
        (lambda: small_world(4, 2.0), "rewiring = 2.0 is a probability"),
        (lambda: connected(ring(10), size=6), "degree = 10 needs a ring of more than 6 neurons"),
        (lambda: distance_dependent((2, 2), 0.0), "lam = 0.0"),
        (lambda: connected(distance_dependent((2, 2), 1.0), size=5), r"shape \(2, 2\) has 4 places, but there are 5"),
        (lambda: fixed_in_degree(2, -1), "inhibitory = -1 must be a whole number and at least 0"),
        (lambda: fixed_in_degree(2.5, 1), "excitatory = 2.5 must be a whole number"),
        (lambda: modular(0), "modules = 0"),
        (lambda: modular(float("nan")), "modules = nan must be a whole number"),
        (lambda: connected(modular(50), size=10), "modules = 50 need a neuron each, but there are 10"),
        (lambda: modular(2, within=-1), "within = -1 is a probability"),
        (lambda: listens_to(0), "channels = 0"),
        (lambda: listens_to(2.5), "channels = 2.5 must be a whole number"),
        (lambda: sees(9, 4, side=8), "width = 9"),
        (lambda: sees(2, 5, side=8), "channels = 5"),
        (lambda: sees(2, 3, side=8)(np.random.default_rng(0), 5, 65), "side = 8 has 64"),
        (lambda: reaches(0), "share = 0"),
        (lambda: spectrally_scaled(drawn(1.0), radius=0), "radius = 0 must be positive"),
        (lambda: strong(tightly_balanced(drawn(MEAN)), 20, fixed_in_degree(5, 0)), "has no inhibition.*raise the connection probability"),
        (lambda: placed_evenly(10, 1.2), "excitatory = 1.2 is a share"),
    ],
)
def test_bad_input(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_a_neuron_sees_pixels_of_one_square() -> None:
    seen = sees(3, 5, side=10)(np.random.default_rng(0), 2000, 100).toarray()
    assert (seen.sum(axis=1) == 5).all()
    row, column = np.divmod(np.arange(100), 10)
    for neuron in seen:
        assert np.ptp(row[neuron]) <= 2 and np.ptp(column[neuron]) <= 2
    # a corner of the image lies in one of 64 squares, which shows 5 of its 9 pixels; one in the middle in nine
    assert seen[:, 0].mean() == pytest.approx(5 / 9 / 64, abs=0.01)
    assert seen[:, 55].mean() == pytest.approx(9 * 5 / 9 / 64, abs=0.03)
