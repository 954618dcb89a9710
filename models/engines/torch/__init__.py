"""Networks as torch modules, and the engine that runs them without gradients."""

from spiketwin.models.engines.torch.encoding import EncodingLayer
from spiketwin.models.engines.torch.engine import ENGINE, TorchEngine
from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.module import Activity, TorchNetwork, groups
from spiketwin.models.engines.torch.over_time import OverTime, over_time

__all__ = ["Activity", "ENGINE", "EncodingLayer", "OverTime", "SpikingLayer", "TorchEngine", "TorchNetwork", "groups", "over_time"]
