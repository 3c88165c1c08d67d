"""SAC: its loss and gradients, its updates and targets against plain PyTorch, and what it stores, against a pool of known rules."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import grad

from agents.loops.replay import ReplayLoop
from agents.sac import SAC
from envs.reinforcement.backends.pool import Opening
from envs.reinforcement.backends.spaces import Box
from envs.sequences import Visit
from launch.config.parse import experiment
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.optim.schedules import Constant
from plasticity_rl.records.events import Metric, Snapshot
from plasticity_rl.training.learner import Learner
from tests.agents.plain import ACTIONS, RATE, STATES, Plain, PlainSAC, batch, beside, built, drawn, names_of
from tests.learners import generator
from tests.training import PENDULUM, Counted, Counting, events, resumed_is_never_stopped


@dataclass(frozen=True)
class Controlled(Counted):
    """`Counting` with actions of two numbers, and observations of one frame."""

    observation_space: ClassVar[Box] = Box((1,))
    action_space: ClassVar[Box] = Box((2,), low=-1, high=1)  # type: ignore[assignment]
    num_actions: ClassVar[tuple[int, ...]] = ()
    stack: ClassVar[int] = 1
    inputs: ClassVar[tuple[int, ...]] = (1,)
    opened: ClassVar[list[Counting]] = []

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int, opening: Opening | None = None) -> Counting:
        self.opened.append(Counting(seeds.size))
        return self.opened[-1]


@pytest.mark.parametrize("target_entropy", [None, -0.3])
def test_the_loss_and_its_gradients_are_those_of_three_losses_apart(target_entropy: float | None) -> None:
    """Each network's gradient is that of its own loss alone: none of the policy's reaches the critics, none of theirs the actor."""
    agent, network, given = SAC(target_entropy=target_entropy), built(SAC()), batch(0)
    params = network.init(generator(1)) | {"temperature": torch.tensor([-0.7])}
    plain, target = PlainSAC(params), network.init(generator(2))
    plain.targets = Plain(target).nets
    losses = plain.losses(given, -ACTIONS if target_entropy is None else target_entropy)
    loss, reported = agent.loss(network, params, given, target)
    torch.testing.assert_close(loss, sum(losses.values()))
    torch.testing.assert_close(reported["value"], network.apply(params, given["inputs"], only=("critic0", "critic1"))[0].mean())
    found = grad(lambda own: agent.loss(network, own, given, target)[0])(params)
    assert found.keys() == plain.params.keys()
    theirs = {name: torch.autograd.grad(each, plain.parts[name], retain_graph=True) for name, each in losses.items()}
    for part, networks in (("actor", ("actor",)), ("critics", ("critic0", "critic1")), ("temperature", ())):
        names = [name for network in networks for name in names_of(network)] or ["temperature"]
        for name, other in zip(names, theirs[part], strict=True):
            assert other.any()
            torch.testing.assert_close(found[name], other, rtol=1e-4, atol=1e-6)


def test_the_temperature_rises_where_the_policy_has_less_entropy_than_wanted() -> None:
    """Its gradient by hand: -alpha (mean log-density + target)."""
    network, given = built(SAC()), batch(0)
    params = network.init(generator(1)) | {"temperature": torch.tensor([math.log(0.3)])}
    logs = PlainSAC(params).policy(given["states"], given["normal"][0])[1].mean().item()
    for wanted in (-logs - 1, -logs + 1):
        agent = SAC(target_entropy=wanted)
        found = grad(lambda own, agent=agent: agent.loss(network, own, given, params)[0])(params)["temperature"].item()
        assert found == pytest.approx(-0.3 * (logs + wanted), rel=1e-4)  # less entropy than wanted: negative, so that the step is upwards


def test_a_row_without_a_transition_teaches_nothing() -> None:
    network, given = built(SAC()), batch(0)
    params = network.init(generator(1))
    given["weights"][3] = 0
    loss = SAC().loss(network, params, given, params)[0]
    for name in ("inputs", "states", "next_states", "returns"):
        given[name][3] += 1
    assert torch.equal(SAC().loss(network, params, given, params)[0], loss)


def test_one_adam_over_all_is_three_adams_and_members_learn_as_alone() -> None:
    agent, network, members = SAC(), built(SAC()), 3
    target = {name: torch.stack([each] * members) for name, each in network.init(generator(5)).items()}

    def learner(count: int) -> Learner:
        return Learner(network, lambda *given: agent.loss(network, *given), Adam(), (), count, 0, compile=False)

    together, alone = learner(members), learner(1)
    plains = [PlainSAC(together.one(member)) for member in range(members)]
    for plain in plains:
        plain.targets = Plain(network.init(generator(5))).nets
    for update in range(6):
        each = [batch(100 * member + 10 * update) for member in range(members)]
        together.update(RATE, {name: torch.stack([one[name] for one in each]) for name in each[0]}, target)
        alone.update(RATE, {name: tensor[None] for name, tensor in each[0].items()}, {name: one[:1] for name, one in target.items()})
        for plain, one in zip(plains, each, strict=True):
            plain.learn(plain.losses(one, -ACTIONS))
    for member, plain in enumerate(plains):
        mine = together.one(member)
        for name, theirs in plain.params.items():
            torch.testing.assert_close(mine[name], theirs, rtol=1e-4, atol=2e-6)
    for name, first in alone.one(0).items():
        torch.testing.assert_close(together.one(0)[name], first, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fields", ["tau=0.005", pytest.param("tau=0.3,n_step=3", marks=pytest.mark.long)])
def test_a_run_is_a_plain_one_on_its_batches(fields: str) -> None:
    """Critics, actor, temperature and targets of both members, through a whole run."""
    tau = float(fields.partition(",")[0].removeprefix("tau="))

    class Own(PlainSAC):
        def __init__(self, params: dict[str, Tensor]) -> None:
            super().__init__(params, tau)

    def compare(loop: ReplayLoop, others: list[Plain]) -> None:
        for member, plain in enumerate(others):
            for name, theirs in plain.params.items():
                torch.testing.assert_close(loop.learner.one(member)[name], theirs, rtol=1e-3, atol=2e-5)
            for name, theirs in plain.target_params.items():
                torch.testing.assert_close(loop.target[name][member], theirs, rtol=1e-3, atol=2e-5)

    said = (
        PENDULUM | {"agent": f"{PENDULUM['agent']},{fields}", "diagnose_every": 1000} | {"benchmark": "envpool:ids=Pendulum-v1,frames=160"}
    )
    assert beside(said, Own, compare) == (160 - 40) // 4


def test_targets_move_by_tau() -> None:
    """Over three updates by hand, also of rounded networks, whose targets are not rounded: 0.005 of a step would be lost."""
    for network in (PENDULUM["network"], f"{PENDULUM['network']},precision=bfloat16"):
        made = experiment(PENDULUM | {"network": network, "agent": f"{PENDULUM['agent']},tau=0.005,target_every=2"})
        loop = ReplayLoop(made.agent, made, "cpu", False)
        name = "critic1.hidden1.weight"
        params, started = loop.learner.net.params[name], loop.target[name].clone()
        assert loop.target[name].dtype == torch.float32 and torch.equal(params, started)
        by_hand = started
        for number in range(3):
            params += torch.full_like(params, 0.01 * (number + 1))
            loop._step_target()
            by_hand = 0.995 * by_hand + 0.005 * params
        torch.testing.assert_close(loop.target[name], by_hand, rtol=0, atol=1e-7)
        assert (loop.target[name] - started).mean().item() == pytest.approx(0.005 * (0.01 + 0.03 + 0.06), rel=0.02)


@pytest.mark.parametrize("n_step", [1, 3])
def test_batches_hold_what_was_played_and_how_it_went_on(n_step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment e's episodes have 4 + e % 5 steps and are truncated where e is odd; a frame tells environment and step."""
    monkeypatch.setattr(Controlled, "opened", [])
    agent = SAC(num_envs=3, batch_size=32, replay=150, min_replay=30, train_every=9, n_step=n_step, random_fraction=0.3, discount=0.9)
    made = Experiment(Controlled(300), agent, MLP(width=6, depth=1), Adam(), Constant(1e-3), members=2, checkpoint_every=10**6)
    loop = ReplayLoop(agent, made, "cpu", False)
    make, seen = loop._batch, 0

    def checked(number: int) -> Any:
        nonlocal seen
        found = make(number)
        given, (pool,) = found[0], Controlled.opened
        assert torch.equal(given["inputs"], torch.cat([given["states"], given["actions"]], -1))
        for member in range(2):
            for row in range(32):
                at = int(given["states"][member, row])
                env, count = divmod(at, 1000)
                assert env // 3 == member
                np.testing.assert_array_equal(given["actions"][member, row].numpy(), pool.taken[count][env])
                length = 4 + env % 5
                last = count + length - count % (length + 1)  # frame that ends the episode; the step after it only resets
                reached = min(count + n_step, last, len(pool.taken) - 1)  # the newest step has no outcome yet
                assert int(given["next_states"][member, row]) == 1000 * env + reached
                ended = reached == last and env % 2 == 0
                assert given["discounts"][member, row].item() == pytest.approx(0.0 if ended else 0.9 ** (reached - count))
                paid = sum(0.9**step * (count + 1 + step) for step in range(reached - count))
                assert given["returns"][member, row].item() == pytest.approx(paid, rel=1e-5)
                seen += 1
        return found

    loop._batch = checked
    for _ in loop.run(None):
        pass
    assert seen == 2 * 32 * 30
    actions = np.stack(Controlled.opened[0].taken)
    assert actions.shape == (100, 6, 2) and actions.dtype == np.float32 and np.abs(actions).max() <= 1


