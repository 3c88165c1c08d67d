"""Optimizers of one network as pure pairs (init, update), with explicit state: one tensor per parameter and slot.

A zero in every slot means *never updated*, per element. Bias corrections are therefore kept per element, so that a weight that is
reinitialised during the run takes steps of one learning rate while its neighbours continue unchanged. (A step counter per tensor gives the
new weight 3.15 learning rates; restarting it gives the others 0.32.) The step is one learning rate only where each element is divided by
its own root mean square; the steps of SGD, LARS and UPGD scale with the gradient, and Muon moves a whole matrix by a fixed length.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, check
from plasticity_rl.networks.layers import Layer, Params


class Net(NamedTuple):
    """One network's parameters and optimizer state."""

    params: Params
    slots: dict[str, Params]
    """state: slot -> parameter name -> tensor of the parameter's shape, or of another if the optimizer is `per_tensor`"""


@dataclass(frozen=True)
class Optimizer(ABC):
    """Base class of optimizers. Weight decay is always decoupled from the gradient (Loshchilov & Hutter 2019, arXiv 1711.05101)."""

    weight_decay: Annotated[float, Interval("[0, inf)")] = 0.0
    """w <- w - rate * weight_decay * w at every update"""
    decayed: Literal["weights", "all"] = "weights"
    """which parameters decay: weight tensors alone, or all (torch.optim's default), including biases, scales, offsets, and a noisy layer's
    standard deviations, whose decay removes exploration"""
    clip_norm: Annotated[float | None, Interval("(0, inf)")] = None
    """maximum norm of the gradient of all parameters together; a longer gradient is scaled down, as in torch's clip_grad_norm_"""

    def __post_init__(self) -> None:
        check(self)

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """Names of the state tensors kept for each parameter."""

    @property
    def remembers(self) -> bool:
        """True if an update depends on optimizer state."""
        return True

    ages: ClassVar[tuple[str, ...]] = ()
    """slots that only count an element's updates"""

    def init(self, params: Params, uniform_age: bool = False) -> dict[str, Params]:
        """Initial state: zeros. With `uniform_age`, all elements of a tensor always have the same age, which is kept once, with shape (1,
        ..., 1): each of Adam's updates reads and writes a third less."""

        def zeros(slot: str, param: Tensor) -> Tensor:
            return torch.zeros_like(param[(slice(1),) * param.ndim] if uniform_age and slot in self.ages else param)

        return {slot: {name: zeros(slot, param) for name, param in params.items()} for slot in self.slots}

    noisy: ClassVar[bool] = False
    """True if updates need noise"""
    decays_itself: ClassVar[bool] = False
    """True if the optimizer's own step includes weight decay"""
    mixes_tensors: ClassVar[bool] = False
    """True if a parameter's step depends on other parameters"""
    per_tensor: ClassVar[bool] = False
    """True if state belongs to whole tensors, so that it cannot be reset for single weights; methods that may do so are refused"""

    def gradient_at(self, net: Net) -> Params:
        """Parameters at which the gradient is taken; by default those of the network, which act and are scored."""
        return net.params

    def due(self, update: int) -> bool:
        """True if `occasional` follows that update of the run, counted from 1."""
        return False

    def occasional(self, net: Net) -> dict[str, Params]:
        """State after the part of an update that is too slow for every one; neither compiled nor in a CUDA graph."""
        return net.slots

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        """The step at a learning rate of 1, to be subtracted, and the new optimizer state. `noise` as for `update`."""
        raise NotImplementedError(f"{type(self).__name__} must define step, or moved if its step is no multiple of the learning rate")

    def update(self, net: Net, grads: Params, rate: Tensor, layers: tuple[Layer, ...], noise: Params | None = None) -> Net:
        """One step of one network at learning rate `rate`, a scalar tensor. `noise`, which a `noisy` optimizer needs, holds standard normal
        numbers of the parameters' shapes."""
        if self.clip_norm is not None:
            length = torch.stack([grad.square().sum() for grad in grads.values()]).sum().sqrt()
            factor = (self.clip_norm / (length + 1e-6)).clamp(max=1.0)
            grads = {name: grad * factor for name, grad in grads.items()}
        return self.moved(net, grads, rate, layers, noise or {})

    def moved(self, net: Net, grads: Params, rate: Tensor, layers: tuple[Layer, ...], noise: Params) -> Net:
        """The network after one step along gradients that are clipped already."""
        step, slots = self.step(net, grads, layers, noise)
        if not self.decays_itself:
            step = self.decay_added(step, net.params, layers)
        return Net({name: param - rate * step[name] for name, param in net.params.items()}, slots)

    def decay_added(self, step: Params, params: Params, layers: tuple[Layer, ...]) -> Params:
        """`step` plus weight decay."""
        if not isinstance(self.weight_decay, Tensor) and not self.weight_decay:  # a tensor if members differ
            return step
        decayed = params.keys() if self.decayed == "all" else {layer.weight for layer in layers}
        return {name: s + self.weight_decay * params[name] if name in decayed else s for name, s in step.items()}


