"""Trainability probes: copies of networks, and untrained networks, learn the same targets in a fixed budget, side by side.

Probes never write to the learner, and all random numbers are functions of their purpose, so a run makes the same updates with and without
probes.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from plasticity_rl.interventions import scope
from plasticity_rl.interventions.base import State
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.seeds import derive
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.lift import lift, stack
from plasticity_rl.training.update import Batch, Loss

UPDATES = 2000  # of a probe; Lyle et al. 2023 (arXiv 2303.01486), from a secondary source
FREQUENCY = 1e5  # of the random targets, from the same source
OFFSET = 100.0  # the largest in Lyle et al. 2024 (arXiv 2402.18762), from a secondary source
LAST = 10  # the final loss is the mean over the last tenth of the updates; ours

Kind = Literal["random", "teacher", "offset", "scaled"]


class Outcome(NamedTuple):
    """Final losses, (targets, S): of copies of the probed networks, and of untrained networks on the same targets."""

    final: Tensor
    """mean over the last tenth of the updates"""
    mean: Tensor
    """mean over all updates"""
    fresh_final: Tensor
    fresh_mean: Tensor


class Probe:
    """`probe(batches, rates)` trains, for each target, copies of a learner's S networks and S untrained ones, all as members of one
    learner, which is compiled once.

    Both use the run's own optimizer and chain, with empty optimizer state, so that only the weights are compared; a method's state is
    copied for a copy, and initial for an untrained network. Task boundaries are not announced: a reset would replace the probed network.
    The untrained networks are those of the diagnostics (`fresh("reference")`), the same in every probe. `loss` is a function of ONE
    network, as the learner's own. Memory: 2 x targets x S networks with optimizer state.
    """

    def __init__(self, learner: Learner, loss: Loss, targets: int = 1, compile: bool = True) -> None:
        self._learner, self._targets = learner, targets
        cells = [cell._replace(seed=derive(cell.seed, "probe")) for cell in learner.cells] * (2 * targets)
        self._copies = Learner(learner.network, loss, *cells[0], learner.device, compile, others=cells[1:])

    def __call__(self, batches: Callable[[int], Batch], rates: Sequence[float]) -> Outcome:
        """Make one update per rate, on `batches(update)`: tensors (targets, 2, S, ...), whose first two axes may be 1 if all targets, or
        copies (0) and untrained networks (1), share them. Non-finite losses stay in the outcome."""
        return self.by_head(batches, rates)["loss"]

    @torch.no_grad()
    def by_head(self, batches: Callable[[int], Batch], rates: Sequence[float], heads: Sequence[str] = ()) -> dict[str, Outcome]:
        """The same with the outcome of the whole `loss`, and of the loss that it reports for each of `heads`."""
        self._begin()
        losses: dict[str, list[Tensor]] = {name: [] for name in ("loss", *heads)}
        for update, rate in enumerate(rates):
            batch = {name: self._spread(tensor) for name, tensor in batches(update).items()}
            reported = self._copies.update(rate, batch)
            for name, values in losses.items():
                values.append(reported[name].clone())
        return {name: self._outcome(torch.stack(values)) for name, values in losses.items()}

    def _outcome(self, losses: Tensor) -> Outcome:
        """The outcome of losses (updates, targets x 2 x S)."""
        found = losses.view(len(losses), self._targets, 2, self._learner.members)
        last = found[-max(len(losses) // LAST, 1) :]
        (final, fresh_final), (mean, fresh_mean) = (part.mean(0).unbind(1) for part in (last, found))
        return Outcome(final, mean, fresh_final, fresh_mean)

    def _begin(self) -> None:
        """Restore the copies to their state before the first update."""
        learner = self._learner
        untrained = learner.fresh("reference")
        params = {name: torch.stack([param, untrained[name]]) for name, param in learner.net.params.items()}
        tensors = {f"params/{name}": self._spread(param.unsqueeze(0)) for name, param in params.items()}
        for slot, optimizer_state in self._copies.net.slots.items():
            tensors |= {f"slots/{slot}/{name}": torch.zeros_like(tensor) for name, tensor in optimizer_state.items()}
        for index, state in enumerate(learner.states):
            newborn = self._newborn(index, untrained)
            both = {name: torch.stack([tensor, newborn[name].to(tensor)]) for name, tensor in state.items()}
            tensors |= {f"states/{index}/{name}": self._spread(tensor.unsqueeze(0)) for name, tensor in both.items()}
        self._copies.load(tensors, {"update": 0, "task": 0})

    def _newborn(self, index: int, params: Params) -> State:
        """Initial state of a method of the chain, for networks `params`."""
        learner = self._learner
        methods = [cell.chain[index] for cell in learner.cells for _ in range(cell.members)]
        ones = [{name: param[member] for name, param in params.items()} for member in range(learner.members)]
        draws = [learner.draw(member, "probe", index) for member in range(learner.members)]
        sees = learner.scopes[index]
        return stack([scope.init(each, sees, one, draw) for each, one, draw in zip(methods, ones, draws, strict=True)])

    def _spread(self, tensor: Tensor) -> Tensor:
        """Expand (targets or 1, 2 or 1, S, ...) to (targets x 2 x S, ...)."""
        return tensor.expand(self._targets, 2, *tensor.shape[2:]).flatten(0, 2)


class Regression:
    """Regression tasks on the observations of S members: targets for all outputs of a network, made by untrained networks.

    `random` is a + sin(1e5 f(x)) (Lyle et al. 2023, arXiv 2303.01486) with f a new network and a the learning network's own mean output
    over the observations before training. It differs between copy and untrained network, so that neither must first adjust its bias.
    `offset` is 100 + sin(1e5 f(x)): most of the learning is of the bias (Lyle et al. 2024, arXiv 2402.18762). `teacher` is f(x) itself,
    each output scaled to mean 0 and variance 1 over the observations. `scaled` is the same around the learning network's own mean output
    and times its own deviation before training where that is above 1, and its loss is in units of that variance: a network with large
    outputs need not first unlearn their size, as it must under `teacher`. Predicting the mean leaves a loss of about 0.5, 0.5, 1 and 1.
    """

    def __init__(
        self, learner: Learner, inputs: Tensor, kinds: Sequence[Kind], functions: int, updates: int, batch: int, task: int = 0
    ) -> None:
        """Draws `functions` targets of each kind on `inputs` (S, n, *shape), new ones at each update count of the learner. Batches are
        drawn with replacement; the heads of `task` are used."""
        network, number = learner.network, learner.ticks["update"]
        self._inputs, self._task = inputs, torch.full((learner.members,), task, device=learner.device)
        said = lift(lambda params, inputs, task: network.apply(params, inputs, task=task)[0])
        with torch.no_grad():
            before = torch.stack([said(of, inputs, self._task) for of in (learner.net.params, learner.fresh("reference"))])
            targets = [
                target(kind, said(learner.fresh("probe", number, kind, function), inputs, self._task), before)
                for kind in kinds
                for function in range(functions)
            ]
            scales = [
                own_scale(before) if kind == "scaled" else torch.ones_like(before[:, :, 0]) for kind in kinds for _ in range(functions)
            ]
        self._targets = torch.stack(targets)
        self._scales = {"scales": torch.stack(scales)} if "scaled" in kinds else {}
        draws = [learner.draw(member, "probe batches", number) for member in range(learner.members)]
        chosen = [torch.randint(inputs.shape[1], (updates, batch), generator=draw) for draw in draws]
        self._chosen = torch.stack(chosen).to(learner.device)

    def batch(self, update: int) -> Batch:
        """A batch for `Probe`: inputs (1, 1, S, batch, *shape) and targets (kinds x functions, 2, S, batch, ...)."""
        chosen = self._chosen[:, update]
        rows = torch.arange(len(chosen), device=chosen.device)[:, None]
        task = self._task[None, None]
        inputs = self._inputs[rows, chosen][None, None]
        return {"inputs": inputs, "targets": self._targets[:, :, rows, chosen], "task": task} | self._scales


def target(kind: Kind, function: Tensor, before: Tensor) -> Tensor:
    """Targets (2, S, n, ...) from the outputs `function` (S, n, ...) of a new network, and the outputs `before` training (2, S, n, ...) of
    copies and untrained networks."""
    if kind in ("teacher", "scaled"):
        centred = function - function.mean(1, keepdim=True)
        deviation = centred.square().mean(1, keepdim=True).sqrt()
        unit = torch.where(deviation > 0, centred / deviation, 0.0).expand_as(before)
        return unit if kind == "teacher" else before.mean(2, keepdim=True) + own_scale(before).unsqueeze(2) * unit
    noise = torch.sin(FREQUENCY * function)
    return before.mean(2, keepdim=True) + noise if kind == "random" else (OFFSET + noise).expand_as(before)


def own_scale(before: Tensor) -> Tensor:
    """Deviation (2, S, ...) of outputs (2, S, n, ...) over the observations, at least 1."""
    return before.std(2, correction=0).clamp(min=1)


def squared_error(network: Network) -> Loss:
    """Mean squared error over a batch and all outputs, in squared units of the outputs, and that of each of several heads. Separate
    networks weigh the same, whatever their numbers of outputs."""
    names, widths = zip(*network.heads.heads, strict=True)

    def loss(params: Params, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        outputs, targets = network.apply(params, batch["inputs"], task=batch["task"])[0], batch["targets"]
        if "scales" in batch:
            outputs, targets = outputs / batch["scales"], targets / batch["scales"]
        if len(names) == 1:
            return F.mse_loss(outputs, targets), {}
        pairs = zip(outputs.split(widths, -1), targets.split(widths, -1), strict=True)
        of_heads = {name: F.mse_loss(*pair) for name, pair in zip(names, pairs, strict=True)}
        whole = torch.stack(list(of_heads.values())).mean() if network.heads.separate else F.mse_loss(outputs, targets)
        return whole, {name: each.detach() for name, each in of_heads.items()}

    return loss
