"""What training minimises: one number from spikes S or membranes v of the read-outs, and the labels y.

    negative_log_likelihood   - (Σ_b c_y log p_by) / Σ_b c_y       c_k the weight of class k, 1 for all by default
    count_cross_entropy       the same of p = softmax(n),           n_bk = Σ_t S_tbk
    step_cross_entropy        of p = softmax(v_t), mean over t
    max_cross_entropy         of p = softmax(m),                    m_bk = max over t of v_tbk
    mean_cross_entropy        of p = softmax(v̄),                    v̄_bk = Σ_t v_tbk / T
    last_cross_entropy        of p = softmax(v_T)
    first_spike_cross_entropy of p = softmax(-t/tau),               t_bk the time of the first spike
    mean_square_count         mean_bk (n_bk - target_bk)²
    first_spike_mean_square   mean_bk (t_bk - target_bk)²

v is of order 1, in units of the hidden threshold (mV here): a softmax has a scale. Labels are integers 0 … K - 1.

The first spike. With G_t = Π_{s<=t} (1 - S_s) the probability of no spike up to and including step t,

    t = dt Σ_t G_t

is the time of the first spike where S is 0 or 1, T dt where there is none, and the mean first-spike time of a neuron that
fires with probability S_t in step t in between. So the derivative with respect to S_s exists everywhere, is exact for the
latter, and is never positive: dt times minus the number of steps by which a spike at s would come before the first one, or,
for the first spike itself, by which the next would come later. A silent neuron is drawn towards firing at every step.

Source: eq. 15 of the thesis this project grew from; Zenke, SpyTorch tutorials 2 and 3 (max); snnTorch tutorials 5 and 6
(step, count); Shrestha & Orchard 2018 (mean-square count); Gerstner et al. 2014, section 7.5 (G, the survivor function);
Mostafa 2018 and Göltz et al. 2021 (cross-entropy of times); Bohte, Kok & La Poutré 2002 (mean-square time).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor
from torch.nn import functional

from spiketwin.models.units import positive
from spiketwin.rules.regularisers import spike_penalty as spike_penalty  # its first home

NO_LABEL = -(2**62)  # left out by torch, which by default leaves out -100 without a word

# -- cross-entropies -------------------------------------------------------------------------------------------


def negative_log_likelihood(log_p: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Minus the mean log-probability of the labels, each trial weighed by its class.

    log_p: [B, K], e.g. from log_softmax.  labels: int [B].  class_weights: [K], or None for equal ones; doubling all of
    them changes nothing.  Raises ValueError when the shapes do not fit, labels are no integers in 0 … K - 1, or class weights are
    negative, not finite, or 0 for all trials; of values on a GPU, a look at which would wait for it, torch raises its own errors.
    """
    if log_p.ndim != 2:
        raise ValueError(f"log_p has shape {tuple(log_p.shape)}; give [B, K]")
    return _mean(functional.nll_loss, log_p, _checked(labels, log_p, class_weights, "log_p is [B, K]"), class_weights)


def max_over_time(v: Tensor) -> Tensor:
    """The decision variable [B, K] of read-out membranes v [T, B, K]: the largest value of each over time."""
    return v.amax(dim=0)


