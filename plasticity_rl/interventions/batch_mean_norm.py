"""Normalisation by the batch's mean and each example's standard deviation."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class BatchMeanNorm(Intervention):
    """Subtract each unit's mean over the batch, and divide by each example's standard deviation of the rest.

    This is the hybrid of batch norm's mean and layer norm's deviation that "Disentangling the causes of plasticity loss" (Lyle et al. 2024,
    arXiv 2402.18762) is reported to have found the most robust of its norms. The source is others' notes, not the paper: the order (the
    deviation second, as an example with silent units would otherwise be divided by zero), the axes of a convolution, and the learned scale
    and offset, as in BatchNorm and LayerNorm, are our choice. Refused where BatchNorm is.
    """

    def build(self) -> dict[str, Any]:
        return {"norm": "batch-mean"}
