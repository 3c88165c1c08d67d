"""Batch normalisation before every activation."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class BatchNorm(Intervention):
    """Normalise each unit's pre-activations over the batch (Ioffe & Szegedy 2015, arXiv 1502.03167); a convolution's over positions too.

    The batch at hand is all that is ever normalised with: there are no running averages, as online training, where each batch is scored
    before it is learned from, has no other mode, and a network would have to carry a state. An output so depends on the other examples; an
    agent that acts on batches unlike those it learns from is refused it, and so is a batch of one, which is its own mean. Scale and offset
    are learned, biases before the norm left out.
    """

    def build(self) -> dict[str, Any]:
        return {"norm": "batch"}
