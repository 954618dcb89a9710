"""Recurrent networks that echo their input: liquids of every topology, ensembles of them, and published networks.

liquid.py       Liquid, liquid(): any topology, strengths, neuron model and distribution of parameters
maass.py        the column of Maass, Natschläger & Markram 2002
fast_slow.py    fast fixed synapses beside slow trainable ones
ensembles.py    partitioned, several time constants, deep with winner-take-all encoders
topology.py, wiring.py, strengths.py    who is connected, who hears the input, how strongly
published.py    networks of Vogels & Abbott 2005 and Brunel 2000
alive.py        check_alive(): errors that name the parameter to move
"""

from spiketwin.models.reservoirs.alive import LiquidError, check_alive
from spiketwin.models.reservoirs.ensembles import deep, partitioned, several_time_constants
from spiketwin.models.reservoirs.fast_slow import fast_slow_liquid
from spiketwin.models.reservoirs.kinds import ByKind
from spiketwin.models.reservoirs.liquid import INPUT, Liquid, liquid
from spiketwin.models.reservoirs.maass import maass_column

__all__ = [
    "INPUT",
    "ByKind",
    "Liquid",
    "LiquidError",
    "check_alive",
    "deep",
    "fast_slow_liquid",
    "liquid",
    "maass_column",
    "partitioned",
    "several_time_constants",
]
