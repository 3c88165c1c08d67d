"""Self-normalized resets: thresholds from each unit's own history."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.interventions.base import Refresh, RefreshContext, State, UpdateContext
from plasticity_rl.interventions.recycling import check_recycled, recycle
from plasticity_rl.networks.layers import Layers, Params, own_units
from plasticity_rl.optim.optimizers import Net


@dataclass(frozen=True)
class SelfNormalizedResets(Refresh):
    """Reset the units that are silent for longer than is usual for them (Farias & Jozefiak, ICLR 2025, arXiv 2410.20098).

    A unit's age is the number of updates since it was positive on any example. When it fires again, its age enters a histogram of its own,
    (units, `bins`), one bin per update and the last one for all above; ages of 0 do not count. A unit whose age reaches its threshold is
    re-initialised as by ReDo, and that age counted too. Every `renewal` refreshes, each threshold becomes the `percentile` of its histogram
    (0 if that is empty) if this is below the old threshold, and twice the old threshold otherwise, clamped to 1 and `bins`; the histograms
    are then emptied. A unit that is never silent ends at 1.

    Read in the official code: all of this except the last bin (it does not count ages above its histogram), the percentile of 0.99 and the
    doubling. It resets in every update (every=1), in a pass over the network before the optimizer's step; here every 100, as each refresh
    initialises a network, and after the step, in a second forward pass. It counts ages in examples, whole batches at a time, which is the
    same up to the batch size; it renews thresholds every 16 tasks, where here no task boundaries are needed; its first threshold and
    histogram length are set by the experiment. `start`, `bins`, `renewal` and the 100 updates between refreshes are ours. Two connected
    units reset at once start without a connection; in the official code the upper one reads the lower. The paper's own text was not read.
    Channels of a residual stream are skipped; activations that are never silent, all but ReLU, are refused.
    """

    percentile: Annotated[float, Interval("(0, 1)")] = 0.99
    """share of a unit's own silences at most as long as its threshold"""
    start: Annotated[int, Interval("[1, inf)")] = 64
    """first threshold of every unit, in updates"""
    bins: Annotated[int, Interval("[1, 65536]")] = 256
    """longest distinguished age, in updates"""
    renewal: Annotated[int, Interval("[1, inf)")] = 10
    """refreshes between two renewals of the thresholds"""

    default_every: ClassVar[dict[str, int]] = {"update": 100, "task": 1}

    def __post_init__(self) -> None:
        check(self)
        self.set_default_every()
        if self.start > self.bins:
            raise UsageError(f"SelfNormalizedResets: start must be at most bins, {self.bins}, not {self.start}")

    def require(self, layers: Layers) -> None:
        check_recycled("SelfNormalizedResets", layers)
        for layer in own_units(layers):
            if layer.activation != "relu":
                raise UsageError(
                    f"SelfNormalizedResets needs units that can be silent, and with {layer.activation} those of {layer.name} never are; "
                    "take relu"
                )

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        state = {}
        for layer in own_units(layers):
            weight = params[layer.weight]
            state[f"{layer.name}.age"] = weight.new_zeros(layer.units)
            state[f"{layer.name}.counts"] = weight.new_zeros(layer.units, self.bins)
            state[f"{layer.name}.threshold"] = weight.new_full((layer.units,), self.start)
            state[f"{layer.name}.refreshes"] = weight.new_zeros(())
        return state

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        features, state = context.apply(net.params)[1], dict(state)
        for layer in own_units(layers):
            age, fired = state[f"{layer.name}.age"], (features[layer.name] > 0).any(0)
            state[f"{layer.name}.age"] = torch.where(fired, 0.0, age + 1)
            state[f"{layer.name}.counts"] = state[f"{layer.name}.counts"] + self._counted(age, fired)
        return net, state

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        state, marked = dict(state), {}
        for layer in own_units(layers):
            age, threshold = state[f"{layer.name}.age"], state[f"{layer.name}.threshold"]
            silent = age >= threshold
            counts = state[f"{layer.name}.counts"] + self._counted(age, silent)
            refreshes = state[f"{layer.name}.refreshes"] + 1
            renewed = refreshes >= self.renewal
            state[f"{layer.name}.age"] = torch.where(silent, 0.0, age)
            state[f"{layer.name}.counts"] = torch.where(renewed, 0.0, counts)
            state[f"{layer.name}.threshold"] = torch.where(renewed, self._renewed(counts, threshold), threshold)
            state[f"{layer.name}.refreshes"] = torch.where(renewed, 0.0, refreshes)
            marked[layer.name] = silent
        return recycle(net, context.fresh, marked, layers), state

    def _counted(self, age: Tensor, which: Tensor) -> Tensor:
        """Histograms, (units, bins), with one entry for the age of each unit in `which`; the first bin is an age of 1."""
        bins = torch.arange(1, self.bins + 1, device=age.device)
        return ((bins == age.clamp(max=self.bins).unsqueeze(1)) & which.unsqueeze(1)).to(age.dtype)

    def _renewed(self, counts: Tensor, threshold: Tensor) -> Tensor:
        """Smallest age at or above `percentile` of the counts if below the threshold, otherwise twice the threshold."""
        total = counts.sum(1, keepdim=True)
        longest = ((counts.cumsum(1) < self.percentile * total).sum(1) + 1) * (total[:, 0] > 0)
        return torch.where(longest < threshold, longest, 2 * threshold).clamp(1, self.bins)