def averaged(optimizer_state: Params, keep: float, new: Callable[[str], Tensor | float]) -> Params:
    """Running averages after one more value of each parameter, `new(name)`."""
    return {name: keep * old + (1 - keep) * new(name) for name, old in optimizer_state.items()}


def _grown(keep: float | Tensor, count: Tensor) -> Tensor:
    """1 - keep^count, the running average of `count` ones, without cancellation."""
    if isinstance(keep, Tensor):
        return -torch.expm1(count * keep.log())
    return -torch.expm1(count * (math.log(keep) if keep else -math.inf))


def _ratio(length: Tensor, other: Tensor) -> Tensor:
    """`length` / `other`; 1 where either is zero."""
    known = (length > 0) & (other > 0)
    return torch.where(known, length / torch.where(known, other, 1.0), 1.0)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent with heavy-ball momentum, as torch.optim.SGD; by default without momentum, as in PyTorch."""

    momentum: Annotated[float, Interval("[0, 1)")] = 0.0
    """decay per update of the sum of past gradients"""

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",)

    @property
    def remembers(self) -> bool:
        return self.momentum > 0

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        velocity = {name: self.momentum * old + grads[name] for name, old in net.slots["velocity"].items()}
        return velocity, {"velocity": velocity}


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Steps divided by a running root mean square (Tieleman & Hinton 2012); defaults of torch.optim.RMSprop, but with bias correction."""

    decay: Annotated[float, Interval("[0, 1)")] = 0.99
    """decay per update of the average of squared gradients"""
    epsilon: Annotated[float, Interval("(0, inf)")] = 1e-8
    """added to the root of that average"""
    centered: bool = False
    """divide by the running standard deviation instead (Graves 2013; the optimizer of Mnih et al. 2015, with decay 0.95)"""
    corrected: bool = True
    """correct the average square's bias towards its initial zero, so that the first step of a new weight is one learning rate and not ten,
    as in torch.optim. The mean to centre on is not corrected: the variance of a single gradient would be zero, and is a divisor"""

    ages: ClassVar[tuple[str, ...]] = ("seen",)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("square", "seen", "mean") if self.centered else ("square", "seen")

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        slots = {
            "square": averaged(net.slots["square"], self.decay, lambda name: grads[name].square()),
            "seen": averaged(net.slots["seen"], self.decay, lambda name: 1.0),
        } | ({"mean": averaged(net.slots["mean"], self.decay, grads.__getitem__)} if self.centered else {})

        def step(name: str) -> Tensor:
            seen = slots["seen"][name] if self.corrected else 1.0
            variance = slots["square"][name] / seen
            if self.centered:
                variance = (variance - slots["mean"][name].square()).clamp(min=0)
            return grads[name] / (variance.sqrt() + self.epsilon)

        return {name: step(name) for name in grads}, slots


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv 1412.6980), with its defaults; with `weight_decay` it is AdamW.

    `seen1` and `seen2` are running averages of ones: the bias correction 1 - beta^t of each element.
    """

    beta1: Annotated[float, Interval("[0, 1)")] = 0.9
    """decay per update of the average of gradients"""
    beta2: Annotated[float, Interval("[0, 1)")] = 0.999
    """decay per update of the average of squared gradients"""
    epsilon: Annotated[float, Interval("(0, inf)")] = 1e-8
    """added to the root of the average of squared gradients"""

    ages: ClassVar[tuple[str, ...]] = ("seen1", "seen2")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("mean", "square", "seen1", "seen2")

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        mean = averaged(net.slots["mean"], self.beta1, grads.__getitem__)
        square = averaged(net.slots["square"], self.beta2, lambda name: grads[name].square())
        seen1 = averaged(net.slots["seen1"], self.beta1, lambda name: 1.0)
        seen2 = averaged(net.slots["seen2"], self.beta2, lambda name: 1.0)
        step = {name: (mean[name] / seen1[name]) / ((square[name] / seen2[name]).sqrt() + self.epsilon) for name in grads}
        return step, {"mean": mean, "square": square, "seen1": seen1, "seen2": seen2}


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Rectified Adam: Adam without its divisor until its estimate is reliable (Liu et al. 2020, arXiv 1908.03265), as torch.optim.RAdam.

    `seen` counts each element's updates, so that a reinitialised weight goes through the same warm-up as a new network's.
    """

    beta1: Annotated[float, Interval("[0, 1)")] = 0.9
    """decay per update of the average of gradients"""
    beta2: Annotated[float, Interval("[0, 1)")] = 0.999
    """decay per update of the average of squared gradients"""
    epsilon: Annotated[float, Interval("(0, inf)")] = 1e-8
    """added to the root of the average of squared gradients"""

    ages: ClassVar[tuple[str, ...]] = ("seen",)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("mean", "square", "seen")

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        mean = averaged(net.slots["mean"], self.beta1, grads.__getitem__)
        square = averaged(net.slots["square"], self.beta2, lambda name: grads[name].square())
        seen = {name: count + 1 for name, count in net.slots["seen"].items()}
        longest = 2 / (1 - self.beta2) - 1

        def step(name: str) -> Tensor:
            count, new = seen[name], _grown(self.beta2, seen[name])
            length = longest - 2 * count * (1 - new) / new  # of the moving average; variance tractable above 4, trusted above 5
            known = length > 5
            variance = ((length - 4) * (length - 2) * longest) / ((longest - 4) * (longest - 2) * torch.where(known, length, 1.0))
            divided = variance.clamp(min=0).sqrt() * new.sqrt() / (square[name].sqrt() + self.epsilon)
            return mean[name] / _grown(self.beta1, count) * torch.where(known, divided, 1.0)

        return {name: step(name) for name in grads}, {"mean": mean, "square": square, "seen": seen}


