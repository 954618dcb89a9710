"""Which settings of a recurrent spiking network matter on the Spiking Heidelberg Digits: the grid of the thesis, on its own data.

Three values of hidden neurons, steps, surrogate scale and spike penalty, 81 networks. The data are fetched by hand or with
SPIKETWIN_DOWNLOAD=1; without them the study says how, and its smoke form runs the grid on words that it makes up in the same format.

Source: the thesis that this project grew from; Cramer et al. 2022, IEEE TNNLS 33 (data).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.parameters import parameter_study_spoken
from spiketwin.experiments.studies.recurrent import shd, spoken

QUESTION = "Which settings of a recurrent spiking network matter on the Spiking Heidelberg Digits?"
OBJECTIVE = None  # it is a sweep itself
PUBLISHED = "a training accuracy of 99.92 % at 200 or more hidden units, 75 or fewer steps, a scale of 100 and a regulariser of 2e-6"
SEEDS_TO_PUBLISH = 1  # the sample is the 81 networks


@dataclass(frozen=True)
class Config(parameter_study_spoken.Config):
    """The grid. All else is as in shd."""

    steps: tuple[int, ...] = (80, 100, 120)
    """Steps of a word of 1.4 s."""
    files: str = ""
    """A folder with shd_train.h5 and shd_test.h5 of your own, in the format of the Heidelberg digits; used in their place."""


def base(config: Config) -> shd.Config:
    how = dict(listeners=(spoken.RSNN,), epochs=config.epochs, learning_rate=config.learning_rate, files=config.files)
    return replace(shd.Config(), **how)


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return parameter_study_spoken.run_as(sys.modules[__name__], shd, base(config), config, seed, folder=folder, published=PUBLISHED)


def smoke() -> Result:
    """A grid of two by two, two epochs each, of made-up words in files of the same format."""
    with TemporaryDirectory() as folder:
        shd.made_up(Path(folder), classes=3, words=4, speakers=6, seed=0)
        grid = dict(hidden=(16, 32), steps=(35,), surrogate_scale=(10.0,), regulariser=(0.0, 10.0))
        config = replace(Config(), **grid, epochs=2, workers=1, learning_rate=5e-3)
        small = replace(base(config), files=folder, duration_ms=700, batch_size=16)
        return parameter_study_spoken.run_as(sys.modules[__name__], shd, small, config, 0, folder=None, published=PUBLISHED, quiet=True)
