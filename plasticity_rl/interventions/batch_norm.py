"""Batch normalisation before every activation."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class BatchNorm(Intervention):
    """Normalise each unit's pre-activations over the batch (Ioffe & Szegedy 2015, arXiv 1502.03167).

    Convolutions are normalised over positions too. Only the current batch's statistics are used: running averages would be a state of the
    network, and online training, which scores each batch before learning from it, has no separate evaluation mode. An output therefore
    depends on the other examples of its batch. Agents that act on batches unlike those they learn from are refused, and so is a batch of
    one, which equals its mean. Scale and offset are learned; biases before the norm are left out.
    """

    def build(self) -> dict[str, Any]:
        return {"norm": "batch"}
