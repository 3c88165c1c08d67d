"""Other settings of an optimizer for some of an agent's networks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.layers import Layer, Params, network_of
from plasticity_rl.optim.optimizers import Net, Optimizer


@dataclass(frozen=True)
class ByNetwork(Optimizer):
    """Steps of one optimizer, with other settings for some of an agent's networks, as methods that are limited to them ask for.

    The gradient is clipped before, over all networks together. No word of an experiment: `assemble` makes it.
    """

    common: Optimizer = field(kw_only=True)
    """for all networks that `own` does not name"""
    own: tuple[tuple[tuple[str, ...], Optimizer], ...] = field(kw_only=True)
    """names of networks, and the optimizer for them"""

    decays_itself: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """No check: both optimizers were checked when they were made."""

    @classmethod
    def of(cls, common: Optimizer, own: Mapping[str, Optimizer]) -> "ByNetwork":
        """From each network's optimizer, by name. Raises UsageError if networks cannot have their own."""
        for part, optimizer in own.items():
            if optimizer.clip_norm != common.clip_norm:
                raise UsageError(f"clip_norm is of the gradient of all networks together and cannot be limited to {part}")
            if common.mixes_tensors:
                raise UsageError(
                    f"{type(common).__name__} compares the parameters of all networks: its settings cannot be limited to {part}"
                )
        alike = {optimizer: tuple(part for part in own if own[part] == optimizer) for optimizer in own.values()}
        return cls(clip_norm=common.clip_norm, common=common, own=tuple((parts, optimizer) for optimizer, parts in alike.items()))

    @property
    def slots(self) -> tuple[str, ...]:
        return self.common.slots

    @property
    def remembers(self) -> bool:
        return self.common.remembers

    def init(self, params: Params, uniform_age: bool = False) -> dict[str, Params]:
        return self.common.init(params, uniform_age)

    def step(self, net: Net, grads: Params, layers: tuple[Layer, ...], noise: Params) -> tuple[Params, dict[str, Params]]:
        place = {part: number for number, (parts, _) in enumerate(self.own, start=1) for part in parts}
        steps: Params = {}
        slots: dict[str, Params] = {slot: {} for slot in net.slots}
        for number, optimizer in enumerate((self.common, *(optimizer for _, optimizer in self.own))):
            names = [name for name in grads if place.get(network_of(name), 0) == number]
            params = {name: net.params[name] for name in names}
            inside = tuple(layer for layer in layers if layer.weight in params)
            state = {slot: {name: each[name] for name in names} for slot, each in net.slots.items()}
            step, after = optimizer.step(Net(params, state), {name: grads[name] for name in names}, inside, {})
            steps |= step if optimizer.decays_itself else optimizer.decay_added(step, params, inside)
            for slot, each in after.items():
                slots[slot] |= each
        return {name: steps[name] for name in grads}, {slot: {name: slots[slot][name] for name in each} for slot, each in net.slots.items()}
