"""Weights of constant length."""

from dataclasses import dataclass

import torch
from torch import Tensor

from plasticity_rl.checks import check
from plasticity_rl.interventions.base import Intervention, State
from plasticity_rl.networks.layers import Layer, Layers, Params, Part, select

TINY = 1e-12  # a zero weight cannot be rescaled and stays


@dataclass(frozen=True)
class NormConstraint(Intervention):
    """Rescale every hidden weight to its initial Frobenius norm after every update (Lyle et al. 2024, arXiv 2402.18762).

    This is the hard constraint of "Disentangling the causes of plasticity loss", which, a secondary source says, found it to slow learning
    down. Each weight tensor has its own norm; a noisy layer's weights and standard deviations are rescaled together. Biases, scales and
    offsets are free, and so are heads by default; the paper's choice there, and how often it rescales, are not confirmed. Unlike
    NormalizeAndProject it builds no norm, so rescaling changes the network's function: with biases in shape, not in scale alone.
    """

    part: Part = "hidden"
    """layers to constrain"""

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_layer_graph(self) -> bool:
        return self.part != "all"

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {layer.weight: _length(params, layer) for layer in select(layers, self.part)}

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        held: Params = {}
        for layer in select(layers, self.part):
            factor = state[layer.weight] / _length(params, layer).clamp(min=TINY)
            held |= {name: params[name] * factor for name in layer.weights}
        return params | held, state


def _length(params: Params, layer: Layer) -> Tensor:
    """Length of all factors of the layer's inputs, as one vector."""
    return torch.stack([params[name].square().sum() for name in layer.weights]).sum().sqrt()
