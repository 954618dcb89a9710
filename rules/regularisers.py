"""What is added to a loss so that neurons fire neither too little nor too much.

    n_bi = Σ_t S_tbi      spikes of neuron i in trial b;      n_b = mean over the neurons of a layer

    spike_penalty         r Σ_bi n_bi                          every spike has its price
    count_l1, count_l2    r mean_bi n_bi,   r mean_bi n_bi²    the second weighs on the busiest
    neuron_lower_bound    r mean_bi max(0, least - n_bi)²      wakes silent neurons, one by one
    neuron_upper_bound    r mean_bi max(0, n_bi - most)²       calms each that fires too much
    layer_lower_bound     r mean_b max(0, least - n_b)²        the layer as a whole: some may be silent
    layer_upper_bound     r mean_b max(0, n_b - most)²         the layer as a whole: some may be busy

Means do not grow with the batch or the layer, the sum of spike_penalty does. For several layers add their terms.

Source: eq. 16-17 of the thesis this project grew from (spike_penalty); Zenke, SpyTorch tutorial 3 (L1, L2); Zenke & Vogels
2021, Neural Computation 33, methods (lower bound of each neuron, upper bound of the layer); Bellec et al. 2018 (rates).
"""

from __future__ import annotations

from math import inf

from torch import Tensor


def spike_penalty(spikes: Tensor, rate: float) -> Tensor:
    """rate · Σ S over steps, trials and neurons, so its pull grows with the batch (the thesis trains with 256). As count_l1 otherwise."""
    return _price(rate) * _layer(spikes).sum()


def count_l1(spikes: Tensor, rate: float) -> Tensor:
    """rate · the mean number of spikes of a neuron in a trial.  spikes: [T, B, *neurons].

    Raises ValueError for other shapes, and for a rate that is negative or not finite.
    """
    return _price(rate) * counts(spikes).mean()


def count_l2(spikes: Tensor, rate: float) -> Tensor:
    """rate · the mean square of that number: two neurons of one spike cost half of one with two. As count_l1 otherwise."""
    return _price(rate) * counts(spikes).square().mean()


def neuron_lower_bound(spikes: Tensor, least: float, rate: float) -> Tensor:
    """The price of every neuron that fires less than `least` times in a trial.

    spikes: [T, B, *neurons].  least: spikes a trial, > 0.  A silent neuron costs rate · least²/(neurons · trials).
    Raises ValueError for other shapes, for a bound that is not positive, and for a rate that is negative or not finite.
    """
    return _price(rate) * (_bound(least, "least") - counts(spikes)).clamp(min=0).square().mean()


def neuron_upper_bound(spikes: Tensor, most: float, rate: float) -> Tensor:
    """The price of every neuron that fires more than `most` times in a trial, else as neuron_lower_bound."""
    return _price(rate) * (counts(spikes) - _bound(most, "most")).clamp(min=0).square().mean()


def layer_lower_bound(spikes: Tensor, least: float, rate: float) -> Tensor:
    """The price of a layer whose neurons fire less than `least` times in a trial on average, else as neuron_lower_bound."""
    return _price(rate) * (_bound(least, "least") - counts(spikes).mean(dim=1)).clamp(min=0).square().mean()


def layer_upper_bound(spikes: Tensor, most: float, rate: float) -> Tensor:
    """The price of a layer whose neurons fire more than `most` times in a trial on average, else as neuron_lower_bound."""
    return _price(rate) * (counts(spikes).mean(dim=1) - _bound(most, "most")).clamp(min=0).square().mean()


def counts(spikes: Tensor) -> Tensor:
    """Spikes of each neuron in each trial, [B, N], of spikes [T, B, *neurons]. Raises ValueError for fewer dimensions."""
    return _layer(spikes).sum(dim=0).flatten(1)


def _layer(spikes: Tensor) -> Tensor:
    if spikes.ndim < 3:
        raise ValueError(f"spikes have shape {tuple(spikes.shape)}; give [T, B, N], or [T, B, *shape] of a layer")
    return spikes


def _price(rate: float) -> float:
    if not 0 <= rate < inf:
        raise ValueError(f"rate = {rate} is the price of a spike: it must be finite and not negative, e.g. rate = 1e-4")
    return rate


def _bound(value: float, name: str) -> float:
    if not value > 0:
        raise ValueError(
            f"{name} = {value} spikes a trial must be positive, e.g. {name} = 1; to price every spike take count_l1 or count_l2"
        )
    return value
