"""One network at several time steps: one set of parameters, a module per step that is derived from them anew in every run.

    several = SeveralSteps(net, (0.25, 0.5, 1, 2))
    several.at(0.25)({"input": spikes})     # gradients reach the parameters of `net`

Trained at all of these steps, a network cannot come to depend on how one of them counts: on a neuron that wants to fire ten times in
a step but can only once, or on what falls into the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.func import functional_call

from spiketwin.models.engines.torch.module import TorchNetwork
from spiketwin.models.engines.torch.stacks.norm import NormOverTime, NormThroughTime
from spiketwin.models.engines.torch.stacks.retarget import at_step, rederived
from spiketwin.models.engines.torch.stacks.stack import Stack


class SeveralSteps:
    """net: a TorchNetwork or Stack, the one to train.  dts_ms: steps to run it at.  shown: as in `retarget`, for a Stack.

    Raises ValueError for a batch norm, whose running statistics belong to one step, and for what cannot be retargeted.
    """

    def __init__(self, net: TorchNetwork | Stack, dts_ms: Iterable[float], *, shown: str | None = None) -> None:
        if norms := [name for name, m in net.named_modules() if isinstance(m, NormThroughTime | NormOverTime)]:
            raise ValueError(f"'{norms[0]}' keeps statistics of one time step; leave BN out to train at several")
        self.net, self.shown = net, shown
        self.twins: dict[float, TorchNetwork | Stack] = {float(dt): at_step(net, dt) for dt in dts_ms}
        if not self.twins:
            raise ValueError("no steps given; give at least one, in ms")
        for twin in self.twins.values():
            self._values(twin)  # says now what cannot be re-derived

    @property
    def dts_ms(self) -> tuple[float, ...]:
        return tuple(self.twins)

    def at(self, dt_ms: float) -> Callable[..., Any]:
        """The network at one of the steps, called as `net` is."""
        if float(dt_ms) not in self.twins:
            raise ValueError(f"dt_ms = {dt_ms} is none of the steps {', '.join(f'{dt:g}' for dt in self.twins)}")
        twin = self.twins[float(dt_ms)]

        def run(*arguments: Any, **options: Any) -> Any:
            twin.train(self.net.training)
            return functional_call(twin, self._values(twin), arguments, options)

        return run

    def _values(self, twin: nn.Module) -> dict:
        if isinstance(self.net, Stack) and isinstance(twin, Stack):
            return rederived(self.net, twin, self.shown)
        return dict(self.net.named_parameters())
