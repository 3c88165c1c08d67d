"""Curvature of the loss at one network's parameters, and alignment of the gradients of examples.

These metrics are expensive; each docstring gives the cost. Gradients of 64 examples, or the vectors of a Lanczos run, take the memory of 64
or `steps` networks: process members one by one if that is too much.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from plasticity_rl.metrics.ranks import effective_rank, singular_values
from plasticity_rl.networks.layers import Params


class Eigenvalues(NamedTuple):
    values: Tensor
    """(count,), largest first, double"""
    errors: Tensor
    """(count,): distance within which there is an eigenvalue, up to rounding"""


def hessian_eigenvalues(loss: Callable[[Params], Tensor], params: Params, start: Params, count: int = 1, steps: int = 20) -> Eigenvalues:
    """The `count` largest eigenvalues (not magnitudes) of the Hessian of `loss` at `params`, by Lanczos.

    `start`, of the parameters' shapes, is the first vector of the Krylov space: normal numbers from a fixed seed make it repeatable. The
    gradient is computed once and differentiated backwards `steps` times, each a few backward passes; every vector is orthogonalised twice
    against all before it. Where the space is exhausted, the iteration continues from the coordinate that it covers least, so multiple
    eigenvalues are found with their multiplicity, and as many steps as parameters give all of them. Few steps find the outer ones first:
    read `errors`. The number of steps is ours. Lyle et al. 2023 (arXiv 2303.01486) and Lewandowski et al. 2023 (2312.00246) study such
    spectra.

    The Hessian of a ReLU network ignores the kinks. Sharpness changes with the scale of weights that a norm follows, so it can rise or fall
    while the function stays the same. All values are of one batch.
    """
    names = list(params)
    shapes = [params[name].shape for name in names]
    sizes = [shape.numel() for shape in shapes]
    steps = min(steps, sum(sizes))
    assert 1 <= count <= steps, f"{count} eigenvalues from {steps} steps"

    pull = vjp(grad(loss), params)[1]  # the Hessian is symmetric: its transpose times a vector is its product

    def product(vector: Tensor) -> Tensor:
        parts = zip(names, vector.split(sizes), shapes, strict=True)
        tangent = {name: part.view(shape) for name, part, shape in parts}
        return _flat(pull(tangent)[0], names)

    first = _flat(start, names)
    scale = torch.zeros_like(first[0])
    basis, diagonal, beside = [_next(first, [], scale)[0]], [], []
    for _ in range(steps):
        image = product(basis[-1])
        scale = torch.maximum(scale, image.norm())
        diagonal.append((image * basis[-1]).sum())
        vector, length = _next(image, basis, scale)
        basis.append(vector)
        beside.append(length)
    off = torch.diag_embed(torch.stack(beside[:-1]).double(), 1) if steps > 1 else 0.0
    values, vectors = torch.linalg.eigh(torch.diag_embed(torch.stack(diagonal).double()) + off, UPLO="U")
    errors = beside[-1].double() * vectors[-1].abs()
    return Eigenvalues(values.flip(0)[:count], errors.flip(0)[:count])


def example_gradients(function: Callable[[Params, Any], Tensor], params: Params, examples: Any) -> Tensor:
    """The gradient of `function` (params, example) -> scalar at each of n `examples` (trees of tensors (n, ...)): (n, parameters).

    Cost: n backward passes and the memory of n networks.
    """
    gradients = vmap(grad(function), (None, 0))(params, examples)
    return torch.cat([gradients[name].flatten(1) for name in params], 1)


def ntk(apply: Callable[[Params, Tensor], Tensor], params: Params, inputs: Tensor, examples: int = 64) -> Tensor:
    """The empirical neural tangent kernel K[i, j] = <grad f(x_i), grad f(x_j)> of the first `examples` inputs: (n, n), double.

    `apply` is Network.apply without the features: (params, (batch, *shape)) -> (batch, ...); f is the SUM of an example's outputs: one
    backward pass per example. To measure one output or head, let `apply` return only that. (Others sum the kernels of the outputs instead,
    which costs a pass per output.) 64 examples follow Lyle et al. 2024, arXiv 2402.18762, from a secondary source. Each example passes
    through the network alone, so the kernel is meaningless with batch norms. It describes gradient descent, not Adam.
    """
    gradients = example_gradients(lambda params, x: apply(params, x.unsqueeze(0)).sum(), params, inputs[:examples]).double()
    return gradients @ gradients.T


def ntk_rank(kernel: Tensor) -> Tensor:
    """The effective rank of the kernel, a scalar: near 1 if all examples change the outputs alike, n if no example affects another."""
    return effective_rank(kernel)


def condition_number(kernel: Tensor) -> Tensor:
    """Condition number of a kernel (n, n), largest over smallest eigenvalue, a scalar: how uneven the speed of gradient descent is.

    At most 1 / 2.2e-16, the limit of double precision; 0 for a kernel of zeros.
    """
    values = singular_values(kernel)
    floor = values[0] * torch.finfo(values.dtype).eps
    return torch.where(values[0] > 0, values[0] / torch.maximum(values[-1], floor), 0.0)


def gradient_cosines(loss: Callable[[Params, Any], Tensor], params: Params, examples: Any) -> Tensor:
    """Pairwise gradient cosines cos(grad l_i, grad l_j) of `examples` under the scalar `loss` (params, example): (n, n), double (Lyle et
    al. 2023, arXiv 2303.01486). 0 in the row of an example with zero gradient, also on the diagonal. Cost: n backward passes. Meaningless
    with batch norms."""
    return cosines(example_gradients(loss, params, examples))


def cosines(gradients: Tensor) -> Tensor:
    """Pairwise cosines of gradients (n, parameters): (n, n)."""
    gradients = gradients.double()
    lengths = gradients.norm(dim=1, keepdim=True)
    directions = torch.where(lengths > 0, gradients / lengths, 0.0)
    return directions @ directions.T


def covariance_rank(gradients: Tensor) -> Tensor:
    """The effective rank of the covariance of examples' gradients (n, parameters), a scalar between 0 and n - 1: the number of directions
    in which they differ, weighted by length. 0 if all are equal, or for one example.

    Computed from the eigenvalues of the Gram matrix of the centred gradients. The choice of rank is ours, as in `gradient_rank`.
    """
    centred = gradients.double() - gradients.double().mean(0)
    return effective_rank(centred @ centred.T)


def gradient_rank(cosines: Tensor) -> Tensor:
    """The effective rank of `gradient_cosines`, a scalar between 1 and n: the number of directions of the examples' gradients.

    Lyle et al. 2023 show the matrix; the choice of this rank is ours. A low rank means either collapse or examples that agree.
    """
    return effective_rank(cosines)


def interference(cosines: Tensor) -> Tensor:
    """The mean of `gradient_cosines` off the diagonal, a scalar in [-1, 1]: above 0, examples help each other; below 0, they interfere.

    0 for one example. A mean of 0 may mean no interaction, or help and interference in equal parts.
    """
    n = len(cosines)
    return (cosines.sum() - cosines.diagonal().sum()) / max(n * (n - 1), 1)


class Readiness(NamedTuple):
    """Optimization readiness and its two factors, scalars."""

    strength: Tensor
    """||g||^2 / loss, with g the mean gradient of all examples"""
    reliability: Tensor
    """||g||^2 / mean ||g_B||^2 over mini-batches B, at most 1"""
    readiness: Tensor
    """their product"""


def readiness(loss: Tensor, gradients: Tensor, size: int = 4) -> Readiness:
    """Optimization readiness from the gradients of examples (n, parameters) and their mean loss: gradient strength times reliability, a
    lower bound of the relative gain of one step up to a constant (Wang et al. 2026, arXiv 2605.09044).

    The definition and the mini-batches of 4 are read in a second implementation. The paper takes g from 10,000 validation examples and 128
    mini-batches drawn anew; here the mini-batches are disjoint parts of the same examples, those left over go unused, and reliability is at
    least 1 / their number. 0 where the loss or all gradients are 0, and where the loss is negative. It describes gradient descent, not
    Adam.
    """
    count = max(len(gradients) // size, 1)
    groups = gradients[: count * size].double().reshape(count, -1, gradients.shape[1]).mean(1)
    square, each = groups.mean(0).square().sum(), groups.square().sum(1).mean()
    reliability = torch.where(each > 0, square / torch.where(each > 0, each, 1.0), 0.0)
    strength = torch.where(loss > 0, square / torch.where(loss > 0, loss, 1.0), 0.0)
    return Readiness(strength, reliability, strength * reliability)


def _flat(tree: Params, names: list[str]) -> Tensor:
    return torch.cat([tree[name].flatten() for name in names])


def _next(vector: Tensor, basis: list[Tensor], scale: Tensor) -> tuple[Tensor, Tensor]:
    """A unit vector orthogonal to `basis`, along the rest of `vector` if there is one; and the length of that rest, 0 for none."""
    zero, positions = torch.zeros_like(vector), torch.arange(len(vector), device=vector.device)
    left = _orthogonal(vector, basis)
    length = left.norm()
    enough = length > 100 * torch.finfo(vector.dtype).eps * scale
    coverage = torch.stack(basis).square().sum(0) if basis else zero
    least = torch.where(positions == coverage.argmin(), 1.0, zero)
    onward = _orthogonal(torch.where(enough, left / torch.where(enough, length, 1.0), least), basis)
    size = onward.norm()
    # If the basis spans the whole space, no vector is left, and none is used.
    return torch.where(size > 0, onward / size, zero), torch.where(enough, length, 0.0)


def _orthogonal(vector: Tensor, basis: list[Tensor]) -> Tensor:
    if not basis:
        return vector
    rows = torch.stack(basis)
    for _ in range(2):
        vector = vector - rows.T @ (rows @ vector)
    return vector
