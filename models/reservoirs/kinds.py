"""One value for each kind of synapse, named from the presynaptic to the postsynaptic neuron: `ei` leads from an excitatory to an inhibitory one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
KINDS = ("ee", "ei", "ie", "ii")


class Ends(NamedTuple):
    """Whether the neurons on both sides of a matrix [N_post, N_pre] are excitatory: bool [N_post] and [N_pre]."""

    post: np.ndarray
    pre: np.ndarray

    def are(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """The post- and the presynaptic neurons of a kind, as masks."""
        pre, post = kind
        return self.post == (post == "e"), self.pre == (pre == "e")


@dataclass(frozen=True)
class ByKind(Generic[T]):
    """ee, ei, ie, ii: the value for synapses from E to E, from E to I, from I to E and from I to I."""

    ee: T
    ei: T
    ie: T
    ii: T

    def __getitem__(self, kind: str) -> T:
        return getattr(self, kind)


def by_kind(value) -> ByKind:
    """The same value for all kinds, unless it is given by kind already."""
    return value if isinstance(value, ByKind) else ByKind(value, value, value, value)
