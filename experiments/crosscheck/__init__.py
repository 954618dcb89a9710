"""Do the engines agree? Three levels over every registered model and a trained network, in one report.

identity (identity.py): same scheme, same dt, equal spikes. convergence (convergence.py): the error falls with
the declared order. consequence (consequence.py, trained.py): what the time step does to spikes and accuracy.
"""

from spiketwin.experiments.crosscheck.run import CrosscheckConfig, run_crosscheck

__all__ = ["CrosscheckConfig", "run_crosscheck"]
