"""SAC and TD3 as plain PyTorch: modules, a loss and an optimizer for each, targets by a loop; a second implementation for tests."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from agents.loops.replay import ReplayLoop
from envs.reinforcement.backends.spaces import Box
from launch.config.parse import experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from tests.learners import generator

RATE = 1e-3
STATES, ACTIONS, BATCH = 5, 2, 16
SPACE = Box((ACTIONS,), low=-1, high=1)


@dataclass(frozen=True)
class Spaces:
    """The parts of a benchmark that an agent's heads need."""

    action_space: Box = SPACE
    heads: str = "shared"
    names: tuple[str, ...] = ("one",)


def built(agent: Any, spec: Any = None) -> Network:
    """A network of an agent, by default an MLP."""
    return assemble(spec or MLP(width=7, depth=2), Adam(), (), (STATES,), agent.heads(Spaces()))[0]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed))


def batch(seed: int, *normal: int) -> dict[str, Tensor]:
    """Transitions of which every fourth has terminated, and others are of one and three steps; `normal` numbers of that shape."""
    states, actions = drawn(seed, BATCH, STATES), drawn(seed + 1, BATCH, ACTIONS).tanh()
    return {
        "inputs": torch.cat([states, actions], 1),
        "states": states,
        "actions": actions,
        "next_states": drawn(seed + 2, BATCH, STATES),
        "returns": drawn(seed + 3, BATCH),
        "discounts": torch.tensor([0.99, 0.0, 0.99**3, 0.99]).repeat(BATCH // 4),
        "weights": torch.ones(BATCH),
        "task": torch.zeros(BATCH, dtype=torch.int64),
        "normal": drawn(seed + 4, *(normal or (2, BATCH, ACTIONS))),
    }


def names_of(network: str) -> list[str]:
    """Names of the parameters of a network with two hidden layers, in order."""
    return [f"{layer}.{kind}" for layer in (f"{network}.hidden0", f"{network}.hidden1", network) for kind in ("weight", "bias")]


def tower(params: Params, name: str) -> nn.Sequential:
    """The network of that name, with two hidden layers of ReLUs."""
    found = []
    for layer in (f"{name}.hidden0", f"{name}.hidden1", name):
        weight = params[f"{layer}.weight"]
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": params[f"{layer}.bias"]})
        found += [linear, nn.ReLU()]
    return nn.Sequential(*found[:-1])


def params_of(module: nn.Module, name: str) -> Params:
    """A tower's parameters under their names in a network."""
    return dict(zip(names_of(name), (param.detach() for param in module.parameters()), strict=True))


class Plain:
    """Common parts: an actor, two critics, their targets, and an Adam for the actor and one for the critics."""

    def __init__(self, params: Params) -> None:
        self.nets = {name: tower(params, name) for name in ("actor", "critic0", "critic1")}
        self.targets = deepcopy(self.nets)
        self.parts = {"actor": [*self.nets["actor"].parameters()]}
        self.parts["critics"] = [*self.nets["critic0"].parameters(), *self.nets["critic1"].parameters()]
        self.optimizers = {name: torch.optim.Adam(part, lr=RATE) for name, part in self.parts.items()}
        self.updates = 0

    @property
    def params(self) -> Params:
        return {name: param for net in self.nets for name, param in params_of(self.nets[net], net).items()}

    @property
    def target_params(self) -> Params:
        return {name: param for net in self.targets for name, param in params_of(self.targets[net], net).items()}

    def smallest(self, nets: dict[str, nn.Sequential], states: Tensor, actions: Tensor) -> Tensor:
        both = torch.cat([states, actions], 1)
        return torch.min(nets["critic0"](both), nets["critic1"](both))[:, 0]

    def critics_loss(self, batch: dict[str, Tensor], goals: Tensor) -> Tensor:
        both = torch.cat([batch["states"], batch["actions"]], 1)
        return F.mse_loss(self.nets["critic0"](both)[:, 0], goals) + F.mse_loss(self.nets["critic1"](both)[:, 0], goals)

    def learn(self, losses: dict[str, Tensor]) -> None:
        """Step the optimizer of each loss along the gradient of its own parameters alone; all gradients first."""
        found = {name: torch.autograd.grad(loss, self.parts[name], retain_graph=True) for name, loss in losses.items()}
        for name, grads in found.items():
            for param, each in zip(self.parts[name], grads, strict=True):
                param.grad = each
            self.optimizers[name].step()
        self.updates += 1

    def follow(self, tau: float) -> None:
        """Mix the networks into their targets."""
        for name, net in self.nets.items():
            for mine, theirs in zip(self.targets[name].parameters(), net.parameters(), strict=True):
                mine.data = (1 - tau) * mine.data + tau * theirs.data


class PlainSAC(Plain):
    def __init__(self, params: Params, tau: float = 0.005) -> None:
        super().__init__(params)
        self.log_alpha, self.tau = nn.Parameter(params["temperature"].clone()), tau
        self.parts["temperature"] = [self.log_alpha]
        self.optimizers["temperature"] = torch.optim.Adam([self.log_alpha], lr=RATE)

    @property
    def params(self) -> Params:
        return super().params | {"temperature": self.log_alpha.detach()}

    def policy(self, states: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        means, log_stds = self.nets["actor"](states).chunk(2, 1)
        stds = log_stds.clamp(-20, 2).exp()
        squashed = Independent(TransformedDistribution(Normal(means, stds), TanhTransform(cache_size=1)), 1)
        actions = squashed.base_dist.transforms[0](means + stds * normal)  # type: ignore[attr-defined]
        return actions, squashed.log_prob(actions)

    def losses(self, batch: dict[str, Tensor], target_entropy: float) -> dict[str, Tensor]:
        alpha = self.log_alpha.exp().detach()
        with torch.no_grad():
            actions, logs = self.policy(batch["next_states"], batch["normal"][1])
            after = self.smallest(self.targets, batch["next_states"], actions)
            goals = batch["returns"] + batch["discounts"] * (after - alpha * logs)
        actions, logs = self.policy(batch["states"], batch["normal"][0])
        return {
            "critics": 0.5 * self.critics_loss(batch, goals),
            "actor": (alpha * logs - self.smallest(self.nets, batch["states"], actions)).mean(),
            "temperature": (-self.log_alpha.exp() * (logs.detach() + target_entropy)).mean(),
        }

    def step(self, batch: dict[str, Tensor]) -> None:
        self.learn(self.losses(batch, -batch["actions"].shape[1]))
        self.follow(self.tau)


class PlainTD3(Plain):
    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            noise = (0.2 * batch["normal"]).clamp(-0.5, 0.5)
            actions = (torch.tanh(self.targets["actor"](batch["next_states"])) + noise).clamp(-1, 1)
            goals = batch["returns"] + batch["discounts"] * self.smallest(self.targets, batch["next_states"], actions)
        actions = torch.tanh(self.nets["actor"](batch["states"]))
        return {
            "critics": self.critics_loss(batch, goals),
            "actor": -self.nets["critic0"](torch.cat([batch["states"], actions], 1)).mean(),
        }

    def step(self, batch: dict[str, Tensor]) -> None:
        losses = self.losses(batch)
        if self.updates % 2 == 0:
            del losses["actor"]
        self.learn(losses)
        if self.updates % 2 == 0:
            self.follow(0.005)


def beside(said: dict[str, Any], plain: type[Plain], watch: Callable[[ReplayLoop, list[Plain]], None]) -> int:
    """Run an agent, and beside each member a plain one on the same batches from the same weights; `watch` sees both after each update.

    Returns the number of updates.
    """
    made = experiment(said | {"schedule": f"constant:rate={RATE}"})
    loop = ReplayLoop(made.agent, made, "cpu", False)
    others = [plain(loop.learner.one(member)) for member in range(made.members)]
    update = loop._update
    make = loop._batch
    kept: list[dict[str, Tensor]] = []

    def batch(number: int) -> Any:
        found = make(number)
        kept.append(found[0])
        return found

    def watched(visit: Any, row: int) -> Any:
        yield from update(visit, row)
        for each in kept:
            for member, other in enumerate(others):
                other.step({name: tensor[member] for name, tensor in each.items()})
        kept.clear()
        watch(loop, others)

    loop._batch, loop._update = batch, watched
    for _ in loop.run(None):
        pass
    return others[0].updates
