"""The compiled engine: numba, event-driven, one compiled time loop per network structure.

The loop is generated from the same derived step as every other engine (source.py) and kept on
disk (cache.py), so that only the first run of a structure on a machine compiles, for about two
seconds. Threads share out whole trials; they are torch's where torch is loaded (threads.py), so that no second
thread pool disturbs it. Where there are more threads than trials, they share out the neurons of each step and tell each other
after it who fired (meeting.py). Sums are always taken in the same order: results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.models.engines.base import Inputs, prepare, require_supported, scheme_reasons
from spiketwin.models.engines.compiled.program import Program
from spiketwin.models.engines.compiled.source import names_in
from spiketwin.models.engines.threads import threads
from spiketwin.models.network import Network
from spiketwin.models.recording import Record, Recording

if TYPE_CHECKING:
    from spiketwin.models.engines.compiled.session import Session


@dataclass(frozen=True)
class CompiledEngine:
    """dtype: 'float64', or 'float32' where rounding may differ from the other engines.
    threads: trials, or parts of the neurons, run side by side at most; 0: as many as threads.threads() says. Give 1 where as many
    processes as there are cores run already: threads that step one network wait for each other after each step.
    """

    dtype: str = "float64"
    threads: int = 0
    name: str = "compiled"

    def __post_init__(self) -> None:
        if self.dtype not in ("float64", "float32"):
            raise ValueError(f"dtype = '{self.dtype}' is not 'float64' or 'float32'")
        if self.threads < 0:
            raise ValueError(f"threads = {self.threads} must be positive, or 0 for one per core")

    def unsupported(self, network: Network, scheme: str) -> list[str]:
        reasons = scheme_reasons(network, scheme)
        for spec in {p.neuron.name: p.neuron for p in network.populations}.values():
            if names_in(spec.reset) & {"rand", "randn"}:
                reasons.append(f"the reset of '{spec.name}' draws random numbers; draw them in the threshold or the equations")
        return reasons

    def run(
        self,
        network: Network,
        inputs: Inputs | None = None,
        *,
        dt_ms: float,
        scheme: str = "exact",
        duration_ms: float | None = None,
        trials: int = 1,
        record: Record | None = None,
        noise: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> Recording:
        """As Engine.run. States come in the engine's dtype."""
        require_supported(self, network, scheme)
        run = prepare(
            network,
            inputs,
            dt_ms=dt_ms,
            scheme=scheme,
            duration_ms=duration_ms,
            trials=trials,
            record=record,
            noise=noise,
            seed=seed,
            draw_poisson=False,
        )
        program = Program(run, np.dtype(self.dtype))
        program.execute(self.threads or threads(), progress)
        return program.recording()

    def start(self, network: Network, *, dt_ms: float, scheme: str = "exact", seed: int = 0) -> Session:
        """A session: one network that is run again and again and keeps its states, weights and traces.

        Raises ValueError for bad input or when unsupported() is not empty.
        """
        from spiketwin.models.engines.compiled.session import Session

        require_supported(self, network, scheme)
        return Session(network, dt_ms=dt_ms, scheme=scheme, seed=seed, dtype=np.dtype(self.dtype), threads=self.threads or threads())


ENGINE = CompiledEngine()