def max_cross_entropy(v: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of the labels under the softmax of each read-out's maximum over time.

    v: [T, B, K], of order 1.  labels: int [B].  class_weights: [K], or None for equal ones.
    Equal maxima of K read-outs cost log K.  Raises ValueError without steps, and as negative_log_likelihood.
    """
    return _cross_entropy(max_over_time(_in_time(v, "v")), labels, class_weights, "v is [T, B, K]")


def mean_cross_entropy(v: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The same of the membranes averaged over all steps (decoders.membrane_mean): every step pulls, and noise of single steps fades."""
    return _cross_entropy(_in_time(v, "v").mean(dim=0), labels, class_weights, "v is [T, B, K]")


def last_cross_entropy(v: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The same of the membranes at the last step: for read-outs that gather evidence without forgetting much of it."""
    return _cross_entropy(_in_time(v, "v")[-1], labels, class_weights, "v is [T, B, K]")


def step_cross_entropy(v: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The same of the membranes at each step, averaged over steps: the answer shall be right early and stay right.

    snnTorch's tutorial 5 adds the steps up, which is T times this.
    """
    T, B, K = _in_time(v, "v").shape
    labels = _checked(labels, v[0], class_weights, "v is [T, B, K]")
    return _mean(functional.cross_entropy, v.reshape(T * B, K), labels.repeat(T), class_weights)


def count_cross_entropy(spikes: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The same of spike counts: one spike more makes a class e times as likely, whatever the number of steps.

    spikes: [T, B, K] of the read-outs; for a mean over steps instead of the count, give spikes / T.
    """
    return _cross_entropy(_in_time(spikes, "spikes").sum(dim=0), labels, class_weights, "spikes are [T, B, K]")


def first_spike_cross_entropy(
    spikes: Tensor, labels: Tensor, *, tau_ms: float, dt_ms: float, class_weights: Tensor | None = None
) -> Tensor:
    """The same of minus the first-spike time: firing tau_ms earlier makes a class e times as likely.

    spikes: [T, B, K].  tau_ms, dt_ms: > 0.  Raises ValueError when they are not, and as max_cross_entropy.
    """
    positive(tau_ms=tau_ms)
    return _cross_entropy(-first_spike_time(spikes, dt_ms=dt_ms) / tau_ms, labels, class_weights, "spikes are [T, B, K]")


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Class weights [K] that make every class count the same: B / (K · trials of the class).

    Raises ValueError when a class has no trial, and for a label outside 0 … classes - 1.
    """
    if wrong := _misfit(labels, classes):
        raise wrong
    counts = torch.bincount(labels, minlength=classes)
    if (counts == 0).any():
        raise ValueError(f"class {int((counts == 0).nonzero()[0])} has no trial; leave it out or give class weights by hand")
    return len(labels) / (classes * counts.to(torch.get_default_dtype()))


# -- mean squares ----------------------------------------------------------------------------------------------


def mean_square_count(spikes: Tensor, labels: Tensor, *, right: float, wrong: float = 0.0) -> Tensor:
    """Mean over trials and read-outs of (spike count - target)².

    spikes: [T, B, K].  labels: int [B].  right, wrong: target of the labelled read-out and of the others, in spikes a trial.
    Raises ValueError when the shapes do not fit, for a label outside 0 … K - 1, or unless 0 <= wrong < right <= T.
    """
    T, B, K = _in_time(spikes, "spikes").shape
    if not 0 <= wrong < right <= T:
        raise ValueError(f"right = {right:g} and wrong = {wrong:g} are spikes in a trial of {T} steps; give 0 <= wrong < right <= {T}")
    labels = _checked(labels, spikes[0], None, "spikes are [T, B, K]")
    try:
        is_right = functional.one_hot(labels, K).to(spikes.dtype)
    except RuntimeError as error:
        raise _misfit(labels, K) or error from None
    target = wrong + (right - wrong) * is_right
    return functional.mse_loss(spikes.sum(dim=0), target)


def first_spike_time(spikes: Tensor, *, dt_ms: float) -> Tensor:
    """The time in ms of each read-out's first spike [B, K], T dt where there is none; differentiable, see above.

    spikes: [T, B, K], 0 or 1 (or probabilities).  A spike in step s has the time s dt.  Raises ValueError for other shapes, dt_ms <= 0.
    """
    positive(dt_ms=dt_ms)
    return dt_ms * (1 - _in_time(spikes, "spikes")).cumprod(dim=0).sum(dim=0)


def first_spike_mean_square(spikes: Tensor, target_ms: Tensor, *, dt_ms: float) -> Tensor:
    """Mean over trials and read-outs of (first-spike time - target)², in ms².

    spikes: [T, B, K].  target_ms: [B, K]; T dt asks for silence.  Raises ValueError when the shapes do not fit.
    """
    time_ms = first_spike_time(spikes, dt_ms=dt_ms)
    if target_ms.shape != time_ms.shape:
        raise ValueError(f"target_ms has shape {tuple(target_ms.shape)}; spikes {tuple(spikes.shape)} need {tuple(time_ms.shape)}")
    return functional.mse_loss(time_ms, target_ms.to(time_ms))


# -- what they share -------------------------------------------------------------------------------------------


def _cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None, what: str) -> Tensor:
    return _mean(functional.cross_entropy, logits, _checked(labels, logits, class_weights, what), class_weights)


def _mean(loss: Callable[..., Tensor], x: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """The loss of x [B, K]. Raises ValueError for labels and class weights that give no mean."""
    try:
        value = loss(x, labels, weight=class_weights, ignore_index=NO_LABEL)
    except IndexError as error:
        raise _misfit(labels, x.shape[1]) or error from None
    if class_weights is not None and class_weights.device.type == "cpu" and not torch.compiler.is_compiling():
        least, total = float(class_weights.min()), float(class_weights.sum())
        if not (least >= 0 and 0 < total < inf):
            raise ValueError(f"class_weights = {class_weights.tolist()} must be finite and not negative, and not all 0")
        if least == 0 and not class_weights[labels].any():
            raise ValueError(
                "class_weights are 0 for the classes of all trials, so that there is no mean over them; leave these trials out"
            )
    return value


def _misfit(labels: Tensor, classes: int) -> ValueError | None:
    """The error where a label is no class. Looked for where torch has complained, so that a step of training does not pay for it."""
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if 0 <= low and high < classes:
        return None
    return ValueError(f"labels lie in {low} … {high}; give 0 … {classes - 1} for {classes} classes")


def _in_time(x: Tensor, name: str) -> Tensor:
    if x.ndim != 3 or not len(x):
        raise ValueError(f"{name} has shape {tuple(x.shape)}; give [T, B, K] with at least one step")
    return x


def _checked(labels: Tensor, logits: Tensor, class_weights: Tensor | None, what: str) -> Tensor:
    """The labels, if they and the class weights fit logits [B, K]."""
    if labels.shape != logits.shape[:1] or labels.is_floating_point():
        raise ValueError(f"{what} and labels are int [B]; got B = {len(logits)} and {labels.dtype} {tuple(labels.shape)}")
    if class_weights is not None and class_weights.shape != logits.shape[1:]:
        raise ValueError(f"class_weights has shape {tuple(class_weights.shape)}; give one weight for each of the {logits.shape[1]} classes")
    return labels.long()
