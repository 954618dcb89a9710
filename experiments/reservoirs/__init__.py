"""Liquid state machines as estimators: an input becomes spikes (senses/), a liquid answers them (states.py), a read-out learns (estimator.py);
diagnostics/ says what a liquid is like. adaptation.py: liquids that adapt before the read-out is trained; force.py: FORCE learning."""

from spiketwin.experiments.reservoirs.estimator import LiquidRegressor, LiquidStateMachine, LiquidStates
from spiketwin.experiments.reservoirs.senses import BSA, Delta, EventInput, OnOff, Rates, Spectrogram

__all__ = ["BSA", "Delta", "EventInput", "LiquidRegressor", "LiquidStateMachine", "LiquidStates", "OnOff", "Rates", "Spectrogram"]
