"""Time series with a known law, what they are scored by, and inputs without a law.

    narma10        y(t+1) = .3 y(t) + .05 y(t) Σ_{i=0..9} y(t-i) + 1.5 u(t-9) u(t) + .1,  u uniform in 0 … .5
    mackey_glass   dx/dt = .2 x(t-tau) / (1 + x(t-tau)^10) - .1 x(t),  x = start before 0
    delayed_xor    z_k(t) = b(t-k) ≠ b(t-k-1) for random bits b

Source: Atiya & Parlos 2000, IEEE Trans. Neural Networks 11:697, eq. 86 (NARMA-10); Mackey & Glass 1977, Science 197:287, eq. 4b, with the
values of Yik et al. 2025, Nature Communications 16:1545 (NeuroBench).
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.encoders.shared import positive, whole

NARMA_MEMORY = 10
STEPS_PER_TAU = 170  # of the integration, each .1 for a tau of 17


def narma10(u: np.ndarray) -> np.ndarray:
    """y(t+1) for each input u [T] in 0 … .5, so that entry t is due when u(t) has been heard; y and u are 0 before the first.

    Raises ValueError for an input outside 0 … .5, and for one of those rare that let y grow without bound: draw another.
    """
    u = np.asarray(u, float)
    if not u.size:
        raise ValueError("u is empty; NARMA-10 takes one input or more")
    if u.ndim != 1 or not (u.min() >= 0 and u.max() <= 0.5):
        raise ValueError(f"u has shape {u.shape} and reaches {u.min():g} … {u.max():g}; NARMA-10 takes [T] within 0 … 0.5")
    before = np.concatenate([np.zeros(NARMA_MEMORY - 1), u])  # u(t - 9) at place t
    y = np.zeros(NARMA_MEMORY + len(u))  # y(t) at place t + 9
    for t in range(len(u)):
        now = t + NARMA_MEMORY - 1
        y[now + 1] = 0.3 * y[now] + 0.05 * y[now] * y[t : now + 1].sum() + 1.5 * before[t] * u[t] + 0.1
        if not y[now + 1] < 10:
            raise ValueError(f"y grows without bound from step {t}; draw another u")
    return y[NARMA_MEMORY:]


def mackey_glass(points: int, *, every: float, tau: float = 17.0, start: float = 0.7206597) -> np.ndarray:
    """x at the times 0, every, 2 · every, … [points], in the units of the equation.

    Runge & Kutta's fourth order with a fixed step; between steps, where the delayed x is needed, the cubic through
    both values and slopes, which keeps the order.  start: x until time 0.
    """
    whole(1, points=points)
    positive(every=every, tau=tau, start=start)
    h = tau / STEPS_PER_TAU
    steps = int(np.ceil((points - 1) * every / h)) + 1
    x, slope = np.full(STEPS_PER_TAU + steps + 1, start), np.zeros(STEPS_PER_TAU + steps + 1)  # time 0 at place STEPS_PER_TAU

    def rate(now: float, delayed: float) -> float:
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * now

    for k in range(steps):
        at = STEPS_PER_TAU + k
        old, new = x[k], x[k + 1]
        # the slope jumps at time 0, so that the cubic of the step before it would not be the past
        middle = (old + new) / 2 + h * (slope[k] - slope[k + 1]) / 8 if k >= STEPS_PER_TAU else start
        first = rate(x[at], old)
        second = rate(x[at] + h / 2 * first, middle)
        third = rate(x[at] + h / 2 * second, middle)
        fourth = rate(x[at] + h * third, new)
        slope[at] = first
        x[at + 1] = x[at] + h / 6 * (first + 2 * second + 2 * third + fourth)
    slope[-1] = rate(x[-1], x[-1 - STEPS_PER_TAU])
    time = np.arange(points) * every / h
    k = time.astype(int)
    share, at = time - k, STEPS_PER_TAU + k
    rest = 1 - share
    return rest**2 * ((1 + 2 * share) * x[at] + share * h * slope[at]) + share**2 * ((1 + 2 * rest) * x[at + 1] - rest * h * slope[at + 1])


def delayed_xor(bits: np.ndarray, delays: int) -> np.ndarray:
    """Whether the bits k and k + 1 steps ago differ [T, delays], for k = 0 … delays - 1; before the first all bits are 0.

    Raises ValueError for anything but 0 and 1, and for no delay.
    """
    whole(1, delays=delays)
    if not np.isin(bits, (0, 1)).all():
        raise ValueError(f"bits are 0 or 1, but these hold {np.setdiff1d(bits, (0, 1))[0]}; give bits > 0 for -1 and 1")
    bits = np.asarray(bits).astype(bool)
    return np.stack([delayed(bits, k) != delayed(bits, k + 1) for k in range(delays)], axis=1)


def delayed(u: np.ndarray, by: int) -> np.ndarray:
    """u of `by` steps ago [T]; 0 before the first."""
    whole(0, by=by)
    return np.concatenate([np.zeros(min(by, len(u)), u.dtype), u[: max(len(u) - by, 0)]])


def nrmse(found: np.ndarray, wanted: np.ndarray) -> float:
    """Root of the mean squared error over the variance of what is wanted: 1 for its mean, 0 for itself; nan where one holds NaN.

    Raises ValueError for shapes that differ or are empty, as the scores below do.
    """
    check_pair(found, wanted)
    return float(np.sqrt(np.mean((np.asarray(found) - wanted) ** 2) / np.var(wanted)))


def smape(found: np.ndarray, wanted: np.ndarray) -> float:
    """Symmetric mean absolute percentage error, 0 … 200: 100 mean(2 |found - wanted| / (|found| + |wanted|)); equal zeros are no error,
    and NaN makes nan.

    Source: Yik et al. 2025 (NeuroBench), the metric of its Mackey-Glass task.
    """
    check_pair(found, wanted)
    found, wanted = np.asarray(found, float), np.asarray(wanted, float)
    size = np.abs(found) + np.abs(wanted)
    error = np.divide(2 * np.abs(found - wanted), size, out=np.zeros_like(size), where=size != 0)
    return float(100 * error.mean())


def determination(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Squared correlation of each column [K] of [T, K], the capacity of Jaeger 2001; 0 for a constant."""
    check_pair(found, wanted)
    found, wanted = found - found.mean(axis=0), wanted - wanted.mean(axis=0)
    spread = (found**2).sum(axis=0) * (wanted**2).sum(axis=0)
    return np.divide((found * wanted).sum(axis=0) ** 2, spread, out=np.zeros_like(spread), where=spread > 0)


def check_pair(found: np.ndarray, wanted: np.ndarray) -> None:
    """Raises ValueError unless both have one shape, not empty: [T, 1] and [T] would be compared each with each."""
    if np.shape(found) != np.shape(wanted) or not np.size(found):
        raise ValueError(f"found has shape {np.shape(found)}, wanted {np.shape(wanted)}; give equal shapes of one number or more")
