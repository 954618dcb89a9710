"""The separation of the column: liquid states part further the further apart the inputs are (Maass et al. 2002, figure 2)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.reservoirs import INPUT, maass_column
from spiketwin.models.spikes import Spikes

DT_MS, STEPS, PAIRS = 0.5, 1000, 30
KERNEL_MS, TAU_STATE_MS = 5.0, 30.0


def input_distance(u, v):
    """Of trains [T, B]: the L2 norm of what exp(-(t/5 ms)²) makes of their difference; two equal trains of one spike each have 0."""
    smooth = gaussian_filter1d(u.astype(float) - v, KERNEL_MS / np.sqrt(2) / DT_MS, axis=0) * np.sqrt(np.pi) * KERNEL_MS / DT_MS
    return np.sqrt((smooth**2).sum(axis=0) * DT_MS * 1e-3)


def pairs(distance_ms, rng):
    """Trains of 20 Hz for .5 s [T, pairs], and the same with each spike moved by up to distance_ms."""
    u = rng.random((STEPS, PAIRS)) < 20 * DT_MS * 1e-3
    step, pair = np.nonzero(u)
    moved = np.clip(step + np.round(rng.uniform(-distance_ms, distance_ms, len(step)) / DT_MS).astype(int), 0, STEPS - 1)
    v = np.zeros_like(u)
    v[moved, pair] = True
    return u, v


def states(trains, start):
    """Liquid states [T, pairs, 135]: spikes filtered with 30 ms, from the start-th initial state."""
    column = maass_column(1, start=start)
    run = CompiledEngine(threads=1).run(column.network, {INPUT: Spikes.from_dense(trains[:, :, None], DT_MS)}, dt_ms=DT_MS)
    x = run.spikes["liquid"].dense(np.float32)
    assert x.sum() > 1000
    decay = np.float32(np.exp(-DT_MS / TAU_STATE_MS))
    for t in range(1, STEPS):
        x[t] += decay * x[t - 1]
    return x


def separation(u, v):
    """‖x_u(t) - x_v(t)‖ [T] from two initial states, averaged over pairs."""
    return np.linalg.norm(states(u, 0) - states(v, 1), axis=2).mean(axis=1)


def test_states_part_with_the_distance_of_inputs():
    rng = np.random.default_rng(0)
    distances, curves = [], []
    for distance_ms in (0.0, 2.0, 8.0, 100.0):
        u, v = pairs(distance_ms, rng)
        distances.append(input_distance(u, v).mean())
        curves.append(separation(u, v))
    assert distances[0] == 0 and (np.diff(distances) > 0).all(), distances
    late = [curve[400:].mean() for curve in curves]
    # the curve of distance 0 is what different initial states alone leave, the floor of figure 2
    assert (np.diff(late) > 0).all(), late
    assert late[-1] > 1.5 * late[0]
    # above the floor at all times once the first spikes have come
    assert (np.stack(curves[2:])[:, 400:] > curves[0][400:]).mean() > 0.95
    # initial states are forgotten, inputs are not
    assert curves[0][600:].mean() < 0.75 * curves[3][600:].mean()
