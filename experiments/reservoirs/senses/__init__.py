"""How samples become the spikes that a liquid hears. Each sample's spikes depend on that sample alone, and not on chance.

    OnOff         numbers: each feature drives two channels, one by what exceeds its mean, one by what falls short of it
    Rates         numbers of known range, such as pixels: each a rate
    Delta         signals: a spike for each move of a given size, up or down
    BSA           signals: spikes whose filtered sum is the signal
    Spectrogram   sound: levels of mel bands, in one of the codes above
    EventInput    events: cochlea words, event cameras, as they are

A sense is an estimator without labels: fit(X) learns scales, inputs_ is its number of channels, spikes(X) gives (Spikes, ends).
"""

from spiketwin.experiments.reservoirs.senses.bsa import BSA
from spiketwin.experiments.reservoirs.senses.delta import Delta
from spiketwin.experiments.reservoirs.senses.event_input import EventInput, is_events, joined
from spiketwin.experiments.reservoirs.senses.on_off import OnOff
from spiketwin.experiments.reservoirs.senses.protocol import Sense
from spiketwin.experiments.reservoirs.senses.rates import Rates
from spiketwin.experiments.reservoirs.senses.spectrogram import Spectrogram

__all__ = ["BSA", "Delta", "EventInput", "OnOff", "Rates", "Sense", "Spectrogram", "is_events", "joined"]
