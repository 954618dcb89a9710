"""Networks as torch modules, and the engine that runs them without gradients."""

from spiketwin.models.engines.torch.engine import ENGINE, TorchEngine
from spiketwin.models.engines.torch.module import Activity, TorchNetwork, groups

__all__ = ["ENGINE", "Activity", "TorchEngine", "TorchNetwork", "groups"]
