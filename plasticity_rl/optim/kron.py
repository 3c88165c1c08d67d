"""PSGD with Kronecker factors."""

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval
from plasticity_rl.networks.layers import Layer, Params, Shape
from plasticity_rl.optim.optimizers import Net, Optimizer

ANNEAL = 0.001  # how fast fits become rarer, per update
BALANCED = 100  # fits between two balances of a weight's factors
LONGEST = 1.1  # root mean square of a step


@dataclass(frozen=True)
class Kron(Optimizer):
    """PSGD: whiten the momentum of each weight matrix by two triangular factors that are fitted to it (Li 2015, arXiv 1512.04202; for deep
    reinforcement learning: Castanyer et al. 2025, arXiv 2506.15544).

    The step is P M = (Q1^T Q1) M (Q2^T Q2), at most 1.1 in root mean square. A fit moves the factors along the triangular matrices, by
    `fit_rate` over a bound of the gradient's norm, so that P M M^T P approaches the identity in expectation; it compares M with normal
    numbers V. Parameters of one dimension have diagonal factors, and so have dimensions longer than `largest`. A convolution's weight is
    one matrix, with the first dimensions or the last ones merged, whichever the authors' code prefers: (32, 4, 8, 8) is (1024, 8).

    Fits follow each of the first `settled` updates, then fewer, down to a share `rarest` of them after about 4,000. They are computed in
    every update and dropped where none is due, so the rare ones cost as much as the others here. Factors are scaled to equal size at every
    100th fit, where the authors' code draws a chance of one in a hundred.

    State belongs to whole tensors, as with SOAP: methods that reset single weights are refused, and a tensor that is reset begins anew.
    Formula and defaults are read in the authors' package kron-torch 0.3.3, and updates were compared with its. Its learning rate is 3e-4.
    """

    beta1: Annotated[float, Interval("[0, 1)")] = 0.9
    """decay per update of the average of gradients"""
    fit_rate: Annotated[float, Interval("(0, 1]")] = 0.1
    """step size of a fit"""
    settled: Annotated[int, Interval("[0, inf)")] = 500
    """updates that are each followed by a fit"""
    rarest: Annotated[float, Interval("(0, 1]")] = 0.03
    """least share of updates with a fit"""
    largest: Annotated[int, Interval("[1, inf)")] = 8192
    """longest dimension with a triangular factor; time per fit grows with the cube of the length, memory with the square"""

    noisy: ClassVar[bool] = True
    per_tensor: ClassVar[bool] = True

    @property
    def slots(self) -> tuple[str, ...]:
        """`factors` are a parameter's, in a row; `counts` (3,) are its updates, those since the last fit, and its fits."""
        return ("mean", "seen", "factors", "counts")

    def init(self, params: Params, uniform_age: bool = False) -> dict[str, Params]:
        def zeros(slot: str, param: Tensor) -> Tensor:
            sizes = {"factors": sum(map(prod, self._sizes(self._matrix(param.shape)))), "counts": 3}
            if slot in sizes:
                return param.new_zeros(sizes[slot])
            return torch.zeros_like(param if slot == "mean" else param[(slice(1),) * param.ndim])

        return {slot: {name: zeros(slot, param) for name, param in params.items()} for slot in self.slots}

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        steps: Params = {}
        slots: dict[str, Params] = {slot: {} for slot in self.slots}
        for name, grad in grads.items():
            mean, seen, factors, counts = (net.slots[slot][name] for slot in self.slots)
            mean, seen = (self.beta1 * old + (1 - self.beta1) * new for old, new in ((mean, grad), (seen, 1.0)))
            shape = self._matrix(grad.shape)
            step, factors, counts = self._step((mean / seen).reshape(shape), noise[name].to(grad).reshape(shape), factors, counts)
            steps[name] = step.view(grad.shape)
            slots["mean"][name], slots["seen"][name], slots["factors"][name], slots["counts"][name] = mean, seen, factors, counts
        return steps, slots

    def _step(self, momentum: Tensor, noise: Tensor, row: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step of a matrix or a vector, and its factors and counts after it."""
        updates, waited, fits = counts
        share = (ANNEAL * (self.settled - updates)).exp().clamp(max=1.0)
        due = waited + 1 >= 1 / torch.where(share > self.rarest, share, self.rarest)
        factors = self._factors(row, momentum.shape, updates > 0)
        sizes = torch.stack([each.abs().max() for each in factors])
        level = due & (fits % BALANCED == BALANCED - 1)
        factors = [torch.where(level, each * sizes.log().mean().exp() / size, each) for each, size in zip(factors, sizes, strict=True)]
        # As in the authors' code, the noise that keeps a fit of few gradients finite stays in the step.
        small = torch.finfo(torch.float32).eps ** 0.5 * momentum.abs().mean()
        momentum = torch.where(due, momentum + small * noise, momentum)
        fitted = self._fitted(factors, momentum, noise)
        factors = [torch.where(due, new, old) for new, old in zip(fitted, factors, strict=True)]
        step = momentum
        for place, each in enumerate(factors):
            step = _times(_transposed(each), _times(each, step, place), place)
        step = step * (LONGEST / (step.square().mean().sqrt() + 1e-12)).clamp(max=1.0)
        after = torch.stack([updates + 1, torch.where(due, 0.0, waited + 1), fits + due])
        return step, torch.cat([each.flatten() for each in factors]), after

    def _fitted(self, factors: list[Tensor], momentum: Tensor, noise: Tensor) -> list[Tensor]:
        """The factors after a fit to the momentum beside normal numbers of its shape."""
        whitened, coloured = momentum, noise
        for place, each in enumerate(factors):
            whitened, coloured = _times(each, whitened, place), _divided(each, coloured, place)
        tiny, after = torch.finfo(momentum.dtype).tiny, []
        for place, each in enumerate(factors):
            one, other = (_products(x, place, each.ndim) for x in (whitened, coloured))
            largest = (one + other).abs().max()
            slope = self.fit_rate * (one - other)
            if each.ndim == 1:
                after.append(each - slope * each / largest.clamp(min=tiny))
            else:
                bound = torch.where(largest > 0, _norm_bound(one + other, largest), largest)
                after.append(each - (slope.triu() / bound.clamp(min=tiny)) @ each)
        return after

    def _matrix(self, shape: Shape) -> Shape:
        """The shape of a parameter as a matrix, or as the vector that it is."""
        if len(shape) <= 2:
            return tuple(shape) or (1,)
        tall, wide = (prod(shape[:-1]), shape[-1]), (shape[0], prod(shape[1:]))
        return tall if tall[1] - tall[0] <= wide[1] - wide[0] else wide

    def _sizes(self, shape: Shape) -> list[Shape]:
        """Shapes of the factors: triangular ones are square."""
        return [(n, n) if len(shape) > 1 and 1 < n <= self.largest else (n,) for n in shape]

    def _factors(self, row: Tensor, shape: Shape, begun: Tensor) -> list[Tensor]:
        """A parameter's factors, which begin as the identity."""
        sizes = self._sizes(shape)
        parts = [part.view(size) for part, size in zip(row.split([prod(size) for size in sizes]), sizes, strict=True)]
        born = [torch.diag_embed(torch.ones_like(part[0])) if part.ndim > 1 else torch.ones_like(part) for part in parts]
        return [torch.where(begun, part, identity) for part, identity in zip(parts, born, strict=True)]


def _transposed(factor: Tensor) -> Tensor:
    return factor.mT if factor.ndim > 1 else factor


def _times(factor: Tensor, x: Tensor, place: int) -> Tensor:
    """Q x over dimension 0, or x Q^T over dimension 1; vectors stand for diagonal matrices."""
    if factor.ndim == 1:
        return factor.view(-1, *(1,) * (x.ndim - 1 - place)) * x
    return factor @ x if place == 0 else x @ factor.mT


def _divided(factor: Tensor, x: Tensor, place: int) -> Tensor:
    """Q^-T x over dimension 0, or x Q^-1 over dimension 1."""
    if factor.ndim == 1:
        return x / factor.view(-1, *(1,) * (x.ndim - 1 - place))
    if place == 0:
        return torch.linalg.solve_triangular(factor.mT, x, upper=False)
    return torch.linalg.solve_triangular(factor, x, upper=True, left=False)


def _products(x: Tensor, place: int, dimensions: int) -> Tensor:
    """Products of x with itself over all dimensions but one: a matrix, or its diagonal."""
    rows = x.movedim(place, 0).flatten(1) if x.ndim > 1 else x[:, None]
    return rows @ rows.mT if dimensions > 1 else rows.square().sum(1)


def _norm_bound(matrix: Tensor, largest: Tensor) -> Tensor:
    """A lower bound of a symmetric matrix's largest singular value, from its longest column; `largest` is that of its elements."""
    scaled = matrix / largest
    column = scaled.square().sum(0).argmax()
    x = scaled.index_select(1, column.view(1))[:, 0] @ scaled
    return (scaled @ (x / x.norm())).norm() * largest