def test_actions_are_random_at_first_then_sampled_and_means_in_evaluations() -> None:
    agent, network = SAC(random_fraction=0.25), built(SAC())
    assert [agent.epsilon(progress) for progress in (0.0, 0.24, 0.25, 1.0)] == [1.0, 1.0, 0.0, 0.0]
    params, states = network.init(generator(1)), drawn(0, 4, STATES)
    draws = {"uniform": torch.rand(4, 1 + ACTIONS, generator=generator(3)), "normal": drawn(2, 4, ACTIONS)}

    def played(epsilon: float, **given: Tensor) -> Tensor:
        return agent.act(network, params, states, draws | given, {"epsilon": torch.tensor(epsilon), "task": torch.tensor(0)})["actions"]

    assert torch.equal(played(1.0), 2 * draws["uniform"][:, 1:] - 1)
    torch.testing.assert_close(played(0.0), PlainSAC(params).policy(states, draws["normal"])[0])
    decoded = agent.decode_outputs(network.apply(params, torch.cat([states, drawn(5, 4, ACTIONS)], 1))[0])
    assert torch.equal(played(0.0, normal=torch.zeros(4, ACTIONS)), decoded["means"])


def test_an_ensembles_minimum_is_the_value() -> None:
    agent = SAC(critics=5)
    network, given = built(agent), batch(0)
    params = network.init(generator(1))
    each = torch.stack([network.apply(params, given["inputs"], only=(f"critic{number}",))[0][:, 0] for number in range(5)])
    outputs = network.apply(params, given["inputs"])[0]
    assert torch.equal(agent.decode_outputs(outputs)["values"], each.amin(0))
    acted, shared = {"actions": given["actions"]}, {"task": torch.tensor(0)}
    assert torch.equal(agent.judge(network, params, given["states"], acted, shared), each.amin(0))


