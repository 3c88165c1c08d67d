"""Resets: of everything, of some layers, or of optimizer state alone."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch

from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State
from plasticity_rl.interventions.recycling import overwrite
from plasticity_rl.networks.layers import Layers, select, single_parameters
from plasticity_rl.optim.optimizers import Net, Optimizer


@dataclass(frozen=True)
class Reset(Refresh):
    """Re-initialise parameters, and reset their optimizer state (Nikishin et al. 2022, arXiv 2205.07802).

    `everything` is a new agent: network, optimizer, target network, replay, and the state of the chain's other methods. At every task and
    last in a chain it is that chain's control, alone the fresh control. The other parts keep the data, as the paper does: `network` (all
    layers and the parameters beside them), `hidden`, `heads`, `optimizer` (its state alone), and `last`: the heads and as many hidden
    layers below them as the field `last` says (parallel layers count as one), for instance all layers behind an encoder. In words that
    limit it to one of several networks, the default is `network`. The paper's code makes a new SAC agent every 2e5 steps and new heads of
    SPR every 20,000 updates; with no common default, the default clock is the task.
    """

    clock: Literal["update", "task"] = "task"
    part: Literal["everything", "network", "hidden", "heads", "optimizer", "last"] = "everything"
    """part to reset"""
    last: Annotated[int | None, Interval("[1, inf)")] = None
    """number of hidden layers, for part=last"""

    default_every: ClassVar[dict[str, int]] = {"task": 1}
    uniform_age: ClassVar[bool] = True
    when_limited: ClassVar[dict[str, str]] = {"part": "network"}

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()
        if self.only and self.part == "everything":
            raise UsageError(f"Reset: part=everything makes a new agent and cannot be limited to {self.only}; take part=network")
        if (self.part == "last") != (self.last is not None):
            raise UsageError("Reset: part=last and the field last, its number of hidden layers, must be set together")

    @property
    def needs_layer_graph(self) -> bool:
        return self.part in ("hidden", "heads", "last")

    @property
    def takes_single_parameters(self) -> bool:
        return self.part in ("everything", "network", "optimizer")

    @property
    def needs_fresh(self) -> bool:
        return self.part != "optimizer"

    def is_noop(self, optimizer: Optimizer) -> bool:
        return self.part == "optimizer" and not optimizer.remembers

    def require(self, layers: Layers) -> None:
        if self.last is not None and self.last > (deepest := max(_heights(layers).values())):
            raise UsageError(f"Reset: last must be at most {deepest}, the number of hidden layers, not {self.last}")

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        if self.part == "optimizer":
            return Net(
                net.params,
                {slot: {name: torch.zeros_like(m) for name, m in optimizer_state.items()} for slot, optimizer_state in net.slots.items()},
            ), state
        chosen = select(layers, self.part if self.part in ("hidden", "heads") else "all")
        if self.last is not None:
            chosen = tuple(layer for layer in layers if _heights(layers)[layer.name] <= self.last)
        names = [name for layer in chosen for name in (*layer.parameters, *layer.singular)]
        if self.part in ("everything", "network"):
            names += single_parameters(net.params, layers)
        masks = {name: torch.ones_like(net.params[name], dtype=torch.bool) for name in names}
        return overwrite(net, masks, context.fresh), state

    @property
    def clears_replay(self) -> bool:
        return self.part == "everything"

    @property
    def syncs_target(self) -> bool:
        return self.part != "optimizer"


def _heights(layers: Layers) -> dict[str, int]:
    """Number of hidden layers on the longest path from a layer to a head, its own included: 0 for a head."""
    heights: dict[str, int] = {}
    for layer in reversed(layers):
        heights[layer.name] = max((1 + heights[reader] for reader in layer.readers), default=0)
    return heights