@dataclass(frozen=True)
class LARS(SGD):
    """Momentum of gradients rescaled to a share of each weight tensor's length (You, Gitman & Ginsburg 2017, arXiv 1708.03888).

    A weight's gradient and decay are multiplied by trust * ||w|| / (||gradient|| + weight_decay * ||w||), or by 1 where that is zero or
    undefined; biases, norms and a noisy layer's standard deviations by 1, as in later practice. The learning rate is meant to be large. It
    is applied outside the momentum, as in torch.optim.SGD but not in the paper. Formula, 0.001 and 0.9 are quoted from memory of the paper.
    """

    momentum: Annotated[float, Interval("[0, 1)")] = 0.9
    """decay per update of the sum of past steps"""
    trust: Annotated[float, Interval("(0, inf)")] = 1e-3
    """trust coefficient: the fraction of its norm by which a weight moves at a learning rate of 1"""

    decays_itself: ClassVar[bool] = True

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        def ratio(name: str) -> Tensor:
            length = net.params[name].norm()
            return _ratio(self.trust * length, grads[name].norm() + self.weight_decay * length)

        weights = {layer.weight for layer in layers}
        pulled = self.decay_added(grads, net.params, layers)
        return super().step(net, {name: g * ratio(name) if name in weights else g for name, g in pulled.items()}, layers, noise)


@dataclass(frozen=True)
class LAMB(Adam):
    """Adam's direction, decay included, rescaled to each weight tensor's length (You et al. 2019, arXiv 1904.00962).

    A weight moves by its own length times the learning rate, or by Adam's step where weight or direction is zero; biases, norms and a noisy
    layer's standard deviations take Adam's step. The bounds that the paper allows on a weight's length are left out, as in optax.lamb,
    whose epsilon this is. Overwriting a weight affects the other weights of its tensor, through their common length.
    """

    epsilon: Annotated[float, Interval("(0, inf)")] = 1e-6
    """added to the root of the average of squared gradients"""

    decays_itself: ClassVar[bool] = True

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        step, slots = super().step(net, grads, layers, noise)
        step = self.decay_added(step, net.params, layers)
        ratios = {layer.weight: _ratio(net.params[layer.weight].norm(), step[layer.weight].norm()) for layer in layers}
        return {name: s * ratios[name] if name in ratios else s for name, s in step.items()}, slots


COEFFICIENTS = 3.4445, -4.7750, 2.0315  # Jordan's: the steepest at zero that keeps singular values about 1
TINY = 1e-7


