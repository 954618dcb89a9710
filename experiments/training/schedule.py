"""How long and how fast: epochs, batches, the course of the learning rate, when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

# (batch from 0, batches of the whole run) -> factor on the learning rate.
# A dataclass, since a checkpoint tells by its repr whether it is the same.
Decay = Callable[[int, int], float]


@dataclass(frozen=True)
class Constant:
    """The learning rate stays."""

    def __call__(self, batch: int, batches: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine, from 1 at the first batch to 0 after the last. Loshchilov & Hutter 2017, eq. 5, without restarts."""

    def __call__(self, batch: int, batches: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * batch / batches))


@dataclass(frozen=True)
class Steps:
    """Multiplied by `factor` at each of these shares of the run."""

    at: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not all(0 < share < 1 for share in self.at):
            raise ValueError(f"at = {self.at} must be shares of the run, between 0 and 1")

    def __call__(self, batch: int, batches: int) -> float:
        return self.factor ** sum(batch >= share * batches for share in self.at)


@dataclass(frozen=True)
class WarmUp:
    """Rises in equal steps to 1 over the first `share` of the batches, then follows `then`. Goyal et al. 2017, section 2.2."""

    share: float = 0.05
    then: Decay = Cosine()

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share = {self.share} must lie between 0 and 1")

    def __call__(self, batch: int, batches: int) -> float:
        rising = math.ceil(self.share * batches)
        return (batch + 1) / rising if batch < rising else self.then(batch - rising, batches - rising)


DECAYS: dict[str, Decay] = {"constant": Constant(), "cosine": Cosine(), "steps": Steps(), "warm_up_cosine": WarmUp()}


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    decay: course of the learning rate, batch by batch; True stands for Cosine(), False for Constant().
    clip_norm: longest gradient, as a vector of all parameters; a longer one is shortened to it.
    patience: epochs without a better validation accuracy after which training ends early.
    Raises ValueError for a number out of range.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    decay: Decay | bool = Cosine()
    clip_norm: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "clip_norm", "patience"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} = {value} must be positive")
        if isinstance(self.decay, bool):
            object.__setattr__(self, "decay", Cosine() if self.decay else Constant())

    def rate(self, batch: int, batches: int) -> float:
        """Learning rate of the batch-th of `batches` of the whole run."""
        assert not isinstance(self.decay, bool)
        return self.learning_rate * self.decay(batch, batches)

    def is_over(self, accuracies: Sequence[float]) -> bool:
        """Whether training ends after epochs with these validation accuracies."""
        if len(accuracies) >= self.epochs:
            return True
        return bool(accuracies) and self.patience is not None and len(accuracies) - _first_best(accuracies) >= self.patience

    def settings(self) -> Mapping[str, float | str | None]:
        """All of it, as a checkpoint keeps and compares it."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"decay": getattr(self.decay, "__qualname__", None) or repr(self.decay)}


def _first_best(accuracies: Sequence[float]) -> int:
    """Number, from 1, of the best epoch; the earliest of equals."""
    return 1 + max(range(len(accuracies)), key=accuracies.__getitem__)
