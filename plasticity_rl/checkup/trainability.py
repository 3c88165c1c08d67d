"""How well a network learns beside newly initialised twins: pairs of a copy and a twin learn the same targets by the same rule."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap
from torch.utils.flop_counter import FlopCounterMode

from plasticity_rl.checkup.network import Args, Examined
from plasticity_rl.checkup.ratio import Ratio, ratio
from plasticity_rl.networks.layers import Params
from plasticity_rl.seeds import derive
from plasticity_rl.training.probes import LAST, own_scale, target

UPDATES, FEWEST = 500, 50
BUDGET = 1.3e12
"""multiplications of all updates, beyond which a probe is shortened: about a minute on one thread of a server's processor"""
PAIRS, FEW_PAIRS = 10, 8
"""pairs, and pairs of a network whose UPDATES would exceed the budget"""
BATCH = 32
LEARNABLE = 0.1
"""share that twins must learn before a ratio to it says anything"""

Watch = Callable[[int, int], None]
"""called with the updates made and their number"""


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""loss of outputs (batch, outputs), targets and scales"""


@dataclass(frozen=True)
class Task:
    """Targets of all pairs."""

    targets: Tensor
    """(pairs, 2, examples, outputs), or class indices (1, 1, examples)"""
    scales: Tensor
    """(pairs, 2, outputs): units in which errors are measured; or a scalar: the loss of a constant prediction of class indices"""
    loss: Loss


@dataclass(frozen=True)
class Learned:
    """Shares of the targets' variance (of their entropy, if they are classes) that copies and twins have learned."""

    own: tuple[tuple[float, ...], ...]
    """pairs x tenths of the updates"""
    fresh: tuple[tuple[float, ...], ...]
    updates: int

    @property
    def final(self) -> Ratio:
        """Share learned in the last tenth of the updates, over the twins'."""
        return ratio([shares[-1] for shares in self.own], [shares[-1] for shares in self.fresh])

    @property
    def area(self) -> Ratio:
        """Share learned on average over all updates, over the twins': also lower for a network that only learns more slowly."""
        return ratio(*([sum(shares) / len(shares) for shares in side] for side in (self.own, self.fresh)))

    @property
    def fresh_share(self) -> float:
        """Share that twins have learned in the last tenth of the updates, mean over pairs."""
        return sum(shares[-1] for shares in self.fresh) / len(self.fresh)


def budget(network: Examined, args: Args) -> tuple[int, int]:
    """Updates and pairs by the network's cost, which is the same on every machine."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.outputs(network.params, tuple(each[:2] for each in args))
    of_pair = (
        counter.get_total_flops() / 4 * 3 * BATCH * 2
    )  # two examples, two operations each; forwards, and backwards twice that; a copy and its twin
    if UPDATES * PAIRS * of_pair <= BUDGET:
        return UPDATES, PAIRS
    return max(FEWEST, min(UPDATES, int(BUDGET / (FEW_PAIRS * of_pair)))), FEW_PAIRS


def scaled(before: Tensor, function: Tensor) -> tuple[Tensor, Tensor]:
    """Targets (examples, outputs) for a learner with these outputs `before`, made of a random function's, and their units (outputs,).

    Targets `scaled` of training/probes.py: around the learner's own mean output, times its own deviation where that is above 1. A saturated
    policy has logits of a hundred, and targets of unit size would measure how fast they shrink.
    """
    learner = before[None, None]
    return target("scaled", function[None], learner)[0, 0], own_scale(learner)[0, 0]


@torch.no_grad()
def teachers(network: Examined, args: Args, pairs: int) -> Task:
    """A random function for each pair, the outputs of a newly initialised network, at the scale of each learner's own outputs."""
    own, targets, scales = network.outputs(network.params, args), [], []
    for pair in range(pairs):
        function = network.outputs(network.twin(f"teacher {pair}"), args)
        both = [scaled(before, function) for before in (own, network.outputs(network.twin(pair), args))]
        targets.append(torch.stack([each for each, _ in both]))
        scales.append(torch.stack([each for _, each in both]))
    return Task(torch.stack(targets), torch.stack(scales), differences)


