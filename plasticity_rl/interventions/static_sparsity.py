"""Random pruning before training."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State
from plasticity_rl.networks.layers import Layers, Params, Part, select


@dataclass(frozen=True)
class StaticSparsity(Intervention):
    """Remove a random share of each hidden weight tensor before training, for good (Ma et al., ICML 2025, arXiv 2506.17204).

    Removed weights are 0 from the first forward pass on, after every update and after every refresh; the others keep their initial scale,
    so pre-activations start smaller by the root of the kept share. Exactly round(sparsity * size) weights of each tensor go, drawn once per
    member. Only the paper's abstract was read, one-shot random pruning before training: equal shares in all layers and the default are
    ours. A noisy layer's standard deviations go with their weights. It saves no time, as weights are masked and not left out.
    """

    sparsity: Annotated[float, Interval("(0, 1)")] = 0.5
    """share of removed weights"""
    part: Part = "hidden"
    """layers to prune"""

    projects_birth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs_layer_graph(self) -> bool:
        return self.part != "all"

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {layer.weight: drawn_mask(params[layer.weight], self.sparsity, generator) for layer in select(layers, self.part)}

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        pruned = {name: params[name] * state[layer.weight] for layer in select(layers, self.part) for name in layer.weights}
        return params | pruned, state


def removed(size: int, sparsity: float) -> int:
    """Number of removed weights in a tensor of that size; at least one stays."""
    return min(round(sparsity * size), size - 1)


def drawn_mask(weight: Tensor, sparsity: float, generator: torch.Generator) -> Tensor:
    """Random mask of a weight's shape and type: 0 for removed weights, 1 for kept ones."""
    order = torch.randperm(weight.numel(), generator=generator)
    mask = torch.ones(weight.numel())
    mask[order[: removed(weight.numel(), sparsity)]] = 0.0
    return mask.view(weight.shape).to(weight)
