"""E-prop: eligibility traces at the synapses, computed forward in time, meet a learning signal that comes from the read-outs.

    dW_ji = -η Σ_t L_j(t) ē_ji(t)          L_j(t) = Σ_k B_kj ∂E/∂y_k(t)
    e_ji(t) = h_j(t) ∂margin_j(t)/∂W_ji     through the neuron's own states only (sensitivity.py)
    ē_ji = e_ji, filtered as the read-out's membrane filters spikes

For the leaky neuron with weights onto v and a reset by subtraction that is

    x̄_i(t) = β x̄_i(t-1) + x_i(t),    e_ji = h_j x̄_i,    ē_ji(t) = κ ē_ji(t-1) + e_ji(t),    L_j = Σ_k B_kj (π_k - π*_k)

With the adaptive threshold each synapse has a second trace; a synaptic current, a refractory period or a reset to a value change
the traces as they change the derived step. What it leaves out of the gradient is what a spike of j does to other neurons that then
spike: with one hidden layer and no recurrence nothing is left out, and symmetric e-prop is backpropagation through time, exactly.
With random feedback and without recurrence it is direct feedback alignment, forward in time.

Source: Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein & Maass 2020, A solution to the learning dilemma for recurrent networks
of spiking neurons, Nature Communications 11:3625, with its Methods.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from spiketwin.models.engines.torch.stacks import Stack
from spiketwin.rules.local.feedback import Adaptive, Feedback, Symmetric
from spiketwin.rules.local.lesson import Lesson, Locality, Loss
from spiketwin.rules.local.online import Piece, learn_online
from spiketwin.rules.losses import step_cross_entropy


@dataclass(frozen=True)
class EProp:
    """feedback: Symmetric(), Random(seed) or an Adaptive(net).  loss: a mean over steps.  through: states whose reset passes the spike's
    derivative on, as ('theta',) for the adaptive threshold of the paper; None: as the network is built.
    chunk_steps: steps between two uses of the error; memory grows with it, the result does not change."""

    feedback: Feedback = field(default_factory=Symmetric)
    loss: Loss = step_cross_entropy
    through: frozenset[str] | None = None
    chunk_steps: int = 10
    source = "Bellec et al. 2020"

    @property
    def name(self) -> str:
        return f"e-prop, {self.feedback.name}"

    @property
    def locality(self) -> Locality:
        weights = {"symmetric": "weights on the way to it", "random": "fixed random weights", "adaptive": "weights learned beside W_out"}
        third = f"error of each read-out at the time, by {weights.get(self.feedback.name, self.feedback.name)}"
        return Locality("trace of its spikes", "slope h at its membrane", third, self.feedback.transport, True, "output")

    def __call__(self, net: Stack, x: Tensor, labels: Tensor) -> Lesson:
        matrices = self.feedback.matrices(net)

        def signals(piece: Piece) -> dict[str, Tensor]:
            return {name: piece.error @ matrix for name, matrix in matrices.items()}

        lesson = learn_online(
            net, x, labels, signals, loss=self.loss, through_readout=True, chunk_steps=self.chunk_steps, through=self.through
        )
        if isinstance(self.feedback, Adaptive):
            return replace(lesson, gradients=self.feedback.learn(net, lesson.gradients))
        return lesson
