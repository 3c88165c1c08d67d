"""Batch norm's mean, layer norm's standard deviation."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class BatchMeanNorm(Intervention):
    """Take each unit's mean over the batch away, and divide by the standard deviation of what is left in each example.

    The hybrid of batch norm's mean and layer norm's deviation that "Disentangling the causes of plasticity loss" (Lyle et al. 2024, arXiv
    2402.18762) is reported to have found the most robust of its norms. We know it from others' notes alone, so the order (the deviation
    comes second, or an example whose units are silent would be divided by nothing), the axes of a convolution and the learned scale and
    offset are our choice, the latter two as in BatchNorm and LayerNorm. Refused where BatchNorm is.
    """

    def build(self) -> dict[str, Any]:
        return {"norm": "batch-mean"}
