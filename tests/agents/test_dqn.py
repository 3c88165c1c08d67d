"""DQN: its loss by hand, its loop on real environments, and that it learns."""

from typing import Any

import numpy as np
import pytest
import torch

from agents.dqn import DQN
from agents.loops.base import Loop
from agents.loops.replay import ReplayLoop
from envs.reinforcement.control import CartPole
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.records.events import Metric, Snapshot, Tick
from tests.training import ATARI, CARTPOLE, events, one_by_one_is_in_a_row, resumed_is_never_stopped, scores


def linear(weight: list[list[float]]) -> dict[str, torch.Tensor]:
    """A network without hidden units that does anything: hidden passes two positive inputs on, the head is `weight`."""
    return {
        "hidden0.weight": torch.eye(2),
        "hidden0.bias": torch.zeros(2),
        "head.weight": torch.tensor(weight),
        "head.bias": torch.zeros(len(weight)),
    }


def test_updates_in_a_row_are_those_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four updates per step of the pool, fused by at most three between two target updates."""
    agent = "dqn:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=3,train_every=1,noise=0.1"
    one_by_one_is_in_a_row(CARTPOLE | {"agent": agent, "chain": ["reset:clock=update,every=31"]}, monkeypatch)


@pytest.mark.parametrize(("double", "after"), [(False, 7.0), (True, 5.0)])
def test_the_loss_by_hand(double: bool, after: float) -> None:
    network = Network(MLP(width=2, depth=1), (2,), 2)
    params, target = linear([[1.0, 0.0], [0.0, 1.0]]), linear([[5.0, 0.0], [0.0, 3.5]])
    batch = {
        "inputs": torch.tensor([[2.0, 3.0], [2.0, 3.0]]),
        "actions": torch.tensor([1, 0]),
        "returns": torch.tensor([0.5, 1.75]),
        "discounts": torch.tensor([0.9, 0.0]),  # the second has terminated
        "next_inputs": torch.tensor([[1.0, 2.0], [9.0, 9.0]]),  # online: [1, 2], target: [5, 7]
        "weights": torch.tensor([1.0, 1.0]),
        "task": torch.tensor([0, 0]),
    }
    if double:
        params["head.weight"] = torch.tensor([[4.0, 0.0], [0.0, 1.0]])  # online prefers action 0 there: 4 > 2
    value = [3.0, 2.0 if not double else 8.0]
    goal = [0.5 + 0.9 * after, 1.75]
    errors = [abs(v - g) for v, g in zip(value, goal, strict=True)]
    huber = [error**2 / 2 if error <= 1 else error - 0.5 for error in errors]
    loss, reported = DQN(double=double).loss(network, params, batch, target)
    assert loss.item() == pytest.approx(sum(huber) / 2)
    assert reported["errors"].tolist() == pytest.approx(huber)
    batch["weights"] = torch.tensor([1.0, 0.0])
    assert DQN(double=double).loss(network, params, batch, target)[0].item() == pytest.approx(huber[0] / 2)


def test_no_gradient_reaches_the_target() -> None:
    network = Network(MLP(width=2, depth=1), (2,), 2)
    target = {name: param.requires_grad_() for name, param in linear([[5.0, 0.0], [0.0, 3.5]]).items()}
    params = {name: param.requires_grad_() for name, param in linear([[1.0, 0.0], [0.0, 1.0]]).items()}
    ones = torch.ones(1)
    zeros = torch.zeros(1, dtype=torch.int64)
    batch = {"inputs": torch.ones(1, 2), "actions": zeros, "task": zeros, "next_inputs": torch.ones(1, 2)}
    loss, _ = DQN(double=True).loss(network, params, batch | {"returns": ones, "discounts": ones, "weights": ones}, target)
    loss.backward()
    assert all(param.grad is None or not param.grad.any() for param in target.values())
    assert params["head.weight"].grad is not None and params["head.weight"].grad[1].eq(0).all()  # nor through the action not taken


def test_acting_is_greedy_but_for_epsilon() -> None:
    network = Network(MLP(width=2, depth=1), (2,), 2)
    observations = torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]])
    drawn = {"uniform": torch.tensor([[0.9, 0.0], [0.5, 0.9], [0.1, 0.2]])}  # only the third explores: 0.2 of two actions is the first
    shared = {"epsilon": torch.tensor(0.5), "task": torch.tensor(0)}
    assert DQN().act(network, linear([[1.0, 0.0], [0.0, 1.0]]), observations, drawn, shared)["actions"].tolist() == [1, 0, 0]


@pytest.mark.parametrize("chain", [[], ["nap", "redo:every=7"], ["reset"], ["plasticity-injection"]], ids=" + ".join)
def test_a_resumed_run_is_one_that_was_never_stopped_on_cartpole(chain: list[str]) -> None:
    resumed_is_never_stopped(CARTPOLE | {"chain": chain})


RAINBOW = "rainbow:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10,num_atoms=11,replay_at_switch=keep"


@pytest.mark.parametrize(
    "agent",
    [
        RAINBOW,
        f"{CARTPOLE['agent']},value=iqn,fractions=4,double=true",
        f"{CARTPOLE['agent']},value=two-hot,num_atoms=11,v_max=20,priority_exponent=1",
    ],
    ids=["rainbow", "iqn", "two-hot"],
)
def test_a_resumed_run_of_more_than_dqn_is_one_that_was_never_stopped(agent: str) -> None:
    whole = resumed_is_never_stopped(CARTPOLE | {"agent": agent, "chain": ["redo:every=7"], "evaluate": 1})
    losses = {event.value for event in whole if isinstance(event, Metric) and event.name == "loss"}
    assert len(losses) > 4 and all(0 < loss < 100 for loss in losses)


def test_on_atari_a_resumed_run_is_one_that_was_never_stopped_and_counts_are_of_one_member_in_their_units() -> None:
    found = resumed_is_never_stopped(ATARI | {"chain": ["nap"]})
    last = [event for event in found if isinstance(event, Tick)][-1]
    assert last == Tick(visit=1, task="RoadRunner", cycle=0, frames=800, steps=200, updates=last.updates)
    assert last.updates == 2 * (100 - 40) // 10  # each visit clears the replay, and waits for 40 steps
    assert len(scores(found, "cut")) == 4 * 2 * 2  # four segments, every environment's episode


def test_chains_with_one_seed_start_from_the_same_observations_and_explore_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[np.ndarray]] = {}
    chosen: dict[str, list[np.ndarray]] = {}
    choose = Loop.choose

    def watched(self: Loop, visit: Any, observations: torch.Tensor, *given: Any) -> dict[str, torch.Tensor]:
        said = choose(self, visit, observations, *given)
        seen.setdefault(self.experiment.label, []).append(observations.numpy().copy())
        chosen.setdefault(self.experiment.label, []).append(said["actions"].numpy())
        return said

    monkeypatch.setattr(Loop, "choose", watched)
    said = CARTPOLE | {"agent": "dqn:num_envs=4,min_replay=40,replay=160,exploration_fraction=1,final_epsilon=1"}  # no exploitation
    for chain in ([], ["nap"], ["reset"]):
        events(experiment(said | {"chain": chain}))
    for met in (seen, chosen):
        one, two, three = met.values()
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_no_two_visits_meet_environments_of_the_same_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[int]] = []
    pool = CartPole.pool

    def watched(self: CartPole, visit: Any, seeds: np.ndarray, *given: Any) -> Any:
        made.append(seeds.flatten().tolist())
        return pool(self, visit, seeds, *given)

    monkeypatch.setattr(CartPole, "pool", watched)
    events(experiment(CARTPOLE))
    assert len(made) >= 2 and len({seed for seeds in made for seed in seeds}) == sum(map(len, made))


def test_exploration_starts_again_at_every_visit() -> None:
    said = CARTPOLE | {"agent": "dqn:num_envs=4,min_replay=40,replay=160,exploration_fraction=0.5,final_epsilon=0"}
    training = ReplayLoop(experiment(said).agent, experiment(said), "cpu", False)
    seen: list[float] = []
    act = training._act
    training._act = lambda *given: (seen.append(given[-1]["epsilon"].item()), act(*given))[1]
    for _ in training.run(None):
        pass
    visits = np.array(seen).reshape(2, 50)
    np.testing.assert_allclose(visits[0], np.maximum(0, 1 - np.arange(50) / 25), atol=1e-6)
    np.testing.assert_allclose(visits[0], visits[1], atol=1e-6)


def test_the_fresh_control_starts_over_and_nothing_else_does() -> None:
    said = CARTPOLE | {"benchmark": "cartpole:tasks=2,frames=120", "checkpoint_every": 10**6}
    for chain, clears in (([], False), (["reset"], True), (["reset:part=network"], False)):
        made = experiment(said | {"chain": chain, "agent": said["agent"] + ",replay_at_switch=keep"})
        training = ReplayLoop(made.agent, made, "cpu", False)
        run = training.run(None)
        for event in run:
            if isinstance(event, Tick) and event.steps == 120:
                break
        before, written = training.learner.one(0)["head.weight"].clone(), training.replay.written
        target = training.target["head.weight"].clone()
        training.learner.task_boundary()
        training.refreshed("task")
        assert (training.replay.written == 0) == clears and written > 0
        changed = bool(chain)
        assert (not torch.equal(training.learner.one(0)["head.weight"], before)) == changed
        assert (
            torch.equal(training.target["head.weight"], training.learner.net.params["head.weight"])
            if changed
            else torch.equal(training.target["head.weight"], target)
        )
        assert training.learner.net.slots["mean"]["head.weight"].any() != changed


def test_a_noisy_network_acts_with_noise_of_each_environments_own_and_is_evaluated_without() -> None:
    made = experiment(CARTPOLE | {"agent": RAINBOW, "evaluate": 1})
    training = ReplayLoop(made.agent, made, "cpu", False)
    noises: list[torch.Tensor] = []
    evaluated: set[tuple[str, ...]] = set()
    act, act_without = training._act, training.act_without_noise
    training._act = lambda *given: (noises.append(given[2]["noise"].clone()), act(*given))[1]
    training.act_without_noise = lambda *given: (evaluated.add(tuple(given[2])), act_without(*given))[1]
    for _ in training.run(None):
        pass
    numbers = torch.stack(noises).flatten(0, 2)  # 100 steps, 2 members, 4 environments
    assert numbers.shape == (800, training.network.noise) and len(numbers.unique(dim=0)) == 800
    assert abs(numbers.mean().item()) < 0.02 and abs(numbers.std().item() - 1) < 0.02
    assert evaluated == {("uniform",)}


def test_noise_of_an_environments_own_moves_its_own_values_alone() -> None:
    agent = DQN(noise=0.5, final_epsilon=0)
    network = Network(MLP(width=8, depth=1), (2,), agent.heads(experiment(CARTPOLE).benchmark))
    params = network.init(torch.Generator().manual_seed(0))
    noise = torch.randn(3, network.noise, generator=torch.Generator().manual_seed(1))
    same, given = torch.tensor([[1.0, 2.0]]).expand(3, 2), {"noise": noise}
    values = agent.outputs(network, params, same, given)
    assert len(values.unique(dim=0)) == 3
    for row in range(3):
        torch.testing.assert_close(agent.outputs(network, params, same[:1], {"noise": noise[row : row + 1]})[0], values[row])


@pytest.mark.parametrize("agent", [CARTPOLE["agent"], RAINBOW.replace("keep", "clear")], ids=["dqn", "rainbow"])
def test_only_the_heads_of_the_current_task_learn(agent: str) -> None:
    said = CARTPOLE | {"agent": agent, "benchmark": "cartpole:tasks=2,frames=200,heads=per-task", "checkpoint_every": 200}
    first, second = (event.tensors for event in events(experiment(said)) if isinstance(event, Snapshot))
    heads = [name for name in first if name.startswith("slots/mean/") and "hidden" not in name]
    assert len(heads) == (2 if agent == CARTPOLE["agent"] else 8)
    for name in heads:
        before, after = (tensors[name].unflatten(1, (2, -1)) for tensors in (first, second))  # (S, tasks, outputs, ...)
        assert before[:, 0].flatten(1).any(1).all() and not before[:, 1].any()
        assert after[:, 1].flatten(1).any(1).all()
        changed = [tensors[name.replace("slots/mean", "params")].unflatten(1, (2, -1)) for tensors in (first, second)]
        assert not torch.equal(*(each[:, 1] for each in changed))


def test_a_replay_that_is_kept_teaches_each_task_its_own_heads() -> None:
    said = CARTPOLE | {"agent": f"{CARTPOLE['agent']},replay_at_switch=keep", "benchmark": "cartpole:tasks=2,frames=200,heads=per-task"}
    made = experiment(said)
    training = ReplayLoop(made.agent, made, "cpu", False)
    loss, met = made.agent.loss, []

    def watched(params: dict[str, torch.Tensor], batch: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> Any:
        return loss(training.network, params, batch, target)

    learn = training.learn

    def learning(visit: Any, batches: list[dict[str, torch.Tensor]], *extras: Any) -> Any:
        params, (target,), (batch,) = training.learner.one(0), extras, batches
        mine = {name: values[0] for name, values in batch.items()}
        grads, _ = torch.func.grad_and_value(watched, has_aux=True)(params, mine, {name: each[0] for name, each in target.items()})
        taught = grads["head.bias"].unflatten(0, (2, -1)).any(1)
        met.append((visit.index, set(mine["task"].tolist())))
        assert set(taught.nonzero()[:, 0].tolist()) <= met[-1][1]
        return learn(visit, batches, *extras)

    training.learn = learning
    for _ in training.run(None):
        pass
    assert all(tasks == {0} for visit, tasks in met if visit == 0)
    assert {frozenset(tasks) for visit, tasks in met if visit == 1} >= {frozenset({0, 1})}  # both, each by its own heads


@pytest.mark.parametrize("clock", ["run", "visit"])
def test_the_schedule_counts_updates_from_the_first(clock: str) -> None:
    made = experiment(CARTPOLE | {"schedule": f"linear:rate=1,end=0,clock={clock}", "diagnose_every": 1})
    rates = [
        (event.visit, event.value)
        for event in events(made)
        if isinstance(event, Metric) and event.name == "learning_rate" and event.member == 0
    ]
    planned = (200 - 40) // 4
    for visit in (0, 1):
        mine = [rate for at, rate in rates if at == visit]
        assert abs(len(mine) - planned) <= 1
        start, total = (len(rates) - len(mine)) * visit if clock == "run" else 0, planned * (2 if clock == "run" else 1)
        np.testing.assert_allclose(mine, [max(1 - (start + update) / total, 0) for update in range(len(mine))], atol=1e-6)


def test_draws_by_age_and_by_priority_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="age_decay and priority_exponent both set how transitions are drawn"):
        DQN(age_decay=1000, priority_exponent=0.5)
