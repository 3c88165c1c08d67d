"""The shape of the loss around one network's parameters, and how examples' gradients lie to each other.

Costly: each function says how much. Gradients of 64 examples, or the vectors of a Lanczos run, are 64 or `steps` copies of the network;
take one member after the other where that is too many.
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
    """(count,), the largest first, double"""
    errors: Tensor
    """(count,): there is an eigenvalue at most so far from each value, up to rounding"""


def hessian_eigenvalues(loss: Callable[[Params], Tensor], params: Params, start: Params, count: int = 1, steps: int = 20) -> Eigenvalues:
    """The `count` largest eigenvalues (not magnitudes) of the Hessian of `loss` at `params`, by Lanczos.

    `start`, of the parameters' shapes, is where the Krylov space begins: normal numbers from a fixed seed make it repeatable. The gradient
    is worked out once and differentiated backwards `steps` times, each a few backward passes; every vector is held orthogonal to all
    before it, twice. Where the space is exhausted it goes on from the coordinate that it covers least, so eigenvalues that occur several
    times are found as often, and as many steps as there are parameters give them all. Few steps find the outer ones first: read `errors`.
    The number of steps is ours. Lyle et al. 2023 (arXiv 2303.01486) and Lewandowski et al. 2023 (2312.00246) look at such spectra.

    Of ReLU networks the Hessian does not see the kinks. Sharpness moves with the scale of the weights wherever a norm undoes it, so it can
    rise or fall while the function stays; and it is that of one batch.
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
    """The gradient of `function` (params, example) -> scalar at each of n `examples`, trees of tensors (n, ...): (n, parameters).

    n backward passes; as much memory as n networks.
    """
    gradients = vmap(grad(function), (None, 0))(params, examples)
    return torch.cat([gradients[name].flatten(1) for name in params], 1)


def ntk(apply: Callable[[Params, Tensor], Tensor], params: Params, inputs: Tensor, examples: int = 64) -> Tensor:
    """The empirical neural tangent kernel K[i, j] = <grad f(x_i), grad f(x_j)> of the first `examples` inputs: (n, n), double.

    `apply` is as Network.apply without the features: (params, (batch, *shape)) -> (batch, ...); f is the SUM of an example's outputs, one
    backward pass each. To measure one output or head, let `apply` return only that. (Others sum the kernels of the outputs instead, at the
    cost of one more pass for each.) 64 examples are those of Lyle et al. 2024, arXiv 2402.18762, by a secondary source. Each example goes
    through the network alone, so batch norms make it meaningless. It is the kernel of gradient descent, not of Adam.
    """
    gradients = example_gradients(lambda params, x: apply(params, x.unsqueeze(0)).sum(), params, inputs[:examples]).double()
    return gradients @ gradients.T


def ntk_rank(kernel: Tensor) -> Tensor:
    """The effective rank of the kernel, a scalar: near 1 where every example pulls all outputs alike, n where none touches another's."""
    return effective_rank(kernel)


def condition_number(kernel: Tensor) -> Tensor:
    """The largest over the smallest eigenvalue of a kernel (n, n), a scalar: how unevenly fast gradient descent learns.

    At most 1 / 2.2e-16, what double precision can tell from infinity; 0 for a kernel of zeros, along which nothing is learned.
    """
    values = singular_values(kernel)
    floor = values[0] * torch.finfo(values.dtype).eps
    return torch.where(values[0] > 0, values[0] / torch.maximum(values[-1], floor), 0.0)


def gradient_cosines(loss: Callable[[Params, Any], Tensor], params: Params, examples: Any) -> Tensor:
    """cos(grad l_i, grad l_j) between `examples` of which `loss` (params, example) is a scalar: (n, n), double (Lyle et al. 2023, arXiv
    2303.01486). 0 in the row of an example without a gradient, on the diagonal too. n backward passes; batch norms make it meaningless."""
    return cosines(example_gradients(loss, params, examples))


def cosines(gradients: Tensor) -> Tensor:
    """The same of the gradients (n, parameters) themselves."""
    gradients = gradients.double()
    lengths = gradients.norm(dim=1, keepdim=True)
    directions = torch.where(lengths > 0, gradients / lengths, 0.0)
    return directions @ directions.T


def covariance_rank(gradients: Tensor) -> Tensor:
    """The effective rank of the covariance of examples' gradients (n, parameters), a scalar between 0 and n - 1: in how many directions
    they differ, the longest counting most. 0 where all are equal, one example among them.

    Its eigenvalues are those of the Gram matrix of the centred gradients. Which rank is taken of it is ours, as with `gradient_rank`.
    """
    centred = gradients.double() - gradients.double().mean(0)
    return effective_rank(centred @ centred.T)


def gradient_rank(cosines: Tensor) -> Tensor:
    """The effective rank of `gradient_cosines`, a scalar between 1 and n: in how many directions the examples pull.

    Lyle et al. 2023 show the matrix; the choice of this rank is ours. Low is both collapse and a batch of examples that agree.
    """
    return effective_rank(cosines)


def interference(cosines: Tensor) -> Tensor:
    """The mean of `gradient_cosines` off the diagonal, a scalar in [-1, 1]: above 0 examples help each other, below 0 they undo each other.

    0 for one example. A mean of 0 may be no interference or as much of one as of the other.
    """
    n = len(cosines)
    return (cosines.sum() - cosines.diagonal().sum()) / max(n * (n - 1), 1)


def _flat(tree: Params, names: list[str]) -> Tensor:
    return torch.cat([tree[name].flatten() for name in names])


def _next(vector: Tensor, basis: list[Tensor], scale: Tensor) -> tuple[Tensor, Tensor]:
    """A unit vector orthogonal to `basis`, along `vector` where that has anything left beside it, and how much it had, 0 for nothing."""
    zero, positions = torch.zeros_like(vector), torch.arange(len(vector), device=vector.device)
    left = _orthogonal(vector, basis)
    length = left.norm()
    enough = length > 100 * torch.finfo(vector.dtype).eps * scale
    coverage = torch.stack(basis).square().sum(0) if basis else zero
    least = torch.where(positions == coverage.argmin(), 1.0, zero)
    onward = _orthogonal(torch.where(enough, left / torch.where(enough, length, 1.0), least), basis)
    size = onward.norm()
    # A basis of the whole space leaves nothing, and nothing is asked of it.
    return torch.where(size > 0, onward / size, zero), torch.where(enough, length, 0.0)


def _orthogonal(vector: Tensor, basis: list[Tensor]) -> Tensor:
    if not basis:
        return vector
    rows = torch.stack(basis)
    for _ in range(2):
        vector = vector - rows.T @ (rows @ vector)
    return vector
