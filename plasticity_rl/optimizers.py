"""Optimizers as pure pairs (init, update) of one network; what they remember is explicit, one tensor a parameter and slot.

A zero in every slot means *never updated*, element by element: bias corrections are kept per element, so that a weight born in mid-run
takes steps of one learning rate and its neighbours go on as they were. (A step counter shared by a tensor gives the newborn 3.15 learning
rates; starting it again gives the survivors 0.32.)
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from plasticity_rl.checks import check
from plasticity_rl.networks import Layer, Params


class Net(NamedTuple):
    """One network and its optimizer's memory."""

    params: Params
    slots: dict[str, Params]
    """slot -> parameter name -> tensor of the parameter's shape"""


@dataclass(frozen=True)
class Optimizer(ABC):
    """What every optimizer shares: weight decay, always decoupled from the gradient (Loshchilov & Hutter, arXiv 1711.05101)."""

    weight_decay: float = 0.0
    """w <- w - rate * weight_decay * w at every update"""
    decayed: Literal["weights", "all"] = "weights"
    """which parameters decay: weight tensors alone, or all (torch.optim's default): biases, scales, offsets, and a noisy layer's standard
    deviations, whose decay takes the exploration away"""
    clip_norm: float | None = None
    """the longest that the gradient of all parameters together may be; a longer one is scaled down, as torch's clip_grad_norm_ does"""

    def __post_init__(self) -> None:
        check(
            self,
            clip_norm="(0, inf)",
            weight_decay="[0, inf)",
            momentum="[0, 1)",
            beta1="[0, 1)",
            beta2="[0, 1)",
            decay="[0, 1)",
            epsilon="(0, inf)",
        )

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """The names of what it remembers of each parameter."""

    def init(self, params: Params) -> dict[str, Params]:
        """The memory of an optimizer that has seen nothing: zeros."""
        return {slot: {name: torch.zeros_like(param) for name, param in params.items()} for slot in self.slots}

    noisy: ClassVar[bool] = False
    """does it take noise?"""

    @abstractmethod
    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        """What to subtract at a learning rate of 1, and the memory afterwards. `noise` as for `update`."""

    def update(self, net: Net, grads: Params, rate: Tensor, layers: tuple[Layer, ...], noise: Params | None = None) -> Net:
        """One step of one network at learning rate `rate`, a scalar tensor; `noise` are standard normal numbers of the parameters' shapes,
        which a `noisy` optimizer needs."""
        if self.clip_norm is not None:
            length = torch.stack([grad.square().sum() for grad in grads.values()]).sum().sqrt()
            factor = (self.clip_norm / (length + 1e-6)).clamp(max=1.0)
            grads = {name: grad * factor for name, grad in grads.items()}
        step, slots = self.step(net, grads, layers, noise or {})
        if self.weight_decay:
            decayed = net.params.keys() if self.decayed == "all" else {layer.weight for layer in layers}
            step = {name: s + self.weight_decay * net.params[name] if name in decayed else s for name, s in step.items()}
        return Net({name: param - rate * step[name] for name, param in net.params.items()}, slots)


def _averaged(memory: Params, keep: float, new: Callable[[str], Tensor | float]) -> Params:
    return {name: keep * old + (1 - keep) * new(name) for name, old in memory.items()}


def _grown(keep: float, count: Tensor) -> Tensor:
    """1 - keep^count, what a running average of ones has grown to, without cancellation."""
    return -torch.expm1(count * (math.log(keep) if keep else -math.inf))


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent with (heavy-ball) momentum, as torch.optim.SGD; the default of none is PyTorch's."""

    momentum: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",)

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        velocity = {name: self.momentum * old + grads[name] for name, old in net.slots["velocity"].items()}
        return velocity, {"velocity": velocity}


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Steps divided by a running root mean square (Tieleman & Hinton 2012); defaults as torch.optim.RMSprop's but for the correction."""

    decay: float = 0.99
    epsilon: float = 1e-8
    centered: bool = False
    """divide by the running standard deviation instead (Graves 2013; the optimizer of Mnih et al. 2015, with decay 0.95)"""
    corrected: bool = True
    """correct the average square's start from zero, so that a newborn weight's first step is one learning rate and not torch.optim's ten.
    The mean to centre on is left to grow from zero: the variance of a single gradient is nil, and would be divided by"""

    @property
    def slots(self) -> tuple[str, ...]:
        return ("square", "seen", "mean") if self.centered else ("square", "seen")

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        slots = {
            "square": _averaged(net.slots["square"], self.decay, lambda name: grads[name].square()),
            "seen": _averaged(net.slots["seen"], self.decay, lambda name: 1.0),
        } | ({"mean": _averaged(net.slots["mean"], self.decay, grads.__getitem__)} if self.centered else {})

        def step(name: str) -> Tensor:
            seen = slots["seen"][name] if self.corrected else 1.0
            variance = slots["square"][name] / seen
            if self.centered:
                variance = (variance - slots["mean"][name].square()).clamp(min=0)
            return grads[name] / (variance.sqrt() + self.epsilon)

        return {name: step(name) for name in grads}, slots


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba, arXiv 1412.6980), with its defaults; with `weight_decay` it is AdamW.

    `seen1` and `seen2` are running averages of ones: the bias correction 1 - beta^t, of each element by itself.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def slots(self) -> tuple[str, ...]:
        return ("mean", "square", "seen1", "seen2")

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        mean = _averaged(net.slots["mean"], self.beta1, grads.__getitem__)
        square = _averaged(net.slots["square"], self.beta2, lambda name: grads[name].square())
        seen1 = _averaged(net.slots["seen1"], self.beta1, lambda name: 1.0)
        seen2 = _averaged(net.slots["seen2"], self.beta2, lambda name: 1.0)
        step = {name: (mean[name] / seen1[name]) / ((square[name] / seen2[name]).sqrt() + self.epsilon) for name in grads}
        return step, {"mean": mean, "square": square, "seen1": seen1, "seen2": seen2}


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Adam without its divisor until that is known well enough: rectified Adam (Liu et al. 2020, arXiv 1908.03265), as torch.optim.RAdam.

    `seen` counts each element's updates, so that a newborn weight goes through the same warm-up as a new network's.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def slots(self) -> tuple[str, ...]:
        return ("mean", "square", "seen")

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        mean = _averaged(net.slots["mean"], self.beta1, grads.__getitem__)
        square = _averaged(net.slots["square"], self.beta2, lambda name: grads[name].square())
        seen = {name: count + 1 for name, count in net.slots["seen"].items()}
        longest = 2 / (1 - self.beta2) - 1

        def step(name: str) -> Tensor:
            count, new = seen[name], _grown(self.beta2, seen[name])
            length = longest - 2 * count * (1 - new) / new  # of the moving average; its variance is tractable above 4, trusted above 5
            known = length > 5
            variance = ((length - 4) * (length - 2) * longest) / ((longest - 4) * (longest - 2) * torch.where(known, length, 1.0))
            divided = variance.clamp(min=0).sqrt() * new.sqrt() / (square[name].sqrt() + self.epsilon)
            return mean[name] / _grown(self.beta1, count) * torch.where(known, divided, 1.0)

        return {name: step(name) for name in grads}, {"mean": mean, "square": square, "seen": seen}
