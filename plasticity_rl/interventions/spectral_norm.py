"""Spectral normalisation of hidden weights."""

from dataclasses import dataclass
from typing import Annotated, Any

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.networks.weights import iterated


@dataclass(frozen=True)
class SpectralNorm(Intervention):
    """Divide hidden weights by their largest singular value sigma (Miyato et al. 2018, arXiv 1802.05957).

    Gogianu et al. 2021 (arXiv 2105.05246) use it in reinforcement learning. sigma is u . W v, with singular vectors that take one step of
    power iteration per update, as in the paper, and are stored with the network's parameters; it is slightly too small while they turn, and
    for some updates after units are recycled. Gradients treat them as constant. torch.nn.utils.spectral_norm, with one training forward
    pass per update, gives the same numbers. Convolutions are matrices (units, all else), as there; biases, heads and a noisy layer's
    standard deviations are left out. Gogianu et al.'s Atari settings normalise a single layer, the dense one or the last convolution; here
    it is all hidden ones, as remembered of the plasticity literature.
    """

    iterations: Annotated[int, Interval("[1, 1000]")] = 1
    """power iterations after every update"""

    def __post_init__(self) -> None:
        check(self)

    def build(self) -> dict[str, Any]:
        return {"weights": "spectral-norm"}

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        turned: Params = {}
        for layer in layers:
            if layer.singular:
                left, right = layer.singular
                turned[left], turned[right] = iterated(params[layer.weight], params[left], params[right], self.iterations)
        return params | turned, state
