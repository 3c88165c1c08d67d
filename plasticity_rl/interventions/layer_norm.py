"""Layer normalisation before every activation."""

from dataclasses import dataclass
from typing import Any

from plasticity_rl.interventions.base import Intervention


@dataclass(frozen=True)
class LayerNorm(Intervention):
    """Normalise each example's pre-activations (Ba, Kiros & Hinton 2016, arXiv 1607.06450).

    Mean subtraction and division mix the gradients of a layer's units, so that dead units can recover; in "Disentangling the causes of
    plasticity loss" (arXiv 2402.18762) it is half of the best pair, with weight decay. Scale and offset are learned; biases before the norm
    are left out. The paper does not say which axes a convolution's norm takes: here channels and positions (see NetworkSpec).
    """

    def build(self) -> dict[str, Any]:
        return {"norm": "layer"}
