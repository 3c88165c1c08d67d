"""The update of S networks at once: loss, penalties, gradient, optimizer and projections as ONE compiled function; refreshes when due."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value

from plasticity_rl.interventions.base import Evidence, Intervention, Refresh, Seen, State
from plasticity_rl.interventions.chain import Chain
from plasticity_rl.lift import Captured, compiled, copied, lift, one_by_one, stack, write_
from plasticity_rl.metrics.norms import effective_learning_rate
from plasticity_rl.networks import Network, Params
from plasticity_rl.optimizers import Net, Optimizer
from plasticity_rl.seeds import derive

Batch = dict[str, Tensor]
Loss = Callable[..., tuple[Tensor, dict[str, Tensor]]]


class Learner:
    """S members under one loss, optimizer and chain. Axis 0 of every tensor here is the member.

    `loss(params, batch, *extras)` is a function of ONE network that returns a scalar and a dict of things to report; `batch["inputs"]` is
    what the network sees. `network` and `optimizer` are what `interventions.assemble` made of the chain. The tensors in `net` and
    `states` are allocated here and written in place ever after, so they may be shared.
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
    ) -> None:
        self.network, self.loss, self.optimizer, self.chain = network, loss, optimizer, chain
        self.members, self.seed, self.device = members, seed, device
        self.rate = torch.zeros(members, device=device)
        params = self.fresh("birth")
        self.net = Net(params, optimizer.init(params))
        self.states: list[State] = [self._born(index, each) for index, each in enumerate(chain)]
        self._noisy = optimizer.noisy or any(each.noisy for each in chain)
        self.ticks = {"update": 0, "task": 0}
        self.inputs: Tensor | None = None
        """the batch last learned from: what refreshes take their evidence from"""
        update = compiled(self._step) if compile else self._step
        self.alone = device == "cpu" and network.spec.convolves
        """are members updated one after the other?"""
        self._update = one_by_one(update) if self.alone else update
        if compile and device.startswith("cuda"):
            self._update = Captured(update, varying=(3, 4))  # noise and batch; parameters, rate and an agent's target stay where they are

    def one(self, member: int) -> Params:
        """One member's parameters."""
        return {name: param[member] for name, param in self.net.params.items()}

    def fresh(self, *purpose: int | str) -> Params:
        """Newly initialised networks, (S, ...), each a function of seed, member and purpose alone."""
        born = stack([self.network.init(self.draw(member, "network", *purpose)) for member in range(self.members)])
        return {name: param.to(self.device) for name, param in born.items()}

    def draw(self, member: int, *purpose: int | str) -> torch.Generator:
        """Where random numbers for that purpose of a member come from; on the CPU, whatever the device."""
        return torch.Generator().manual_seed(derive(self.seed, member, *purpose))

    @torch.no_grad()
    def update(self, rate: float, batch: Batch, *extras: Any, measure: bool = False) -> dict[str, Tensor]:
        """One update of every member at learning rate `rate`, and the refreshes that are due. Returns what the loss reported, (S,) each.

        With `measure`, each layer's effective learning rate too: of the update alone, before anything is refreshed.
        """
        self.rate.fill_(rate)
        self.inputs = batch["inputs"]
        before = {name: param.clone() for name, param in self.net.params.items()} if measure else {}
        reported = self._update(self.net, self.states, self.rate, self._noise(), batch, *extras)
        if measure:
            rates = lift(lambda one, other: effective_learning_rate(one, other, self.network.layers))(before, self.net.params)
            reported |= {f"effective_learning_rate/{layer}": rate for layer, rate in rates.items()}
        self._tick("update")
        return reported

    @torch.no_grad()
    def task_boundary(self) -> None:
        """Tell the chain that the task changes."""
        self._tick("task")

    def due(self, clock: str) -> tuple[Refresh, ...]:
        """The interventions whose refresh came at the last tick of `clock`."""
        refreshes = (each for each in self.chain if isinstance(each, Refresh))
        return tuple(each for each in refreshes if each.clock == clock and each.due(self.ticks[clock]))

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
        self.inputs = tensors["inputs"].to(self.device) if "inputs" in tensors else None
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        self.ticks = dict(ticks)

    def _one(
        self, net: Net, states: list[State], rate: Tensor, noise: Params, batch: Batch, *extras: Any
    ) -> tuple[Net, list[State], dict[str, Tensor]]:
        """The whole update of ONE network."""
        task = batch.get("task", batch.get("tasks"))
        layers = self.network.layers
        seen = Seen(lambda params, raw=False: self.network.apply(params, batch["inputs"], task=task, raw=raw), noise)

        def objective(params: Params) -> tuple[Tensor, dict[str, Tensor]]:
            loss, reported = self.loss(params, batch, *extras)
            total = loss
            for each, state in zip(self.chain, states, strict=True):
                total = total + each.penalty(params, state, layers, seen)
            return total, {"loss": loss} | reported

        grads, (_, reported) = grad_and_value(objective, has_aux=True)(net.params)
        net, states = self.optimizer.update(net, grads, rate, layers, noise), list(states)
        for index, each in enumerate(self.chain):
            net, states[index] = each.after_step(net, states[index], grads, layers, seen)
        return *self._project(net, states), reported

    def _project(self, net: Net, states: list[State]) -> tuple[Net, list[State]]:
        states = list(states)
        for index, each in enumerate(self.chain):
            params, states[index] = each.project(net.params, states[index], self.network.layers)
            net = net._replace(params=params)
        return net, states

    def _step(self, net: Net, states: list[State], rate: Tensor, noise: Params, batch: Batch, *extras: Any) -> dict[str, Tensor]:
        new_net, new_states, reported = lift(self._one)(net, states, rate, noise, batch, *extras)
        write_((net, states), (new_net, new_states))
        return reported

    def _born(self, index: int, each: Intervention) -> State:
        """The state of a method of the chain at birth."""
        layers, purpose = self.network.layers, ("state", type(each).__name__, self._occurrence(index))
        return stack([each.init(self.one(member), layers, self.draw(member, *purpose)) for member in range(self.members)])

    def _noise(self) -> Params:
        """Standard normal numbers of the parameters' shapes for this update, where somebody asks for them."""
        if not self._noisy:
            return {}
        draws = [self.draw(member, "noise", self.ticks["update"]) for member in range(self.members)]
        shapes = self.network.shapes
        noise = stack([{name: torch.randn(shape, generator=draw) for name, shape in shapes.items()} for draw in draws])
        return {name: numbers.to(self.device) for name, numbers in noise.items()}

    def _occurrence(self, index: int) -> int:
        """How many methods of its kind come before it in the chain."""
        return sum(type(other) is type(self.chain[index]) for other in self.chain[:index])

    def _tick(self, clock: str) -> None:
        self.ticks[clock] += 1
        due = self.due(clock)
        for index, each in enumerate(self.chain):
            if isinstance(each, Refresh) and each in due:
                self._refresh(index, each)
        if due:
            write_((self.net, self.states), copied(lift(self._project)(self.net, self.states)))

    def _refresh(self, index: int, each: Refresh) -> None:
        fresh = self.fresh(type(each).__name__, self._occurrence(index), each.clock, self.ticks[each.clock])
        features = {} if self.inputs is None else self.features(self.net.params, self.inputs)
        lifted = lift(lambda net, state, evidence: each.refresh(net, state, evidence, self.network.layers))
        # Copied before anything is written: a new state may be made of the parameters that are overwritten.
        write_((self.net, self.states[index]), copied(lifted(self.net, self.states[index], Evidence(fresh, features))))
