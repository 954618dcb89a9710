"""Random manifolds: one spike per unit, smooth in the coordinate, the same for the same seed."""

import numpy as np
import pytest

from spiketwin.experiments.data import load, randman


def times(part):
    """[B, N] spike times in ms."""
    out = np.array([part.events(b)[0] for b in range(len(part))])
    assert all(part.events(b)[1].tolist() == list(range(part.size)) for b in range(len(part)))
    return out


def test_every_unit_fires_once_and_its_times_fill_the_duration():
    found = randman.load(3, 5, samples_per_class=50, duration_ms=40.0, seed=1)
    parts = (found.train, found.validation, found.test)
    assert [len(p) for p in parts] == [120, 15, 15] and found.inputs == 5
    for part in parts:
        assert np.bincount(part.labels, minlength=3).tolist() == [len(part) // 3] * 3
    everything = np.concatenate([times(p) for p in parts])
    labels = np.concatenate([p.labels for p in parts])
    for c in range(3):
        own = everything[labels == c]
        assert own.min(axis=0) == pytest.approx([0] * 5) and own.max(axis=0) == pytest.approx([40] * 5)
    spikes = found.train.batch(dt_ms=1.0, duration_ms=41.0)
    assert (spikes.counts() == 1).all()


def test_a_curve_is_one_dimensional_and_smooth():
    """Sorted along the curve, neighbours of 2,000 points in 0 … 1 are close in every unit; in two dimensions few are."""
    rng = np.random.default_rng(0)

    class Sorted:
        """Coordinates in order, everything else as drawn."""

        def random(self, shape):
            return np.sort(rng.random(shape), axis=0) if shape[0] == 2000 else rng.random(shape)

    steps = np.abs(np.diff(randman.manifold(Sorted(), 2000, 8, dim=1, alpha=3.0), axis=0))
    assert steps.max() < 0.1
    # a smaller alpha leaves more of the high frequencies
    rough = np.abs(np.diff(randman.manifold(Sorted(), 2000, 8, dim=1, alpha=1.0), axis=0))
    assert rough.mean() > 2 * steps.mean()


def test_the_points_are_the_sum_and_product_of_the_formula():
    """A slow reference: the same draws, one sine at a time. alpha 3 leaves the 10 frequencies with k^-3 ≥ .001."""
    found = randman.manifold(np.random.default_rng(5), 6, 2, dim=2, alpha=3.0)
    rng = np.random.default_rng(5)
    x = rng.random((6, 2))
    for n in range(2):
        a, b, c = rng.random((3, 2, 10))
        f = np.ones(6)
        for d in range(2):
            f *= sum(a[d, k - 1] / k**3 * np.sin(2 * np.pi * (k * b[d, k - 1] * x[:, d] + c[d, k - 1])) for k in range(1, 11))
        assert found[:, n] == pytest.approx((f - f.min()) / (f.max() - f.min()))


def test_classes_differ_and_one_nearest_neighbour_tells_them():
    found = load("randman")
    assert [len(p) for p in (found.train, found.validation, found.test)] == [8000, 1000, 1000]
    train, test = times(found.train), times(found.test[::10])
    nearest = ((test[:, None] - train[None]) ** 2).sum(axis=-1).argmin(axis=1)
    assert (found.train.labels[nearest] == found.test.labels[::10]).mean() > 0.95
    # the mean time of all units does not tell the class nearly as well
    mean = np.abs(test.mean(axis=1)[:, None] - train.mean(axis=1)[None]).argmin(axis=1)
    assert (found.train.labels[mean] == found.test.labels[::10]).mean() < 0.6


def test_a_seed_makes_the_same_set_and_another_seed_another():
    a, b, c = (times(randman.load(2, 3, samples_per_class=10, seed=seed).train) for seed in (0, 0, 1))
    assert np.array_equal(a, b) and not np.allclose(a, c)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nb_classes": 0}, "nb_classes = 0 must be positive"),
        ({"alpha": -1.0}, "alpha = -1.0 must be positive"),
        ({"duration_ms": np.nan}, "duration_ms = nan must be positive"),
        ({"samples_per_class": 15}, "samples_per_class = 15 must be a multiple of 10"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        randman.load(**change)
