"""A method that spoils a weight, as a module of one's own."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from plasticity_rl.checks import Interval, check
from plasticity_rl.interventions.base import Intervention, State
from plasticity_rl.networks.layers import Layers, Params, select


@dataclass(frozen=True)
class Poison(Intervention):
    """Add `value` to the first hidden weight at update `at`."""

    at: Annotated[int, Interval("[1, 1000000]")] = 1
    value: Literal["nan", "inf"] = "nan"

    def __post_init__(self) -> None:
        check(self)

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        return {"updates": torch.zeros(())}

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        name, updates = select(layers, "hidden")[0].weight, state["updates"] + 1
        return params | {name: params[name] + torch.where(updates == self.at, float(self.value), 0.0)}, {"updates": updates}
