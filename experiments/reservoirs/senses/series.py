"""Samples that are series of numbers, and how these come onto the grid of a run."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_array


def series(X) -> np.ndarray:
    """X as float [samples, steps, channels]; features [samples, features] are channels of one step.

    Raises ValueError for another shape, for no samples, for NaN and infinite values.
    """
    values = check_array(X, dtype=float, allow_nd=True)
    if values.ndim not in (2, 3):
        raise ValueError(f"X has shape {values.shape}; give [samples, features] or [samples, steps, channels]")
    return values[:, None] if values.ndim == 2 else values


def signals(X) -> np.ndarray:
    """X as series that can change. Raises ValueError where they have one step alone."""
    values = series(X)
    if values.shape[1] < 2:
        raise ValueError(
            f"X has shape {np.shape(X)}, {values.shape[1]} step for each sample; a code of changes takes [samples, steps, channels]"
        )
    return values


def on_grid(values: np.ndarray, steps: int) -> np.ndarray:
    """Series [samples, frames, channels] spread over the steps of a run [steps, samples, channels], with straight lines between frames.

    Frame k is heard at step k · steps/frames, and the last is held for its share.
    Raises ValueError where frames would be skipped: what is left of them would alias.
    """
    frames = values.shape[1]
    if frames > steps:
        raise ValueError(f"X has {frames} frames for {steps} steps of the run; lower dt_ms, or filter the signals and thin them out")
    at = np.arange(steps) * (frames / steps)
    left = np.minimum(at.astype(int), frames - 1)
    part = (at - left)[:, None]
    return (values[:, left] * (1 - part) + values[:, np.minimum(left + 1, frames - 1)] * part).transpose(1, 0, 2)
