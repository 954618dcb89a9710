"""The time loop of the cochlea, compiled: all channels step by step. The equations are those of cochlea.py."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spiketwin.experiments.data.speech.cochlea import A, B, G, H, L, R, X, Y, rest

Q0, C0, W0 = rest()


@njit(cache=True, nogil=True, error_model="numpy")
def listen(sound, pole, gain, dt_s, approach, per_hz, silent_steps):
    """sound: [T] in units of 30 dB.  pole, gain: [N], see cochlea.poles.  approach, per_hz, silent_steps: of the neurons.

    Returns step and channel of each spike, ordered by both.
    """
    T, N = len(sound), len(pole)
    re, im = np.zeros((5, N)), np.zeros((5, N))
    a, b = pole.real.copy(), pole.imag.copy()
    q, c, w, v = np.full(N, Q0), np.full(N, C0), np.full(N, W0), np.zeros(N)
    # a neuron of many fibres has heard the spontaneous rate for long
    v[:] = min(H * C0 * per_hz, 1.0)
    wait = np.zeros(N, dtype=np.int64)
    most = N * (T // (silent_steps + 1) + 1)
    steps, units = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    count = 0
    # the cleft empties within a step: Euler would overshoot
    clear = -math.expm1(-(L + R) * dt_s)
    for n in range(T):
        re[0, :] = sound[n]
        for stage in range(1, 5):
            for i in range(N):
                x = re[stage - 1, i] + a[i] * re[stage, i] - b[i] * im[stage, i]
                im[stage, i] = im[stage - 1, i] + a[i] * im[stage, i] + b[i] * re[stage, i]
                re[stage, i] = x
        for i in range(N):
            s = max(gain[i] * re[4, i] + A, 0.0)
            k = G * s / (s + B)
            back = X * w[i] * dt_s
            w[i] += R * c[i] * dt_s - back
            c[i] += clear * (k * q[i] / (L + R) - c[i])
            q[i] += Y * (1 - q[i]) * dt_s - k * q[i] * dt_s + back
            v[i] += approach * (H * c[i] * per_hz - v[i])
        for i in range(N):
            if wait[i] > 0:
                wait[i] -= 1
                v[i] = 0.0
            elif v[i] > 1.0:
                steps[count], units[count] = n, i
                count += 1
                v[i] = 0.0
                wait[i] = silent_steps
    return steps[:count], units[:count]
