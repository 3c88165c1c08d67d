"""Resets: of everything, of some layers, or of the optimizer's memory alone."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from plasticity_rl.checks import check
from plasticity_rl.interventions.base import Evidence, Layers, Refresh, State, overwrite, select
from plasticity_rl.optimizers import Net


@dataclass(frozen=True)
class Reset(Refresh):
    """New values in place of learned ones, and no memory of the optimizer there (Nikishin et al. 2022, arXiv 2205.07802).

    `everything` is a new agent: network, optimizer, target network and replay; at every task it is the fresh control, against which
    plasticity is reported. The other parts keep the data, as the paper does: `network` (all layers), `hidden`, `heads`, `optimizer` (its
    memory alone). The paper's code makes a new SAC agent every 2e5 steps and new heads of SPR every 20,000 updates; there is no common
    default, so the clock's default is the task.
    """

    clock: Literal["update", "task"] = "task"
    part: Literal["everything", "network", "hidden", "heads", "optimizer"] = "everything"

    usual: ClassVar[dict[str, int]] = {"task": 1}

    def __post_init__(self) -> None:
        check(self, every="[1, inf)")
        self.settle()

    def refresh(self, net: Net, state: State, evidence: Evidence, layers: Layers) -> tuple[Net, State]:
        if self.part == "optimizer":
            return Net(
                net.params, {slot: {name: torch.zeros_like(m) for name, m in memory.items()} for slot, memory in net.slots.items()}
            ), state
        chosen = select(layers, self.part if self.part in ("hidden", "heads") else "all")
        masks = {name: torch.ones_like(net.params[name], dtype=torch.bool) for layer in chosen for name in layer.own}
        return overwrite(net, masks, evidence.fresh), state

    @property
    def clears_replay(self) -> bool:
        return self.part == "everything"

    @property
    def syncs_target(self) -> bool:
        return self.part != "optimizer"