@pytest.mark.parametrize("agent", ["sac", pytest.param("td3", marks=pytest.mark.long)])
def test_a_resumed_run_is_one_that_was_never_stopped(agent: str) -> None:
    said = PENDULUM | {"agent": PENDULUM["agent"].replace("sac", agent), "chain": ["layer-norm", "redo:every=7"], "evaluate": 1}
    found = resumed_is_never_stopped(said | {"benchmark": "envpool:ids=Pendulum-v1,frames=160", "checkpoint_every": 60, "members": 1})
    named = {event.name for event in found if isinstance(event, Metric)}
    assert {"dormant_fraction/actor.hidden1", "dormant_fraction/critic1.hidden1", "gradient_l2/critic0"} <= named
    assert ({"temperature", "policy_std"} <= named) == (agent == "sac")


def test_the_temperature_in_the_table_is_the_networks() -> None:
    found = events(experiment(PENDULUM | {"benchmark": "envpool:ids=Pendulum-v1,frames=120", "checkpoint_every": 120}))
    rows = [event.value for event in found if isinstance(event, Metric) and event.name == "temperature"]
    (last,) = (event.tensors["params/temperature"].exp() for event in found if isinstance(event, Snapshot))
    assert rows == pytest.approx(last[:, 0].tolist(), rel=1e-6) and all(0 < row < 1 for row in rows)
    untrained = [event.value for event in found if isinstance(event, Metric) and event.name == "temperature_fresh"]
    assert untrained == [1.0, 1.0]
