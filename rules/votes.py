"""Read-outs of networks that learnt without labels: how much each neuron's spike says for each class.

A vote is a matrix [N, K] that follows from the mean responses of the trained, frozen network to labelled training images; the class
with the largest sum over all spikes of an image is the answer:

    r[k, n]   mean spikes of neuron n at an image of class k
    plain       a neuron stands for the class it responds to most; classes compare the mean count of their neurons
                (Diehl & Cook 2015, section 2.6)
    confident   a spike of n says r[k, n]/sum_j r[j, n] for class k: a neuron that serves two classes votes for both
    likelihood  a spike of n says log(r[k, n]/sum_m r[k, m]): the counts as draws from a class's share of spikes (naive Bayes)

Sources: Diehl & Cook 2015, Front. Comput. Neurosci. 9:99; Hazan et al. 2018, arXiv:1807.09374, section III.C, for votes in proportion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

SMALLEST_SHARE = 1e-3  # of a spike in all that a class draws, of a likelihood: what was never seen is not impossible


def class_responses(counts: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Mean spikes of each neuron at an image of each class [K, N]; 0 for a class without an image.

    counts: [B, N].  labels: int [B], 0 … classes - 1.  Raises ValueError when their lengths differ, or a label is out of range.
    """
    counts, labels = np.asarray(counts, float), np.asarray(labels)
    if len(counts) != len(labels):
        raise ValueError(f"{len(counts)} responses, but {len(labels)} labels; they must be equally many")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels lie between {labels.min()} and {labels.max()}; of {classes} classes they are 0 … {classes - 1}")
    member = np.zeros((classes, len(labels)))
    member[labels, np.arange(len(labels))] = 1
    return (member @ counts) / np.maximum(member.sum(axis=1, keepdims=True), 1)


def plain(responses: np.ndarray) -> np.ndarray:
    """Votes [N, K] from class_responses() [K, N]. A neuron that never fired has none."""
    stands_for = np.eye(len(responses))[responses.argmax(axis=0)] * (responses.max(axis=0) > 0)[:, None]
    return stands_for / np.maximum(stands_for.sum(axis=0), 1)


def confident(responses: np.ndarray) -> np.ndarray:
    """Votes [N, K] from class_responses() [K, N]."""
    total = responses.sum(axis=0)
    return (responses / np.where(total > 0, total, 1)).T


def likelihood(responses: np.ndarray) -> np.ndarray:
    """Votes [N, K] from class_responses() [K, N]."""
    share = responses / np.maximum(responses.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return np.log(share + SMALLEST_SHARE / responses.shape[1]).T


VOTES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {"plain": plain, "confident": confident, "likelihood": likelihood}
)


def decide(counts: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """The class [B] for which the spikes [B, N] say most; the first of equals."""
    return (np.asarray(counts) @ votes).argmax(axis=1)
