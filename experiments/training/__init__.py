"""Training: what happens in an epoch, what is shown, what is kept, how it resumes.

    history = fit(module, loss, validate, samples=60_000, schedule=Schedule(30, 256, 1e-3), seed=0, checkpoint=path)

`loss` is a function of the batch and of random numbers, so that what is trained, and how, is composed outside:
truncated(chunk, …) carries the state from chunk to chunk, mixed_precision(loss) computes in bfloat16, drawing_dt(losses)
takes each batch at another time step. The same program
under `torchrun --nproc-per-node N` shares every batch among N processes.
"""

from spiketwin.experiments.training.chunks import detached, mixed_precision, truncated
from spiketwin.experiments.training.fit import CheckpointError, Loss, Row, activity, batches, best_epoch, fit
from spiketwin.experiments.training.picture import draw_history, save_history
from spiketwin.experiments.training.processes import device
from spiketwin.experiments.training.schedule import DECAYS, Constant, Cosine, Schedule, Steps, WarmUp
from spiketwin.experiments.training.several_dt import drawing_dt, mean_over_dt

__all__ = [
    "DECAYS",
    "CheckpointError",
    "Constant",
    "Cosine",
    "Loss",
    "Row",
    "Schedule",
    "Steps",
    "WarmUp",
    "activity",
    "batches",
    "best_epoch",
    "detached",
    "device",
    "draw_history",
    "drawing_dt",
    "fit",
    "mean_over_dt",
    "mixed_precision",
    "save_history",
    "truncated",
]
