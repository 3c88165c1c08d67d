"""Residual networks of dense layers, for vectors: SimBa's and BRO's."""

from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from typing import Annotated

from torch import Tensor, nn

from plasticity_rl.checks import Interval, check
from plasticity_rl.networks.modules import ModuleSpec

WIDER = 4  # inner over outer width of a feed-forward block, SimBa's


@dataclass(frozen=True)
class Simba(ModuleSpec):
    """SimBa: a linear embedding, residual feed-forward blocks that begin with a layer norm, and a layer norm before the head (Lee et al.
    2025, arXiv 2410.09754).

    The form of a block was read in other implementations. Sizes, those of the paper's critic, are recalled without the paper at hand, as is
    its policy of one block of width 128. Its running normalisation of observations is not part of the network here. Weights are initialised
    as by PyTorch.
    """

    width: Annotated[int, Interval("[1, 65536]")] = 512
    """width of the residual stream"""
    depth: Annotated[int, Interval("[1, 1000]")] = 2
    """number of blocks"""

    def __post_init__(self) -> None:
        check(self)

    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """The module for vectors of length `inputs`."""
        layers: dict[str, nn.Module] = {"embedding": nn.Linear(prod(inputs), self.width)}
        for block in range(self.depth):
            inner = feed_forward(self.width, WIDER * self.width)
            layers[f"block{block}"] = Residual({"norm": nn.LayerNorm(self.width)} | inner)
        return Stack(layers | {"norm": nn.LayerNorm(self.width), "head": nn.Linear(self.width, outputs)})


@dataclass(frozen=True)
class BroNet(ModuleSpec):
    """BRO's critic: an embedding with layer norm and ReLU, and residual blocks of two dense layers with a layer norm after each (Nauman et
    al. 2024, arXiv 2405.16158).

    The form of a block was read in other implementations, which initialise weights orthogonally; here it is as by PyTorch. Sizes, those of
    the paper's critic, are recalled without the paper at hand.
    """

    width: Annotated[int, Interval("[1, 65536]")] = 512
    """width of all layers"""
    depth: Annotated[int, Interval("[1, 1000]")] = 2
    """number of blocks"""

    def __post_init__(self) -> None:
        check(self)

    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """The module for vectors of length `inputs`."""
        layers: dict[str, nn.Module] = {
            "embedding": nn.Linear(prod(inputs), self.width),
            "norm": nn.LayerNorm(self.width),
            "relu": nn.ReLU(),
        }
        for block in range(self.depth):
            inner = feed_forward(self.width, self.width, nn.LayerNorm(self.width))
            layers[f"block{block}"] = Residual(inner | {"last_norm": nn.LayerNorm(self.width)})
        return Stack(layers | {"head": nn.Linear(self.width, outputs)})


def feed_forward(width: int, inner: int, norm: nn.Module | None = None) -> dict[str, nn.Module]:
    """Two dense layers, with ReLU, and a norm before it, in between."""
    normed = {} if norm is None else {"inner_norm": norm}
    return {"up": nn.Linear(width, inner)} | normed | {"relu": nn.ReLU(), "down": nn.Linear(inner, width)}


class Stack(nn.Sequential):
    """Named layers in order, for flattened inputs."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__(OrderedDict(layers))

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(1))


class Residual(nn.Sequential):
    """Named layers in order, whose output is added to their input."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__(OrderedDict(layers))

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)
