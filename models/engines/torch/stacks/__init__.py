"""Networks written as a line of text as torch modules, and the parts they are made of."""

from spiketwin.models.engines.torch.stacks.build import stack
from spiketwin.models.engines.torch.stacks.delays import DelayedLinear
from spiketwin.models.engines.torch.stacks.dropout import HeldDropout
from spiketwin.models.engines.torch.stacks.lstm import SpikingLSTM
from spiketwin.models.engines.torch.stacks.norm import NormOverTime, NormThroughTime
from spiketwin.models.engines.torch.stacks.recurrent import RecurrentLayer
from spiketwin.models.engines.torch.stacks.retarget import retarget
from spiketwin.models.engines.torch.stacks.several import SeveralSteps
from spiketwin.models.engines.torch.stacks.stack import Stack, StackActivity

__all__ = [
    "DelayedLinear",
    "HeldDropout",
    "NormOverTime",
    "NormThroughTime",
    "RecurrentLayer",
    "SeveralSteps",
    "SpikingLSTM",
    "Stack",
    "StackActivity",
    "retarget",
    "stack",
]
