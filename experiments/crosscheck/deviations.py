"""Known deviations: rows of the cross-check that are expected to miss their bound, each with the reason.

A row that deviates without an entry fails; so does an entry whose rows hold again, or that covers none.
"""

from __future__ import annotations

from spiketwin.experiments.crosscheck.checks import Deviation

# One first-spike volley lifts a hidden neuron over several thresholds within a millisecond. Trained at 1 ms, with one
# spike a step, it spreads them over the next steps; at a finer step it fires them at once (a quarter more spikes), which the
# read-out was not trained on.
BURSTS = "trained at 1 ms, at most one spike a step; the ODE fires bursts within a step, so a quarter more spikes reach the read-out"

# Three of four spikes of the trained Braille network follow one of the same neuron a step before: it would fire more often if it
# could. At a finer step it does (2.1, 4.3, 11 times as often), and its recurrent weights were not trained on that. With a refractory
# period of one step of training (models/stacks/arrivals.py, once_per_step) 98.5 to 100 % stay right at 6.25, 3.125 and 1.5625 ms.
SATURATED = "trained at 12.5 ms, where most hidden neurons fire at every step or not; in finer steps they fire ever more often"

# With that refractory period Braille is read (98.5 to 100 %), but by trains that are others: neurons which fire whenever they may go on
# firing once a period, at a phase of their own, where all of them fired in step before.
PHASES = (
    "held to one spike per 12.5 ms, neurons fire about as often, but no longer in step with each other; the letters are read all the same"
)

DEVIATIONS: tuple[Deviation, ...] = (
    *(
        Deviation("trained_fashion", "consequence", f"Brian2 at {dt} ms: {quantity}", BURSTS)
        for dt in ("0.25", "0.125", "0.0625")
        for quantity in ("accuracy", "same prediction as torch")
    ),
    Deviation("trained_fashion", "consequence", "Brian2 at 0.0625 ms: hidden layer, spikes per spike of torch", BURSTS),
    *(
        Deviation("trained_fashion_fashion_ttfs_200", "consequence", f"Brian2 at {dt} ms: {quantity}", BURSTS)
        for dt in ("0.25", "0.125")
        for quantity in ("accuracy", "same prediction as torch")
    ),
    Deviation("trained_braille", "convergence", "change of the agreement over the last halving of dt", SATURATED),
    *(Deviation("trained_braille", "consequence", f"Brian2 at {dt} ms: *", SATURATED) for dt in ("6.25", "3.125", "1.5625")),
    *(
        Deviation("trained_braille_once_per_step", "consequence", f"Brian2 at {dt} ms: neurons1 layer, coincidence with torch", PHASES)
        for dt in ("6.25", "3.125", "1.5625")
    ),
    Deviation("trained_braille_once_per_step", "consequence", "Brian2 at 1.5625 ms: neurons1 layer, median shift of first spikes", PHASES),
)
