"""Networks written as a line of text, and what their layers are made of; models/engines/torch/stacks makes torch modules of them."""

from spiketwin.models.stacks.architectures import resnet, vgg
from spiketwin.models.stacks.cells import leaky, leaky_integrator, tau_from_beta
from spiketwin.models.stacks.heterogeneity import each, gamma, lognormal, of_both_signs, uniform
from spiketwin.models.stacks.lags import AT_ONCE
from spiketwin.models.stacks.text import StackError, StackText, parse

__all__ = [
    "AT_ONCE",
    "StackError",
    "StackText",
    "each",
    "gamma",
    "leaky",
    "leaky_integrator",
    "lognormal",
    "of_both_signs",
    "parse",
    "resnet",
    "tau_from_beta",
    "uniform",
    "vgg",
]
