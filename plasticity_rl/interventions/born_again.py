"""Born-again networks: self-distillation."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.interventions.recycling import overwrite
from plasticity_rl.networks.layers import Layers, Params, select
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class BornAgain(Refresh):
    """At every refresh, start a new network with the old one as its teacher (Furlanello et al. 2018, arXiv 1805.04770).

    Adds strength * distance between the two networks' outputs on the batch. Zaidi et al. (2022, arXiv 2206.10011) compare it with other
    re-initialisations. The student is newly initialised and the optimizer state reset; before the first refresh there is no teacher, and
    nothing is added. The distance `kl` is temperature^2 * KL(teacher || student) between softmaxes of all outputs, which must be one head's
    logits; `mse` is the mean squared difference, for values.

    Labels and teacher have equal weight at strength 1 and temperature 1; the paper's weighting is not confirmed. Zaidi et al. restart
    several times on the same data: clock=update with `every` the length of a stage. At a task boundary the teacher knows the last task, not
    the next. Costs a second and a third forward pass per update.
    """

    clock: Literal["update", "task"] = "task"
    strength: Annotated[float, Interval("(0, inf)")] = 1.0
    """factor of the distance"""
    loss: Literal["kl", "mse"] = "kl"
    """distance between softmaxes, or between numbers"""
    temperature: Annotated[float, Interval("(0, inf)")] = 1.0
    """temperature of both softmaxes, for `kl`"""

    default_every: ClassVar[dict[str, int]] = {"task": 1}

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()

    @property
    def needs_layer_graph(self) -> bool:
        return self.loss == "kl"  # kl compares softmaxes of one head's logits

    def require(self, layers: Layers) -> None:
        heads = [layer.name for layer in select(layers, "heads")]
        if self.loss == "kl" and len(heads) > 1:
            raise UsageError(f"BornAgain: loss=kl reads all outputs as one head's logits, and the network has {', '.join(heads)}; take mse")

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        start = next(iter(params.values()))
        return {name: param.clone() for name, param in params.items()} | {"has_teacher": start.new_zeros(())}

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> Tensor:
        student, teacher = context.apply(params)[0], context.apply({name: state[name] for name in params})[0]
        if self.loss == "mse":
            distance = (student - teacher).square().mean()
        else:
            ours, theirs = ((outputs / self.temperature).log_softmax(-1) for outputs in (student, teacher))
            distance = self.temperature**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1).mean()
        return self.strength * state["has_teacher"] * distance

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        masks = {name: torch.ones_like(param, dtype=torch.bool) for name, param in net.params.items()}
        return overwrite(net, masks, context.fresh), net.params | {"has_teacher": torch.ones_like(state["has_teacher"])}

    @property
    def syncs_target(self) -> bool:
        return True