def orthogonalised(matrix: Tensor, iterations: int) -> Tensor:
    """Approximate U V^T of a matrix U S V^T: after five Newton-Schulz iterations, singular values that were not tiny relative to the
    matrix's norm lie between 0.5 and 1.5."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / x.norm().clamp(min=TINY)
    first, third, fifth = COEFFICIENTS
    for _ in range(iterations):
        gram = x @ x.mT
        x = first * x + (third * gram + fifth * gram @ gram) @ x
    return x.mT if tall else x


@dataclass(frozen=True)
class Muon(Adam):
    """Orthogonalised momentum for each hidden weight (Jordan 2024, kellerjordan.github.io/posts/muon); Adam for all else.

    A convolution's weight is a matrix (units, channels x height x width), for the scale too, which Jordan's code takes from the kernel's
    sides. Heads, biases, norms and a noisy layer's standard deviations are Adam's, with the constants of Jordan's code. As everywhere,
    running averages are bias-corrected per element; only reinitialised weights are affected, as the orthogonalisation removes any common
    factor. Multiplications are in the parameters' precision, not in bfloat16. `square` and `seen2` of a hidden weight stay zero.
    """

    beta2: Annotated[float, Interval("[0, 1)")] = 0.95
    """for Adam: decay per update of the average of squared gradients"""
    epsilon: Annotated[float, Interval("(0, inf)")] = 1e-10
    """for Adam: added to the root of that average"""
    momentum: Annotated[float, Interval("[0, 1)")] = 0.95
    """decay per update of the average of gradients that is orthogonalised"""
    nesterov: bool = True
    """orthogonalise an average of the gradient and the momentum rather than the momentum"""
    iterations: Annotated[int, Interval("[1, 100]")] = 5
    """Newton-Schulz iterations; Jordan's value"""
    scale: Literal["adam", "spectral"] = "adam"
    """factor of the orthogonal matrix: `adam` is 0.2 sqrt(max(rows, columns)), which gives about the root mean square of Adam's steps, so
    that one learning rate suits all parameters (Liu et al. 2025, arXiv 2502.16982); `spectral` is Jordan's sqrt(max(1, rows / columns)),
    for a rate of about 0.02, which then also applies to heads and biases"""

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        hidden = [layer.weight for layer in layers if not layer.head]
        rest = [name for name in grads if name not in hidden]
        optimizer_state = {slot: {name: tensors[name] for name in rest} for slot, tensors in net.slots.items()}
        step, after = super().step(Net(net.params, optimizer_state), {name: grads[name] for name in rest}, layers, noise)
        slots = {slot: net.slots[slot] | after[slot] for slot in net.slots}
        for name in hidden:
            average = self.momentum * net.slots["mean"][name] + (1 - self.momentum) * grads[name]
            seen = self.momentum * net.slots["seen1"][name] + (1 - self.momentum)
            slots["mean"][name], slots["seen1"][name] = average, seen
            if self.nesterov:
                average = self.momentum * average + (1 - self.momentum) * grads[name]
                seen = self.momentum * seen + (1 - self.momentum)
            matrix = (average / seen).flatten(1)
            rows, columns = matrix.shape
            length = 0.2 * max(rows, columns) ** 0.5 if self.scale == "adam" else max(1.0, rows / columns) ** 0.5
            step[name] = length * orthogonalised(matrix, self.iterations).reshape(average.shape)
        return {name: step[name] for name in grads}, slots


@dataclass(frozen=True)
class UPGD(Optimizer):
    """Perturbed gradient steps that are smaller where a weight is useful (Elsayed & Mahmood 2024, arXiv 2404.00781).

    step = 2 (gradient + sigma * noise) (1 - sigmoid(u / max u)): u is a running average of -gradient * weight, the first-order utility, and
    the maximum is over all parameters of the network (the paper's global version). Where it is not positive, no weight is protected. The 2
    and the defaults are those of the UPGD class in the authors' README; the code of their experiments has no 2, so halve a rate taken from
    there and double its decay. Their maximum is over averages without bias correction, so their early ratios are up to 1 / (1 - beta) times
    ours; later they are equal. The utility of a reinitialised weight is at first a single sample, and may be the largest.
    """

    weight_decay: Annotated[float, Interval("[0, inf)")] = 1e-3
    decayed: Literal["weights", "all"] = "all"
    beta: Annotated[float, Interval("[0, 1)")] = 0.999
    """decay per update of the running utility"""
    sigma: Annotated[float, Interval("[0, inf)")] = 1e-3
    """standard deviation of the noise"""

    noisy: ClassVar[bool] = True
    mixes_tensors: ClassVar[bool] = True

    ages: ClassVar[tuple[str, ...]] = ("seen",)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("utility", "seen")

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        utility = averaged(net.slots["utility"], self.beta, lambda name: -grads[name] * net.params[name])
        seen = averaged(net.slots["seen"], self.beta, lambda name: 1.0)
        useful = {name: utility[name] / seen[name] for name in grads}
        largest = torch.stack([each.max() for each in useful.values()]).max()
        free = {
            name: torch.where(largest > 0, torch.sigmoid(-each / torch.where(largest > 0, largest, 1.0)), 0.5)
            for name, each in useful.items()
        }
        return {name: 2 * (grads[name] + self.sigma * noise[name]) * free[name] for name in grads}, {"utility": utility, "seen": seen}
