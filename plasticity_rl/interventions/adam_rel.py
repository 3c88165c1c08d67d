"""Adam's time since the objective last changed."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from plasticity_rl.checks import check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State
from plasticity_rl.networks.layers import Layers
from plasticity_rl.optim.optimizers import Net, Optimizer

AGES = ("seen", "seen1", "seen2", "age")  # of this project's optimizers, and of torch.optim's when attached


@dataclass(frozen=True)
class AdamRel(Refresh):
    """Set Adam's step count to 0 where the objective changes, and keep its averages (Ellis et al., NeurIPS 2024, arXiv 2412.17113).

    The bias correction then divides the second average by 1 - beta2 again: if the gradient grows k-fold at that moment, the step tends to 1
    learning rate, and not to (1 - beta1) / sqrt(1 - beta2), sqrt 10. Read in a second reading of the paper, with the check of this limit.

    The paper's objective changes with every batch of data in PPO and every copy to the target network in DQN; take the updates between two
    of these as `every`, which has no default there, or the task's clock. `reset:part=optimizer` at the same times resets the averages too
    (Asadi et al. 2023, arXiv 2306.17833). Optimizers that correct no bias, as SGD, are refused.
    """

    clock: Literal["update", "task"] = "task"

    default_every: ClassVar[dict[str, int]] = {"task": 1}
    uniform_age: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    @property
    def needs_layer_graph(self) -> bool:
        return False

    @property
    def needs_fresh(self) -> bool:
        return False

    def is_noop(self, optimizer: Optimizer) -> bool:
        return not optimizer.ages

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        forgotten = {slot: {name: torch.zeros_like(age) for name, age in net.slots[slot].items()} for slot in AGES if slot in net.slots}
        return net._replace(slots=net.slots | forgotten), state
