"""The update of S networks at once: loss, penalties, gradient, optimizer and projections as ONE compiled function; refreshes when due."""

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from plasticity_rl.interventions.base import Refresh, RefreshContext, State
from plasticity_rl.interventions.chain import Chain, due_refreshes, metric_names, purpose_of, uniform_age
from plasticity_rl.metrics import effects, norms
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.optim.optimizers import Net, Optimizer
from plasticity_rl.seeds import derive, members_of
from plasticity_rl.training.cells import Cell, Hyper, differing, fits, vary
from plasticity_rl.training.compilation import compiled
from plasticity_rl.training.lift import Captured, chunk_size, chunked, copied, lift, stack, write_
from plasticity_rl.training.noise import key
from plasticity_rl.training.update import Batch, Loss, UpdateRule, by_layer, project, update

MAX_FUSED_UPDATES = 10  # updates that are made by one call at most


class Learner:
    """S members under one loss, optimizer and chain. Axis 0 of every tensor here is the member.

    `loss(params, batch, *extras)` is a function of ONE network that returns a scalar and a dict of things to report; `batch["inputs"]` is
    what the network sees. `network` and `optimizer` are what `interventions.assemble` made of the chain. The tensors in `net` and
    `states` are allocated here and written in place ever after, so they may be shared.

    `others` are cells that are updated along: further members, with a seed and with numbers in the optimizer and the chain of their own
    (see population.py). They come after the first `members`, cell by cell. Raises ValueError where one differs in more.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        chain: Chain,
        members: int,
        seed: int,
        device: str = "cpu",
        compile: bool = True,
        others: Sequence[Cell] = (),
    ) -> None:
        self.network, self.loss, self.optimizer, self.chain, self.device = network, loss, optimizer, chain, device
        self.cells = (Cell(optimizer, chain, members, seed), *others)
        self.members = sum(cell.members for cell in self.cells)
        self._rule = UpdateRule(network, loss, optimizer, chain)
        self._who = [member for cell in self.cells for member in members_of(cell.seed, cell.members)]
        if not all(fits(self.cells[0], cell) for cell in others):
            raise ValueError("cells of one learner differ in their seeds and numbers alone")
        self._hyper = tree_map(lambda tensor: tensor.to(device), Hyper(torch.zeros(self.members), *differing(self.cells)))
        params = self.fresh("birth")
        slots = lift(lambda params: optimizer.init(network.learned(params), uniform_age=uniform_age(chain)))(params)
        self.net = Net(params, slots)
        self.low_precision = network.low_precision(params)
        """the parameters that are multiplied in low precision, rounded: what the loss and acting read in their stead"""
        self.states: list[State] = [self._born(index) for index in range(len(chain))]
        self._names = metric_names(chain)
        self.work = {
            f"{kind}/{name}": torch.zeros(self.members, dtype=torch.double, device=device)
            for name, each in zip(self._names, chain, strict=True)
            if isinstance(each, Refresh)
            for kind in ("weights_refreshed", "units_recycled")
        }
        """what refreshes have done, (S,) each, since who reads it set it to zero: no part of what is learned, and not of `tensors`"""
        self._noisy = {"optimizer": ("optimizer",)} if optimizer.noisy else {}
        self._noisy |= {str(index): purpose_of(self.chain, index) for index, each in enumerate(chain) if each.noisy}
        self.ticks = {"update": 0, "task": 0}
        self._last: dict[str, Tensor] = {}
        self._rows = slice(None)
        self._step = compiled(self._write_step) if compile else self._write_step
        self.chunk_size = chunk_size(self.members, device, network.spec.convolves)
        """how many members are updated by one call"""
        self._measure = chunked(lift(lambda *given: update(self._rule, *given, measure=True)[2]), self.chunk_size)
        self._in_turn = chunked(self._in_a_row, self.chunk_size)
        if compile and device.startswith("cuda"):
            self._in_turn = Captured(self._in_a_row, varying=(4, 5, 6))  # parameters and an agent's target stay where they are

    @property
    def acting(self) -> Params:
        """The parameters as a forward pass is fastest with; tensors that later updates write in."""
        return self.net.params | self.low_precision

    @property
    def inputs(self) -> Tensor | None:
        """The batch last learned from, (S, batch, ...): what refreshes take their evidence from."""
        return self._last["inputs"][self._rows] if self._last else None

    def one(self, member: int) -> Params:
        """One member's parameters."""
        return {name: param[member] for name, param in self.net.params.items()}

    def fresh(self, *purpose: int | str) -> Params:
        """Newly initialised networks, (S, ...), each a function of seed, member and purpose alone."""
        born = stack([self.network.init(self.draw(member, "network", *purpose)) for member in range(self.members)])
        return {name: param.to(self.device) for name, param in born.items()}

    def draw(self, member: int, *purpose: int | str) -> torch.Generator:
        """Where random numbers for that purpose of a member come from; on the CPU, whatever the device."""
        return torch.Generator().manual_seed(derive(*self._who[member], *purpose))

    @property
    def rate(self) -> Tensor:
        """The learning rate of each member's last update, (S,)."""
        return self._hyper.rate

    def rows(self, cell: int) -> slice:
        """Which members are a cell's."""
        start = sum(each.members for each in self.cells[:cell])
        return slice(start, start + self.cells[cell].members)

    def part(self, cell: int) -> "Learner":
        """The learner of one cell, to look at: its tensors are a part of this one's, and change with them."""
        if len(self.cells) == 1:
            return self
        part, rows = copy(self), self.rows(cell)
        part.cells, part._who = (self.cells[cell],), self._who[rows]
        part.optimizer, part.chain, part.members, _ = self.cells[cell]
        held = (self.net, self.low_precision, self.states, self._hyper, self.work)
        part.net, part.low_precision, part.states, part._hyper, part.work = tree_map(lambda tensor: tensor[rows], held)
        part._rows = rows
        return part

    @property
    def ahead(self) -> int:
        """How many updates `updates` can make: until the next refresh, AHEAD at most."""
        done = self.ticks["update"]
        return next((n for n in range(1, MAX_FUSED_UPDATES) if due_refreshes(self.chain, "update", done + n)), MAX_FUSED_UPDATES)

    def update(self, rate: float | Tensor, batch: Batch, *extras: Any, measure: bool = False) -> dict[str, Tensor]:
        """One update of every member at learning rate `rate`, one for all or (S,), and the refreshes that are due. Returns what the loss
        reported, (S,) each.

        With `measure`, the sizes of gradient and step by layer and what each method did, too: of the update alone, before anything is
        refreshed. The update is then worked out a second time, uncompiled, for what happens inside of it.
        """
        return self.updates([rate], [batch], *extras, measure=measure)[0]

    @torch.no_grad()
    def updates(
        self, rates: Sequence[float | Tensor], batches: Sequence[Batch], *extras: Any, measure: bool = False
    ) -> list[dict[str, Tensor]]:
        """Updates in a row, `ahead` of them at most, or one to `measure`, with the results that `update` has: some members make all of
        them before the others begin, and find their networks in a processor's caches; a GPU makes them as one graph."""
        assert len(batches) <= (1 if measure else self.ahead), "a refresh is due in between"
        self._last["inputs"] = batches[-1]["inputs"]
        at = [rate.to(self.rate) if isinstance(rate, Tensor) else torch.full_like(self.rate, rate) for rate in rates]
        noise = [self._noise(self.ticks["update"] + place) for place in range(len(batches))]
        now = (self.net, self.states, self.low_precision, self._hyper)
        before, found = {}, {}
        if measure:
            self.rate.copy_(at[0])
            before, found = copied(self.net.params), self._measure(*now, noise[0], batches[0], *extras)
        reported = self._in_turn(*now, at, noise, list(batches), *extras)
        if measure:
            steps = lift(lambda one, other: by_layer(norms.STEP, one, other, self.network.layers))(before, self.net.params)
            reported[0] |= {name: value for name, value in found.items() if "/" in name} | steps
        for _ in batches:
            self._tick("update")
        return reported

    @torch.no_grad()
    def task_boundary(self) -> None:
        """Tell the chain that the task changes."""
        self._tick("task")

    def due(self, clock: str) -> tuple[Refresh, ...]:
        """The interventions whose refresh came at the last tick of `clock`."""
        return tuple(each for _, each in due_refreshes(self.chain, clock, self.ticks[clock]))

    @torch.no_grad()
    def features(self, params: Params, inputs: Tensor, raw: bool = False) -> Params:
        """Each hidden layer's units, (S, samples, units), of `params` on `inputs` (S, batch, ...); `raw` are they before the activation."""
        return lift(lambda params, inputs: self.network.apply(params, inputs, raw=raw)[1])(params, inputs)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a checkpoint must hold, by name; the learner's own tensors, not copies."""
        named = {f"params/{name}": param for name, param in self.net.params.items()}
        for slot, memory in self.net.slots.items():
            named |= {f"slots/{slot}/{name}": tensor for name, tensor in memory.items()}
        for index, state in enumerate(self.states):
            named |= {f"states/{index}/{name}": tensor for name, tensor in state.items()}
        return named | ({} if self.inputs is None else {"inputs": self.inputs})

    def load(self, tensors: dict[str, Tensor], ticks: dict[str, int]) -> None:
        """Go on from what `tensors` and `ticks` were. Raises KeyError or RuntimeError where they are another's, and changes nothing."""
        for name, tensor in self.tensors().items():
            if name != "inputs" and tensors[name].shape != tensor.shape:  # copy_ would broadcast one member to all
                raise RuntimeError(f"{name} has the shape {tuple(tensor.shape)} here, and {tuple(tensors[name].shape)} in what is loaded")
        self._last.clear()
        self._last.update({"inputs": tensors["inputs"].to(self.device)} if "inputs" in tensors else {})
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        write_(self.low_precision, self.network.low_precision(self.net.params))
        self.ticks.update(ticks)

    def _in_a_row(
        self,
        net: Net,
        states: list[State],
        low_precision: Params,
        hyper: Hyper,
        rates: list[Tensor],
        noise: list[dict[str, Tensor]],
        batches: list[Batch],
        *extras: Any,
    ) -> list[dict[str, Tensor]]:
        reported = []
        for rate, numbers, batch in zip(rates, noise, batches, strict=True):
            hyper.rate.copy_(rate)
            reported.append(self._step(net, states, low_precision, hyper, numbers, batch, *extras))
        return reported

    def _write_step(
        self, net: Net, states: list[State], low_precision: Params, hyper: Hyper, noise: dict[str, Tensor], batch: Batch, *extras: Any
    ) -> dict[str, Tensor]:
        new_net, new_states, reported = lift(partial(update, self._rule))(net, states, low_precision, hyper, noise, batch, *extras)
        write_((net, states, low_precision), (new_net, new_states, self.network.low_precision(new_net.params)))
        return reported

    def _born(self, index: int) -> State:
        """The state of a method of the chain at birth."""
        layers, purpose = self.network.layers, ("state", *purpose_of(self.chain, index))
        methods = [cell.chain[index] for cell in self.cells for _ in range(cell.members)]
        born = stack([each.init(self.one(member), layers, self.draw(member, *purpose)) for member, each in enumerate(methods)])
        return {name: tensor.to(self.device) for name, tensor in born.items()}

    def _noise(self, update: int) -> dict[str, Tensor]:
        """Who needs normal numbers in an update -> each member's key to them, (S, 2)."""

        def keys(purpose: tuple[int | str, ...]) -> Tensor:
            return key([derive(*who, "noise", *purpose, update) for who in self._who]).to(self.device)

        return {who: keys(purpose) for who, purpose in self._noisy.items()}

    def _tick(self, clock: str) -> None:
        self.ticks[clock] += 1
        due = due_refreshes(self.chain, clock, self.ticks[clock])
        for index, each in due:
            self._refresh(index, each)
        if due:
            projected = lift(lambda *given: project(self._rule, *given)[:2])(self.net, self.states, self._hyper)
            write_((self.net, self.states), copied(projected))
            write_(self.low_precision, self.network.low_precision(self.net.params))

    def _refresh(self, index: int, each: Refresh) -> None:
        fresh = self.fresh(*purpose_of(self.chain, index), each.clock, self.ticks[each.clock])
        features = {} if self.inputs is None else self.features(self.net.params, self.inputs)
        lifted = lift(lambda net, state, evidence, numbers: vary(each, numbers).refresh(net, state, evidence, self.network.layers))
        made = lifted(self.net, self.states[index], RefreshContext(fresh, features), self._hyper.chain[index])
        # Copied before anything is written: a new state may be made of the parameters that are overwritten.
        net, state = copied(made)
        found = lift(lambda before, after: effects.refreshed(before, after, self.network.layers))(self.net.params, net.params)
        for kind, count in found.items():
            self.work[f"{kind}/{self._names[index]}"] += count
        write_((self.net, self.states[index]), (net, state))
