"""Every learning rule in Brian2, in the compiled engine and in torch, on one recurrent network with delays.

Each neuron has sparse plastic inputs from Poisson trains and from other neurons, a delay for each synapse, and a current that holds it
near its threshold. Rules that wait for a neuromodulator get rewards and punishments at random times. Weights of all synapses are kept at
every step, with the membranes; random rules draw the same numbers in all engines, so that they, too, must agree.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse

from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.models.network import Network, PoissonSource, Population, Projection
from spiketwin.models.neurons import neuron
from spiketwin.models.neurons.listening import listening
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.recording import Recording
from spiketwin.rules import RULES

QUESTION = "Does every learning rule change the weights alike in Brian2, in the compiled engine and in torch?"
OBJECTIVE = None  # nothing is learned
SEEDS_TO_PUBLISH = 1  # nothing is trained; the sample is the rules and their synapses
BOUND = 1e-9  # of the largest weight, and of the range of the membrane

# constants at which a rule moves weights of this network; the published ones of all others do
LIVELY = {
    "clopath": {"theta_minus": "-65 mV", "theta_plus": "-56 mV", "a_ltd": 2e-3, "a_ltp": 2e-4},
    "synaptic_scaling": {"tau_rate": "1 second", "tau_scaling": "20 second"},
    "structural_rewiring": {"w_prune": 0.6, "tau_out": "1 second", "tau_in": "2 second"},
    "oja": {"eta": 0.01},
    "hebb": {"eta": 0.01},
    "bcm": {"eta": 0.01, "tau_theta": "1 second"},
}


@dataclass(frozen=True)
class Config:
    """The network, and for how long it runs."""

    duration_ms: float = 60_000.0
    """Length of a run in ms."""
    dt_ms: float = 2.0
    """Time step in ms."""
    neurons: int = 10
    """Neurons that learn."""
    inputs: int = 12
    """Poisson inputs."""
    rate_hz: float = 15.0
    """Their rate in Hz."""
    share: float = 0.4
    """Share of pairs that a synapse connects."""
    rewards_hz: float = 1.0
    """Rewards a second, and as many punishments, where the rule listens to them."""


def network(config: Config, rule: PlasticityRule, seed: int) -> Network:
    """The network whose two projections, 'feed' and 'recurrent', follow the rule."""
    rng = np.random.default_rng([seed, 0])
    size = config.neurons

    def projection(source: str, name: str, n_pre: int, longest_ms: float, scale: float) -> Projection:
        weights = scipy.sparse.random_array(
            (size, n_pre), density=config.share, format="csr", rng=rng, data_sampler=lambda size: rng.random(size)
        )
        delays = weights.copy()
        delays.data = rng.uniform(0, longest_ms, weights.nnz)
        weights.data *= scale
        if "levels" in rule.parameters:
            weights.data = np.round(weights.data / scale)  # the lowest and the highest
        return Projection(source, "cells", weights, "i_syn", "nA", delays, name=name, rule=rule)

    spec = listening(neuron("cuba_lif"), rule.post_states)
    # 8 Mohm: a weight of 1 nA lifts the voltage by some 2 mV; the currents alone lead to 18 … 23 mV, the threshold is at 20
    cells = Population("cells", spec, size, {"r": 8}, {"i_ext": rng.uniform(2.2e-9, 2.9e-9, size)})
    projections = [projection("input", "feed", config.inputs, 10, 1.0), projection("cells", "recurrent", size, 6, 0.5)]
    sources = [PoissonSource("input", config.inputs, config.rate_hz)]
    if "d" in spec.inputs:
        projections += [
            Projection(name, "cells", np.full((size, 1), sign), "d", "1") for name, sign in (("reward", 1.0), ("punishment", -1.0))
        ]
        sources += [PoissonSource(name, 1, config.rewards_hz) for name in ("reward", "punishment")]
    return Network([cells], projections, sources)


def compare(config: Config, rule: PlasticityRule, seed: int) -> dict[str, float]:
    """Of one rule: largest difference of a weight and of a membrane from Brian2's, spikes that differ, and how many weights moved, in percent."""
    from spiketwin.models.engines.brian import BrianEngine
    from spiketwin.models.engines.compiled import CompiledEngine
    from spiketwin.models.engines.torch import TorchEngine

    made = network(config, rule, seed)
    kept = {"feed": ("w",), "recurrent": ("w",), "cells": ("v",)}
    arguments = dict(dt_ms=config.dt_ms, scheme="euler", duration_ms=config.duration_ms, record=kept, seed=seed)
    brian, *others = (engine.run(made, **arguments) for engine in (BrianEngine(codegen="numpy"), CompiledEngine(), TorchEngine()))

    def of(run: Recording) -> tuple[list[np.ndarray], np.ndarray, set]:
        fired = run.spikes["cells"]
        weights = [run.states[name]["w"][:, 0] for name in ("feed", "recurrent")]
        return weights, run.states["cells"]["v"], set(zip(fired.step.tolist(), fired.neuron.tolist(), strict=True))

    weights, v, spikes = of(brian)
    apart = {}
    for run in others:
        its_weights, its_v, its_spikes = of(run)
        apart[run.engine] = {
            "difference": max(float(np.abs(x - y).max() / np.abs(x).max()) for x, y in zip(weights, its_weights, strict=True)),
            "membrane": float(np.abs(v - its_v).max() / np.ptp(v)),
            "differing": len(spikes ^ its_spikes),
        }
    return {
        **{name: max(engine[name] for engine in apart.values()) for name in ("difference", "membrane", "differing")},
        **{f"difference_{engine}": found["difference"] for engine, found in apart.items()},
        "spikes": len(spikes),
        "moved": 100 * float(np.mean(np.concatenate([np.ptp(x, axis=0) > 1e-3 for x in weights]))),
    }


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return answer(config, seed, split="none: nothing is trained")


def answer(config: Config, seed: int, *, names: Collection[str] = tuple(RULES), split: str, quiet: bool = False) -> Result:
    with measured(split=split) as provenance, progress("rules in three engines", 1.0, quiet=quiet) as show:
        rows = {}
        for k, name in enumerate(names):
            rows[name] = compare(config, RULES[name].with_parameters(**LIVELY.get(name, {})), seed)
            show.update((k + 1) / len(names), note=f"{name}: {rows[name]['difference']:.1e}")
    learning = [row for name, row in rows.items() if any(s.target == "w" for t in RULES[name].statements.values() for s in t)]
    found = {
        "rules": len(rows),
        "rules_equal": sum(max(row["difference"], row["membrane"]) < BOUND and not row["differing"] for row in rows.values()),
        "largest_difference": max(row["difference"] for row in rows.values()),
        "largest_difference_compiled": max(row["difference_compiled"] for row in rows.values()),
        "largest_difference_torch": max(row["difference_torch"] for row in rows.values()),
        "spikes": sum(row["spikes"] for row in rows.values()),
        "differing_spikes": sum(row["differing"] for row in rows.values()),
        "fewest_weights_moved": min(row["moved"] for row in learning),
    }
    return single(sys.modules[__name__], config, seed, found, curves={"rules": rows}, provenance=provenance)


def smoke() -> Result:
    """One rule of each kind, for 600 ms: traces of both sides, voltage, calcium, chance, reward, and transmission."""
    kinds = ("triplet_cortex", "clopath", "calcium", "stochastic_traces", "reward_izhikevich", "short_term_depression")
    return answer(Config(duration_ms=600.0), 0, names=kinds, split="smoke test", quiet=True)
