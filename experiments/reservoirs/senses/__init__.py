"""How samples become the spikes that a liquid hears. Each sample's spikes depend on that sample alone, and not on chance.

    OnOff        numbers: each feature drives two channels, one by what exceeds its mean, one by what falls short of it
    EventInput   events: cochlea words, event cameras, as they are

A sense is an estimator without labels: fit(X) learns scales, inputs_ is its number of channels, spikes(X) gives (Spikes, ends).
"""

from spiketwin.experiments.reservoirs.senses.event_input import EventInput, is_events, joined
from spiketwin.experiments.reservoirs.senses.on_off import OnOff
from spiketwin.experiments.reservoirs.senses.protocol import Sense

__all__ = ["EventInput", "OnOff", "Sense", "is_events", "joined"]
