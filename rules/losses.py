"""What training minimises: the read-out's cross-entropy and the price of spikes.

    L = - (Σ_b c_y log softmax(m_b)_y) / Σ_b c_y  +  r Σ S,    m_bk = max over t of v_k(t)

with v the read-out membrane in units of the hidden threshold (mV here), y the label of trial b, c the
weight of a class (1 for all by default), S the hidden spikes over time, trials and neurons.

Source: eq. 15-17 of the thesis this project grew from; Zenke, SpyTorch tutorials 2 and 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def max_over_time(v: Tensor) -> Tensor:
    """The decision variable [B, K] of read-out membranes v [T, B, K]: the largest value of each over time."""
    return v.amax(dim=0)


def max_cross_entropy(v: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of the labels under the softmax of each read-out's maximum over time.

    v: [T, B, K], of order 1.  labels: int [B].  class_weights: [K], or None for equal ones.
    Equal maxima of K read-outs cost log K.  Raises ValueError when the shapes do not fit.
    """
    if v.ndim != 3 or labels.shape != v.shape[1:2]:
        raise ValueError(f"v is [T, B, K] and labels [B]; got {tuple(v.shape)} and {tuple(labels.shape)}")
    if class_weights is not None and class_weights.shape != v.shape[2:]:
        raise ValueError(f"class_weights has shape {tuple(class_weights.shape)}; give one weight for each of the {v.shape[2]} classes")
    return functional.cross_entropy(max_over_time(v), labels, weight=class_weights)


def spike_penalty(spikes: Tensor, rate: float) -> Tensor:
    """rate · Σ S over steps, trials and neurons, so its pull grows with the batch (the thesis trains with 256)."""
    return rate * spikes.sum()


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Class weights [K] that make every class count the same: B / (K · trials of the class).

    Raises ValueError when a class has no trial.
    """
    counts = torch.bincount(labels, minlength=classes)
    if (counts == 0).any():
        raise ValueError(f"class {int((counts == 0).nonzero()[0])} has no trial; leave it out or give class weights by hand")
    return len(labels) / (classes * counts.to(torch.get_default_dtype()))
