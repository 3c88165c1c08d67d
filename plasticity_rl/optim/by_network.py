"""Other settings of an optimizer for some of an agent's networks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

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

    @property
    def noisy(self) -> bool:  # type: ignore[override]
        return self.common.noisy

    def init(self, params: Params, uniform_age: bool = False) -> dict[str, Params]:
        return self.common.init(params, uniform_age)

    def gradient_at(self, net: Net) -> Params:
        found = [(part.params, optimizer.gradient_at(part)) for optimizer, part in self._parts(net)]
        if all(at is params for params, at in found):
            return net.params
        every = {name: param for _, at in found for name, param in at.items()}
        return {name: every[name] for name in net.params}

    def moved(self, net: Net, grads: Params, rate: Tensor, layers: tuple[Layer, ...], noise: Params) -> Net:
        params: Params = {}
        states = []
        for optimizer, part in self._parts(net):
            inside = tuple(layer for layer in layers if layer.weight in part.params)
            after = optimizer.moved(part, {name: grads[name] for name in part.params}, rate, inside, noise)
            params |= after.params
            states.append(after.slots)
        return Net({name: params[name] for name in net.params}, _merged(net.slots, states))

    def due(self, update: int) -> bool:
        return self.common.due(update)

    def occasional(self, net: Net) -> dict[str, Params]:
        return _merged(net.slots, [optimizer.occasional(part) for optimizer, part in self._parts(net)])

    def _parts(self, net: Net) -> Iterator[tuple[Optimizer, Net]]:
        """Each optimizer, and its networks' parameters and state."""
        place = {part: number for number, (parts, _) in enumerate(self.own, start=1) for part in parts}
        for number, optimizer in enumerate((self.common, *(optimizer for _, optimizer in self.own))):
            params = {name: param for name, param in net.params.items() if place.get(network_of(name), 0) == number}
            yield optimizer, Net(params, {slot: {name: each[name] for name in params} for slot, each in net.slots.items()})


def _merged(before: dict[str, Params], states: list[dict[str, Params]]) -> dict[str, Params]:
    """State of all networks, in the order of `before`."""
    found = {slot: {name: each for state in states for name, each in state[slot].items()} for slot in before}
    return {slot: {name: found[slot][name] for name in each} for slot, each in before.items()}
