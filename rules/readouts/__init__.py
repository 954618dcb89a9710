"""Read-outs: what they see of a network's activity (features.py), and how they learn from it.

Ridge regression, logistic regression and support vector machines are scikit-learn's. Ours are what it lacks: recursive least squares
(least_squares.py), the p-delta rule (p_delta.py) and neurons trained by surrogate gradients (spiking.py), each an estimator as its are.
"""

from spiketwin.rules.readouts.features import FilteredSpikes, Membranes, SpikeCounts
from spiketwin.rules.readouts.least_squares import RecursiveLeastSquares
from spiketwin.rules.readouts.p_delta import PDelta
from spiketwin.rules.readouts.spiking import SpikingReadout

__all__ = ["FilteredSpikes", "Membranes", "PDelta", "RecursiveLeastSquares", "SpikeCounts", "SpikingReadout"]