def own_targets(targets: Tensor, outputs: int) -> Task:
    """A person's targets: numbers (examples,) or (examples, outputs), or class indices (examples,)."""
    if not targets.is_floating_point():
        shares = torch.bincount(targets.long()) / len(targets)
        return Task(targets.long()[None, None], torch.special.entr(shares).sum(), own_loss)
    spread = targets.reshape(len(targets), -1).float()
    deviation = spread.std(0, correction=0)
    return Task(spread[None, None], torch.where(deviation > 0, deviation, 1.0)[None, None].expand(1, 1, outputs), own_loss)


def differences(outputs: Tensor, targets: Tensor, scales: Tensor) -> Tensor:
    """Variance over the batch of the errors (batch, outputs), in units of `scales`: about 1 for a constant prediction.

    The common level of the outputs is not asked for. Frames of a game differ in few pixels, so that every step moves the level by more than
    the differences between frames: on Pong's, new networks learn nothing in 90 updates of the squared error, and most of the variance so.
    """
    return ((outputs - targets) / scales).var(0).mean()


def own_loss(outputs: Tensor, targets: Tensor, scales: Tensor) -> Tensor:
    """Mean squared error of (batch, outputs) in units of `scales`; or cross-entropy over that of a constant prediction."""
    if targets.is_floating_point():
        return F.mse_loss(outputs / scales, targets / scales)
    return F.cross_entropy(outputs, targets) / scales


def learn(network: Examined, args: Args, task: Task, updates: int, pairs: int, rate: float, seed: int, watch: Watch) -> Learned:
    """Train a copy and a twin in each pair by Adam at `rate`, on batches that both share."""
    starts = [start for pair in range(pairs) for start in (network.params, network.twin(pair))]
    params = {name: torch.stack([start[name] for start in starts]).requires_grad_() for name in network.params}
    optimizer = torch.optim.Adam(params.values(), lr=rate)
    draw = torch.Generator().manual_seed(derive(seed, "probe batches"))
    examples, device = len(args[0]), args[0].device
    targets = task.targets.expand(pairs, 2, *task.targets.shape[2:]).flatten(0, 1)
    scales = (
        (task.scales if task.scales.ndim == 0 else task.scales.expand(pairs, 2, -1)).expand(pairs, 2, *task.scales.shape[2:]).flatten(0, 1)
    )
    rows = torch.arange(2 * pairs, device=device)[:, None]

    def one(params: Params, args: Args, targets: Tensor, scale: Tensor) -> Tensor:
        return task.loss(network.outputs(params, args), targets, scale)

    each = _lifted(one, params, args, targets, scales)
    losses = []
    for update in range(updates):
        chosen = torch.randint(examples, (pairs, BATCH), generator=draw).repeat_interleave(2, 0).to(device)
        found = each(params, tuple(arg[chosen] for arg in args), targets[rows, chosen], scales)
        optimizer.zero_grad()
        found.sum().backward()
        optimizer.step()
        losses.append(found.detach())
        watch(update + 1, updates)
    shares = (1 - torch.stack(losses)).nan_to_num(0.0, neginf=0.0).clamp(min=0)  # a network that diverges has learned nothing
    tenths = torch.stack([part.mean(0) for part in shares.tensor_split(LAST)]).view(-1, pairs, 2).permute(2, 1, 0).tolist()
    own, fresh = (tuple(map(tuple, side)) for side in tenths)
    return Learned(own, fresh, updates)


def _lifted(one: Callable[..., Tensor], params: Params, args: Args, targets: Tensor, scales: Tensor) -> Callable[..., Tensor]:
    """`one` for all members side by side, or in turn where the module cannot be lifted."""
    lifted, members = vmap(one), len(targets)
    try:
        few = tuple(arg[:2].expand(members, 2, *arg.shape[1:]) for arg in args)
        lifted(params, few, targets[:, :2], scales).sum().backward()
    except Exception:  # whatever a module does that torch.func.vmap does not know
        return lambda params, *given: torch.stack(
            [
                one({name: param[i] for name, param in params.items()}, tuple(arg[i] for arg in given[0]), given[1][i], given[2][i])
                for i in range(members)
            ]
        )
    return lifted
