"""Exclusive or, learned from reward and punishment alone.

Two groups of inputs fire at a rate for 1 and are silent for 0; hidden neurons and one output neuron learn. Each output spike is rewarded
where the answer is 1 and punished where it is 0, at all synapses of the network alike. The critics that do so are neurons, too:
one hears the output and passes it on as reward unless the lesson vetoes it, the other as punishment. Many networks learn
side by side, half of them controls, whose lesson is that of a pattern drawn at random.

Source: Florian 2007, Neural Comput. 19:1468, section 4.2, with an eligibility trace (MSTDPET).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse

from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import lif_delta
from spiketwin.models.neurons.listening import modulated
from spiketwin.models.spikes import Spikes
from spiketwin.rules.plasticity.reward import florian

if TYPE_CHECKING:
    from spiketwin.experiments.studies.learning_rules.rewards.reward import Config

PATTERNS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
ANSWERS = PATTERNS[:, 0] ^ PATTERNS[:, 1]
PATTERN_MS = 500.0
GROUP = 30  # inputs of each group; half of them excite, half inhibit
LARGEST_MV = 5.0
CELL = {"tau_mem": 20, "v_rest": -70, "v_reset": -70, "v_threshold": -54, "tau_ref": 0}


def network(config: Config, seed: int) -> Network:
    """`2 * networks` networks side by side; the second half are controls. Inputs are shared, all else is each one's own."""
    rng = np.random.default_rng([seed, 3])
    copies, hidden, inputs = 2 * config.networks, config.hidden, 2 * GROUP
    one = scipy.sparse.eye_array(copies, format="csr")
    to_hidden = scipy.sparse.csr_array(np.repeat(np.eye(copies), hidden, axis=0))  # [copies * hidden, copies]
    excites = np.arange(inputs) % 2 == 0
    drawn = rng.uniform(0, LARGEST_MV, (copies * hidden, inputs))
    up = florian.with_parameters(eta=config.xor_eta_hz, w_max=LARGEST_MV)
    down = florian.with_parameters(eta=config.xor_eta_hz, w_min=-LARGEST_MV, w_max=0)

    def some(which: np.ndarray, sign: float) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array(np.where(which, sign * drawn, 0))

    out = to_hidden.T.tocsr()
    out.data = rng.uniform(0, LARGEST_MV, out.nnz)
    neurons = modulated(lif_delta)
    projections = [
        Projection("input", "hidden", some(excites, 1.0), "v", "mV", name="exciting", rule=up),
        Projection("input", "hidden", some(~excites, -1.0), "v", "mV", name="inhibiting", rule=down),
        Projection("hidden", "output", out, "v", "mV", name="reading", rule=up),
    ]
    for critic, sign in (("reward", 1.0), ("punishment", -1.0)):
        projections += [
            Projection("output", critic, 100.0 * one, "v", "mV"),
            Projection(f"no_{critic}", critic, -1000.0 * one, "v", "mV"),
            Projection(critic, "hidden", sign * to_hidden, "d", "1"),
            Projection(critic, "output", sign * one, "d", "1"),
        ]
    return Network(
        [
            Population("hidden", neurons, copies * hidden, {**CELL, "tau_d": config.dt_ms}),
            Population("output", neurons, copies, {**CELL, "tau_d": config.dt_ms}),
            *(Population(critic, lif_delta, copies, {**CELL, "tau_mem": config.dt_ms}) for critic in ("reward", "punishment")),
        ],
        projections,
        [SpikeSource("input", inputs), *(SpikeSource(f"no_{critic}", copies) for critic in ("reward", "punishment"))],
    )


def lesson(config: Config, seed: int, epoch: int, *, teach: bool = True) -> tuple[np.ndarray, dict[str, Spikes]]:
    """The order of the four patterns [4] in an epoch, and its spikes. teach: whether answers are judged at all."""
    rng = np.random.default_rng([seed, 4 + teach, epoch])
    copies, dt = 2 * config.networks, config.dt_ms
    order, each = rng.permutation(4), round(PATTERN_MS / dt)
    judged = np.repeat(ANSWERS[order][:, None], copies, axis=1)  # [4, copies]
    judged[:, config.networks :] = ANSWERS[rng.integers(0, 4, (4, config.networks))]
    rates = np.repeat(PATTERNS[order], GROUP, axis=1) * config.input_hz
    on = {
        "input": rng.random((4, each, 2 * GROUP)) < (rates * dt * 1e-3)[:, None],
        "no_reward": np.broadcast_to((judged == 0 if teach else judged >= 0)[:, None], (4, each, copies)),
        "no_punishment": np.broadcast_to((judged == 1 if teach else judged >= 0)[:, None], (4, each, copies)),
    }
    made = {}
    for name, shown in on.items():
        step, who = np.nonzero(shown.reshape(4 * each, -1))
        made[name] = Spikes(step, np.zeros_like(step), who, (4 * each, 1, shown.shape[-1]), dt)
    return order, made


def answers(order: np.ndarray, output: Spikes) -> np.ndarray:
    """Output spikes of each network by pattern, [copies, 4] in the order of PATTERNS."""
    steps, _, copies = output.shape
    found = np.zeros((copies, 4))
    np.add.at(found, (output.neuron, order[output.step // (steps // 4)]), 1)
    return found


def margin(counts: np.ndarray) -> np.ndarray:
    """Spikes at the rarer of the patterns that mean 1, less those at the more frequent of the others; above 0: exclusive or."""
    return counts[:, ANSWERS == 1].min(axis=1) - counts[:, ANSWERS == 0].max(axis=1)
