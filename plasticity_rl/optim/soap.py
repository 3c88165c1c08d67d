"""SOAP."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval
from plasticity_rl.networks.layers import Layer, Params
from plasticity_rl.optim.optimizers import Net, Optimizer, averaged


@dataclass(frozen=True)
class SOAP(Optimizer):
    """Adam along the eigenvectors of Shampoo's preconditioner (Vyas et al., ICLR 2025, arXiv 2409.11321).

    Each dimension of a weight has a running average of the gradient's outer products over all others, and axes: its eigenvectors, as they
    were at the last turn. Gradients are divided by their root mean square along these axes, and the step is turned back. Turns follow the
    first update, then every `every`: eigenvectors at first, later one power iteration and a QR decomposition. The first gradient sets the
    axes and moves nothing. Parameters of one dimension are Adam's. A convolution's weight has four dimensions, as in the authors' code.

    State belongs to whole tensors, as an element along the axes is a mixture of all weights: methods that reset single weights are refused.
    A tensor that is reset is divided along its own coordinates until the next turn. Eigenvectors are not unique where a product lacks full
    rank, so a member trained alone and beside others differs there by more than rounding. On a CPU, updates of three layers of 100 units on
    784 inputs took 50 to 75 times as long as Adam's, and 11 times with largest=256. Formula and defaults are read in the authors' code,
    which also decays by 0.01 and whose learning rate is 3e-3.
    """

    beta1: Annotated[float, Interval("[0, 1)")] = 0.95
    """decay per update of the average of gradients"""
    beta2: Annotated[float, Interval("[0, 1)")] = 0.95
    """decay per update of the averages of squared gradients, and of their outer products"""
    epsilon: Annotated[float, Interval("(0, inf)")] = 1e-8
    """added to the root of the average of squared gradients"""
    every: Annotated[int, Interval("[1, inf)")] = 10
    """updates between two turns of the axes"""
    largest: Annotated[int, Interval("[1, inf)")] = 10_000
    """longest dimension that has axes of its own; time per turn grows with the cube of the length, memory with the square"""

    ages: ClassVar[tuple[str, ...]] = ("seen1", "seen2")
    decays_itself: ClassVar[bool] = True
    per_tensor: ClassVar[bool] = True

    @property
    def slots(self) -> tuple[str, ...]:
        """`products` and `axes` hold a parameter's square matrices, one a dimension, in a row; `begun` and `turned` are 0 or 1."""
        return ("mean", "square", "seen1", "seen2", "products", "axes", "begun", "turned")

    def init(self, params: Params, uniform_age: bool = False) -> dict[str, Params]:
        def zeros(slot: str, param: Tensor) -> Tensor:
            if slot in ("products", "axes"):
                return param.new_zeros(sum(param.shape[place] ** 2 for place in self._places(param)))
            return torch.zeros_like(param if slot in ("mean", "square") else param[(slice(1),) * param.ndim])

        return {slot: {name: zeros(slot, param) for name, param in params.items()} for slot in self.slots}

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        old, axes = net.slots, {name: self._axes(name, net.slots) for name in grads}
        first = {name: begun == 0 for name, begun in old["begun"].items()}

        def average(slot: str, keep: float, new: Callable[[str], Tensor | float]) -> Params:
            after = averaged(old[slot], keep, new)
            return {name: torch.where(first[name], old[slot][name], each) for name, each in after.items()}

        slots = old | {
            "mean": average("mean", self.beta1, grads.__getitem__),
            "square": average("square", self.beta2, lambda name: self._along(grads[name], axes[name]).square()),
            "seen1": average("seen1", self.beta1, lambda name: 1.0),
            "seen2": average("seen2", self.beta2, lambda name: 1.0),
            "products": averaged(old["products"], self.beta2, lambda name: self._products(grads[name])),
            "begun": {name: torch.ones_like(begun) for name, begun in old["begun"].items()},
        }

        def step(name: str) -> Tensor:
            divided = self._along(slots["mean"][name], axes[name]) / (slots["square"][name].sqrt() + self.epsilon)
            correction = slots["seen2"][name].sqrt() / torch.where(first[name], 1.0, slots["seen1"][name])
            return correction * self._along(divided, [each.mT for each in axes[name]])

        decayed = self.decay_added({name: step(name) for name in grads}, net.params, layers)
        return {name: torch.where(first[name], 0.0, each) for name, each in decayed.items()}, slots

    def due(self, update: int) -> bool:
        return (update - 1) % self.every == 0

    def occasional(self, net: Net) -> dict[str, Params]:
        """The state after a turn of all axes for which there are gradients."""
        slots: dict[str, Params] = net.slots | {slot: {} for slot in ("square", "seen2", "axes", "turned")}
        for name, begun in net.slots["begun"].items():
            turned = net.slots["turned"][name]
            first, known = turned.flatten()[0] == 0, begun.flatten()[0] > 0
            square = torch.where(first, 0.0, net.slots["square"][name])  # what there is was along other axes
            found = [torch.zeros_like(begun.flatten()[:0])]
            for place, products, axes in zip(
                self._places(square), self._matrices(net.slots["products"][name], square), self._axes(name, net.slots), strict=True
            ):
                power = products @ axes
                order = (axes * power).sum(0).argsort(descending=True)
                finite = torch.where(products.isfinite(), products, 0.0)  # eigh raises an error else
                eigenvectors, after = torch.linalg.eigh(finite)[1].flip(1), torch.linalg.qr(power[:, order])[0]
                found.append(torch.where(first, eigenvectors, after).flatten())
                square = square.index_select(place, order)
            slots["axes"][name] = torch.where(known, torch.cat(found), net.slots["axes"][name])
            slots["square"][name] = torch.where(known, square, net.slots["square"][name])
            slots["seen2"][name] = torch.where(known & first, 0.0, net.slots["seen2"][name])
            slots["turned"][name] = torch.where(known, torch.ones_like(turned), turned)
        return slots

    def _places(self, tensor: Tensor) -> list[int]:
        """Dimensions that have axes."""
        return [place for place, length in enumerate(tensor.shape) if 1 < length <= self.largest] if tensor.ndim > 1 else []

    def _matrices(self, flat: Tensor, tensor: Tensor) -> list[Tensor]:
        """The square matrices of a parameter, whose shape `tensor` has, from the row in which the state holds them."""
        lengths = [tensor.shape[place] for place in self._places(tensor)]
        return [each.unflatten(0, (n, n)) for each, n in zip(flat.split([n**2 for n in lengths]), lengths, strict=True)] if lengths else []

    def _axes(self, name: str, slots: dict[str, Params]) -> list[Tensor]:
        """A parameter's axes, as columns; its own coordinates before the first turn."""
        turned = slots["turned"][name].flatten()[0] > 0
        matrices = self._matrices(slots["axes"][name], slots["mean"][name])
        return [torch.where(turned, each, torch.eye(len(each), dtype=each.dtype, device=each.device)) for each in matrices]

    def _products(self, grad: Tensor) -> Tensor:
        """Products of the gradient with itself over all dimensions but one, for each dimension, in a row."""
        matrices = [grad.movedim(place, 0).flatten(1) for place in self._places(grad)]
        return torch.cat([(each @ each.mT).flatten() for each in matrices]) if matrices else grad.new_zeros(0)

    def _along(self, tensor: Tensor, axes: list[Tensor]) -> Tensor:
        """Coordinates along axes that are columns."""
        for place, each in zip(self._places(tensor), axes, strict=True):
            tensor = (tensor.movedim(place, -1) @ each).movedim(-1, place)
        return tensor
