"""Conditioning with delayed reward: which of many stimuli is worth something, when the reward comes seconds later, among others.

Groups of inputs fire one after another, in random order and amid background spikes. Each neuron hears all groups; after one of them, its
own, it gets a reward, one to three seconds late. What its synapses did then has long passed, and other groups have been active since. A
control gets as many rewards at random times. What counts is reward beyond the usual: steady small punishments take its mean away.

Source: Izhikevich 2007, Cereb. Cortex 17:2443, experiments 1 and 2, made small: each neuron is an animal of its own.
Frémaux, Sprekeler & Gerstner 2010, J. Neurosci. 30:13326, for why the mean must go: with it, whatever is active grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import lif_delta
from spiketwin.models.neurons.listening import modulated
from spiketwin.models.spikes import Spikes
from spiketwin.rules.plasticity.reward import izhikevich

if TYPE_CHECKING:
    from spiketwin.experiments.studies.learning_rules.rewards.reward import Config

BLOCK_MS = 10_000.0
STIMULI_S = 0.2  # between stimuli, on average
USUAL_MS = 100.0  # between the small punishments that add up to the mean reward
START_MV, LARGEST_MV = 3.0, 6.0


class Events(NamedTuple):
    """What happens in a run: at_ms [E] and group [E] of stimuli; reward_step [R] and neuron [R] of rewards."""

    at_ms: np.ndarray
    group: np.ndarray
    reward_step: np.ndarray
    reward_neuron: np.ndarray


def network(config: Config) -> Network:
    """Neurons that learn from rewards and, after these, as many controls. Every neuron hears every input."""
    n, inputs = 2 * config.learners, config.groups * config.group_inputs
    rule = izhikevich.with_parameters(eta=config.eta_hz, w_max=LARGEST_MV)
    return Network(
        [Population("cells", modulated(lif_delta), n, {"tau_mem": 10, "v_rest": -70, "v_reset": -70, "v_threshold": -55, "tau_ref": 2})],
        [
            Projection("input", "cells", np.full((n, inputs), START_MV), "v", "mV", name="learning", rule=rule),
            Projection("reward", "cells", np.eye(n), "d", "1"),
            Projection("usual", "cells", np.full((n, 1), -1e-3 * USUAL_MS / (STIMULI_S * config.groups)), "d", "1"),
        ],
        [SpikeSource("input", inputs), SpikeSource("reward", n), SpikeSource("usual", 1)],
    )


def own_group(config: Config) -> np.ndarray:
    """Which group is followed by reward, of each learner and of each control."""
    return np.tile(np.arange(config.learners) % config.groups, 2)


def events(config: Config, seed: int) -> Events:
    """Stimuli every 100 … 300 ms, and rewards: of learners 1 … 3 s after their group, of controls as many at random times."""
    rng = np.random.default_rng([seed, 1])
    total_ms = config.duration_ms
    at_ms = np.cumsum(rng.uniform(100, 300, int(total_ms / 100)))
    at_ms = at_ms[at_ms < total_ms - 100]
    group = rng.integers(0, config.groups, len(at_ms))
    step, neuron = [], []
    for k, own in enumerate(own_group(config)):
        late = at_ms[group == own] + rng.uniform(*config.delay_ms, np.count_nonzero(group == own))
        late = late[late < total_ms]
        times = late if k < config.learners else rng.uniform(0, total_ms, len(late))
        step.append((times / config.dt_ms).astype(int))
        neuron.append(np.full(len(times), k))
    return Events(at_ms, group, np.concatenate(step), np.concatenate(neuron))


def spikes(config: Config, what: Events, seed: int, first_ms: float) -> dict[str, Spikes]:
    """Inputs of one block: each neuron of a group once, within 5 ms, at its stimulus; Poisson spikes besides; rewards."""
    inputs, dt = config.groups * config.group_inputs, config.dt_ms
    steps, first = round(BLOCK_MS / dt), round(first_ms / dt)
    rng = np.random.default_rng([seed, 2, first])
    here = (what.at_ms >= first_ms) & (what.at_ms < first_ms + BLOCK_MS - 10)
    at = np.repeat(what.at_ms[here] - first_ms, config.group_inputs)
    which = (what.group[here, None] * config.group_inputs + np.arange(config.group_inputs)).ravel()
    on = rng.random((steps, inputs)) < config.background_hz * dt * 1e-3
    on[((at + rng.uniform(0, 5, len(at))) / dt).astype(int), which] = True
    step, neuron = np.nonzero(on)
    now = (what.reward_step >= first) & (what.reward_step < first + steps)
    rewards = np.unique(np.stack([what.reward_step[now] - first, what.reward_neuron[now]]), axis=1)
    usual = np.arange(0, steps, round(USUAL_MS / dt))
    made = {"input": (step, neuron, inputs), "reward": (*rewards, 2 * config.learners), "usual": (usual, np.zeros_like(usual), 1)}
    return {name: Spikes(t, np.zeros_like(t), who, (steps, 1, size), dt) for name, (t, who, size) in made.items()}


def preferences(config: Config, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each neuron: mean weight of its own group and of the best of the others, [2 * learners] each, in mV."""
    means = weights.reshape(len(weights), config.groups, config.group_inputs).mean(axis=2)
    k, own = np.arange(len(means)), own_group(config)
    others = means.copy()
    others[k, own] = -np.inf
    return means[k, own], others.max(axis=1)
