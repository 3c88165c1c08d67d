"""S networks side by side: owns their tensors, lifts and compiles the update, refreshes when due, and is checkpointed."""

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from plasticity_rl.interventions import scope
from plasticity_rl.interventions.base import Refresh, RefreshContext, State
from plasticity_rl.interventions.chain import Chain, due_refreshes, metric_names, purpose_of, scopes, uniform_age
from plasticity_rl.metrics import effects, norms
from plasticity_rl.networks.layers import KEY, Params
from plasticity_rl.networks.network import Network
from plasticity_rl.noise import key
from plasticity_rl.optim.optimizers import Net, Optimizer
from plasticity_rl.seeds import derive, members_of
from plasticity_rl.training.cells import Cell, Hyper, differing, fits, vary
from plasticity_rl.training.compilation import compiled
from plasticity_rl.training.lift import Captured, chunk_size, chunked, copied, lift, stack, write_
from plasticity_rl.training.update import Batch, Loss, UpdateRule, by_layer, project, update

MAX_FUSED_UPDATES = 10  # per call


@dataclass
class Spent:
    """Processor time of a learner's updates, in its own thread and without those that are measured."""

    seconds: float = 0.0
    updates: int = 0
    """updates times members"""


class Learner:
    """S members under one loss, optimizer and chain. Axis 0 of every tensor here is the member.

    `loss(params, batch, *extras)` is a function of ONE network that returns a scalar and a dict of scalars to report; `batch["inputs"]`
    are the network's inputs. `network` and `optimizer` come from `interventions.assemble`. The tensors in `net` and `states` are allocated
    here and written in place from then on, so they may be shared.

    `others` are further groups of members, each with its own seed and float hyperparameters (see cells.py). They come after the first
    `members`, cell by cell. Raises ValueError if one differs in more.
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
        self.scopes = scopes(chain, network)
        """for each method of the chain, the networks that it acts on"""
        self._rule = UpdateRule(network, loss, optimizer, chain, self.scopes)
        self._members = [member for cell in self.cells for member in members_of(cell.seed, cell.members)]
        if not all(fits(self.cells[0], cell) for cell in others):
            raise ValueError("cells of one learner may differ in seed, members and float hyperparameters only")
        self._hyper = tree_map(lambda tensor: tensor.to(device), Hyper(torch.zeros(self.members), *differing(self.cells)))
        params = self.fresh("birth")
        slots = lift(lambda params: optimizer.init(network.learned(params), uniform_age=uniform_age(chain)))(params)
        self.net = Net(params, slots)
        self.states: list[State] = [self._initial_state(index) for index in range(len(chain))]
        write_(self.net.params, self.projected(self.net.params))
        self.low_precision = network.low_precision(self.net.params)
        """parameters that are multiplied in low precision, rounded; loss and acting read them instead of the exact ones"""
        self._names = metric_names(chain)
        self.refresh_counts = {
            f"{kind}/{name}": torch.zeros(self.members, dtype=torch.double, device=device)
            for name, each in zip(self._names, chain, strict=True)
            if isinstance(each, Refresh)
            for kind in ("weights_refreshed", "units_recycled")
        }
        """refresh counters since the last read, (S,) each; the reader resets them; not in `tensors`"""
        self._noisy = {"optimizer": ("optimizer",)} if optimizer.noisy else {}
        self._noisy |= {KEY: ("activations",)} if network.draws else {}
        self._noisy |= {str(index): purpose_of(self.chain, index) for index, each in enumerate(chain) if each.noisy}
        self.ticks = {"update": 0, "task": 0}
        self.spent = Spent()
        self._last: dict[str, Tensor] = {}
        self._rows = slice(None)
        self._step = compiled(self._write_step) if compile else self._write_step
        self.chunk_size = chunk_size(self.members, device, network.convolves, network.parameters)
        """members updated by one call"""
        self._measure = chunked(lift(lambda *given: update(self._rule, *given, measure=True)[2]), self.chunk_size)
        self._fused = chunked(self._write_steps, self.chunk_size)
        if compile and device.startswith("cuda"):
            self._fused = Captured(self._write_steps, varying=(4, 5, 6))  # parameters and an agent's target keep their addresses

    @property
    def acting(self) -> Params:
        """Parameters for fast forward passes; later updates write into the same tensors."""
        return self.net.params | self.low_precision

    @property
    def inputs(self) -> Tensor | None:
        """The last training batch's inputs, (S, batch, ...), on which refreshes measure units."""
        return self._last["inputs"][self._rows] if self._last else None

    def one(self, member: int) -> Params:
        """One member's parameters."""
        return {name: param[member] for name, param in self.net.params.items()}

    def fresh(self, *purpose: int | str) -> Params:
        """Newly initialised parameters, (S, ...), a function of seed, member and purpose alone."""
        born = stack([self.network.init(self.draw(member, "network", *purpose)) for member in range(self.members)])
        return {name: param.to(self.device) for name, param in born.items()}

    def projected(self, params: Params) -> Params:
        """New parameters, (S, ...), as the methods that project new networks leave them, by their states in this learner."""
        born = [index for index, each in enumerate(self.chain) if each.projects_birth]

        def one(params: Params, states: list[State], hyper: Hyper) -> Params:
            for index in born:
                params, _ = scope.project(self._rule.varied(hyper).chain[index], self.scopes[index], params, states[index])
            return params

        return copied(lift(one)(params, self.states, self._hyper)) if born else params

    def draw(self, member: int, *purpose: int | str) -> torch.Generator:
        """Generator of a member's random stream for that purpose; always on the CPU."""
        return torch.Generator().manual_seed(derive(*self._members[member], *purpose))

    @property
    def rate(self) -> Tensor:
        """The learning rate of each member's last update, (S,)."""
        return self._hyper.rate

    def rows(self, cell: int) -> slice:
        """Indices of a cell's members."""
        start = sum(each.members for each in self.cells[:cell])
        return slice(start, start + self.cells[cell].members)

    def part(self, cell: int) -> "Learner":
        """A read-only learner of one cell, whose tensors are views of this one's."""
        if len(self.cells) == 1:
            return self
        part, rows = copy(self), self.rows(cell)
        part.cells, part._members = (self.cells[cell],), self._members[rows]
        part.optimizer, part.chain, part.members, _ = self.cells[cell]
        viewed = (self.net, self.low_precision, self.states, self._hyper, self.refresh_counts)
        part.net, part.low_precision, part.states, part._hyper, part.refresh_counts = tree_map(lambda tensor: tensor[rows], viewed)
        part._rows = rows
        return part

    @property
    def ahead(self) -> int:
        """Updates that one call of `updates` may make: up to the next refresh or `occasional` of the optimizer, at most
        MAX_FUSED_UPDATES."""
        ticks = ((n, self.ticks["update"] + n) for n in range(1, MAX_FUSED_UPDATES))
        due = (n for n, tick in ticks if due_refreshes(self.chain, "update", tick) or self.optimizer.due(tick))
        return next(due, MAX_FUSED_UPDATES)

    def update(self, rate: float | Tensor, batch: Batch, *extras: Any, measure: bool = False) -> dict[str, Tensor]:
        """Update every member once at learning rate `rate`, one for all or (S,), and make the refreshes that are due. Returns the loss and
        its reported scalars, (S,) each.

        `measure` adds gradient and step norms by layer and the effect of each method, before any refresh. The update is then computed a
        second time, uncompiled, to measure inside it.
        """
        return self.updates([rate], [batch], *extras, measure=measure)[0]

    @torch.no_grad()
    def updates(
        self, rates: Sequence[float | Tensor], batches: Sequence[Batch], *extras: Any, measure: bool = False
    ) -> list[dict[str, Tensor]]:
        """Make up to `ahead` updates, or one with `measure`, in one call; returns the result of each, as `update`. On a CPU, one chunk of
        members makes all updates before the next starts, so that its networks stay in the caches; a GPU runs them as one graph."""
        assert len(batches) <= (1 if measure else self.ahead), "a refresh is due in between"
        began = time.thread_time()
        self._last["inputs"] = batches[-1]["inputs"]
        at = [rate.to(self.rate) if isinstance(rate, Tensor) else torch.full_like(self.rate, rate) for rate in rates]
        noise = [self._noise(self.ticks["update"] + place) for place in range(len(batches))]
        now = (self.net, self.states, self.low_precision, self._hyper)
        before, found = {}, {}
        if measure:
            self.rate.copy_(at[0])
            before, found = copied(self.net.params), self._measure(*now, noise[0], batches[0], *extras)
        reported = self._fused(*now, at, noise, list(batches), *extras)
        if measure:
            steps = lift(lambda one, other: by_layer(norms.STEP, one, other, self.network.layers))(before, self.net.params)
            reported[0] |= {name: value for name, value in found.items() if "/" in name} | steps
        for _ in batches:
            self._tick("update")
        if not measure:
            self.spent.seconds += time.thread_time() - began
            self.spent.updates += len(batches) * self.members
        return reported

    @torch.no_grad()
    def task_boundary(self) -> None:
        """Tell the chain that the task changes."""
        self._tick("task")

    def due(self, clock: str) -> tuple[Refresh, ...]:
        """Interventions that refreshed at the last tick of `clock`."""
        return tuple(each for _, each in due_refreshes(self.chain, clock, self.ticks[clock]))

    @torch.no_grad()
    def features(self, params: Params, inputs: Tensor, raw: bool = False) -> Params:
        """Each hidden layer's units, (S, samples, units), of `params` on `inputs` (S, batch, ...); before the activation if `raw`."""
        return lift(lambda params, inputs: self.network.apply(params, inputs, raw=raw)[1])(params, inputs)

    def tensors(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint, by name; the learner's own, not copies."""
        named = {f"params/{name}": param for name, param in self.net.params.items()}
        for slot, optimizer_state in self.net.slots.items():
            named |= {f"slots/{slot}/{name}": tensor for name, tensor in optimizer_state.items()}
        for index, state in enumerate(self.states):
            named |= {f"states/{index}/{name}": tensor for name, tensor in state.items()}
        return named | ({} if self.inputs is None else {"inputs": self.inputs})

    def load(self, tensors: dict[str, Tensor], ticks: dict[str, int]) -> None:
        """Restore from `tensors` and `ticks`. Raises KeyError or RuntimeError, and changes nothing, if they are another learner's."""
        for name, tensor in self.tensors().items():
            if name != "inputs" and tensors[name].shape != tensor.shape:  # copy_ would broadcast one member to all
                raise RuntimeError(f"{name} has the shape {tuple(tensor.shape)} here, and {tuple(tensors[name].shape)} in what is loaded")
        self._last.clear()
        self._last.update({"inputs": tensors["inputs"].to(self.device)} if "inputs" in tensors else {})
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        write_(self.low_precision, self.network.low_precision(self.net.params))
        self.ticks.update(ticks)

    def _write_steps(
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

    def _initial_state(self, index: int, *since: int | str) -> State:
        """Initial state of a method of the chain, for the networks as they are; `since`: the reset after which, if any."""
        sees, purpose = self.scopes[index], ("state", *purpose_of(self.chain, index), *since)
        methods = [cell.chain[index] for cell in self.cells for _ in range(cell.members)]
        born = stack([scope.init(each, sees, self.one(member), self.draw(member, *purpose)) for member, each in enumerate(methods)])
        return {name: tensor.to(self.device) for name, tensor in born.items()}

    def _noise(self, update: int) -> dict[str, Tensor]:
        """Keys of random numbers for an update: optimizer, noisy methods and activations -> one key per member, (S, 2)."""

        def keys(purpose: tuple[int | str, ...]) -> Tensor:
            return key([derive(*member, "noise", *purpose, update) for member in self._members]).to(self.device)

        return {who: keys(purpose) for who, purpose in self._noisy.items()}

    def _tick(self, clock: str) -> None:
        self.ticks[clock] += 1
        if clock == "update" and self.optimizer.due(self.ticks[clock]):
            learned = Net(self.network.learned(self.net.params), self.net.slots)
            write_(self.net.slots, copied(lift(self.optimizer.occasional)(learned)))
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
        seen = {} if self.inputs is None else {"inputs": self.inputs}
        sees, network = self.scopes[index], self.network

        def one(net: Net, state: State, fresh: Params, features: Params, seen: Batch, numbers: Any) -> tuple[Net, State]:
            evidence = RefreshContext(fresh, features)
            if seen:
                apply = lambda params, raw=False, only=None: network.limited(params, seen["inputs"], None, raw, only)  # noqa: E731
                evidence = evidence._replace(apply=apply)
            return scope.refresh(vary(each, numbers), sees, net, state, evidence)

        made = lift(one)(self.net, self.states[index], fresh, features, seen, self._hyper.chain[index])
        # Copied before writing: a new state may alias parameters that are overwritten.
        net, state = copied(made)
        found = lift(lambda before, after: effects.refreshed(before, after, self.network.layers))(self.net.params, net.params)
        for kind, count in found.items():
            self.refresh_counts[f"{kind}/{self._names[index]}"] += count
        write_((self.net, self.states[index]), (net, state))
        if each.clears_replay:  # a new agent, whose methods remember nothing either
            for other in range(len(self.chain)):
                write_(self.states[other], self._initial_state(other, each.clock, self.ticks[each.clock]))
