"""DQN: its loss by hand, its loop on real environments, and that it learns."""

import numpy as np
import pytest
import torch

from agents.dqn import DQN
from agents.off_policy import Training
from launch.words import experiment
from plasticity_rl.networks import MLP
from plasticity_rl.runs import Metric, Score, Tick
from tests.training import ATARI, CARTPOLE, events, resumed_is_never_stopped


def linear(weight: list[list[float]]) -> dict[str, torch.Tensor]:
    """A network without hidden units that does anything: hidden passes two positive inputs on, the head is `weight`."""
    return {
        "hidden0.weight": torch.eye(2),
        "hidden0.bias": torch.zeros(2),
        "head.weight": torch.tensor(weight),
        "head.bias": torch.zeros(len(weight)),
    }


@pytest.mark.parametrize(("double", "after"), [(False, 7.0), (True, 5.0)])
def test_the_loss_by_hand(double: bool, after: float) -> None:
    network = MLP(width=2, depth=1).build((2,), 2)
    params, target = linear([[1.0, 0.0], [0.0, 1.0]]), linear([[5.0, 0.0], [0.0, 3.5]])
    batch = {
        "inputs": torch.tensor([[2.0, 3.0], [2.0, 3.0]]),
        "actions": torch.tensor([1, 0]),
        "returns": torch.tensor([0.5, 1.75]),
        "discounts": torch.tensor([0.9, 0.0]),  # the second has terminated
        "next_inputs": torch.tensor([[1.0, 2.0], [9.0, 9.0]]),  # online: [1, 2], target: [5, 7]
        "weights": torch.tensor([1.0, 1.0]),
    }
    if double:
        params["head.weight"] = torch.tensor([[4.0, 0.0], [0.0, 1.0]])  # online prefers action 0 there: 4 > 2
    value = [3.0, 2.0 if not double else 8.0]
    goal = [0.5 + 0.9 * after, 1.75]
    errors = [abs(v - g) for v, g in zip(value, goal, strict=True)]
    huber = [error**2 / 2 if error <= 1 else error - 0.5 for error in errors]
    loss, _ = DQN(double=double).loss(network, params, batch, target)
    assert loss.item() == pytest.approx(sum(huber) / 2)
    batch["weights"] = torch.tensor([1.0, 0.0])
    assert DQN(double=double).loss(network, params, batch, target)[0].item() == pytest.approx(huber[0] / 2)


def test_no_gradient_reaches_the_target() -> None:
    network = MLP(width=2, depth=1).build((2,), 2)
    target = {name: param.requires_grad_() for name, param in linear([[5.0, 0.0], [0.0, 3.5]]).items()}
    params = {name: param.requires_grad_() for name, param in linear([[1.0, 0.0], [0.0, 1.0]]).items()}
    ones = torch.ones(1)
    batch = {"inputs": torch.ones(1, 2), "actions": torch.zeros(1, dtype=torch.int64), "next_inputs": torch.ones(1, 2)}
    loss, _ = DQN(double=True).loss(network, params, batch | {"returns": ones, "discounts": ones, "weights": ones}, target)
    loss.backward()
    assert all(param.grad is None or not param.grad.any() for param in target.values())
    assert params["head.weight"].grad is not None and params["head.weight"].grad[1].eq(0).all()  # nor through the action that was not taken


def test_acting_is_greedy_but_for_epsilon() -> None:
    network = MLP(width=2, depth=1).build((2,), 2)
    observations = torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]])
    actions = DQN().act(
        network, linear([[1.0, 0.0], [0.0, 1.0]]), observations, torch.tensor(0.5), torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0, 1, 0])
    )
    assert actions.tolist() == [1, 0, 0]


@pytest.mark.parametrize("chain", [[], ["nap", "redo:every=7"], ["reset"]], ids=" + ".join)
def test_a_resumed_run_is_one_that_was_never_stopped_on_cartpole(chain: list[str]) -> None:
    resumed_is_never_stopped(CARTPOLE | {"chain": chain})


def test_a_resumed_run_is_one_that_was_never_stopped_on_atari() -> None:
    resumed_is_never_stopped(ATARI | {"chain": ["nap"]})


def test_counts_are_of_one_member_and_in_their_units() -> None:
    found = events(experiment(ATARI))
    last = [event for event in found if isinstance(event, Tick)][-1]
    assert last == Tick(visit=1, task="RoadRunner", cycle=0, frames=1600, steps=400, updates=last.updates)
    assert last.updates == 2 * (200 - 40) // 20  # each visit clears the replay, and waits for 40 steps
    cuts = [event for event in found if isinstance(event, Score) and event.kind == "cut"]
    assert len(cuts) == 5 * 2 * 2  # of five legs, every environment's episode


def test_chains_with_one_seed_start_from_the_same_observations_and_explore_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: dict[str, list[np.ndarray]] = {}
    choose = Training._choose

    def watched(self: Training, actor: object, progress: float) -> torch.Tensor:
        actions = choose(self, actor, progress)  # type: ignore[arg-type]
        chosen.setdefault(self.experiment.label, []).append(actions.numpy())
        return actions

    monkeypatch.setattr(Training, "_choose", watched)
    said = CARTPOLE | {"agent": "dqn:environments=4,min_replay=60,replay=400,exploration=1,final_epsilon=1"}  # nobody exploits
    for chain in ([], ["nap"], ["reset"]):
        events(experiment(said | {"chain": chain}))
    one, two, three = chosen.values()
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)


def test_exploration_starts_again_at_every_visit() -> None:
    said = CARTPOLE | {"agent": "dqn:environments=4,min_replay=60,replay=400,exploration=0.5,final_epsilon=0"}
    training = Training(experiment(said).agent, experiment(said), "cpu", False)
    seen: list[float] = []
    training.act = lambda params, observations, epsilon, uniform, other: seen.append(epsilon.item()) or other  # type: ignore[assignment]
    for _ in training.run():
        pass
    visits = np.array(seen).reshape(2, 150)
    np.testing.assert_allclose(visits[0], np.maximum(0, 1 - np.arange(150) / 75), atol=1e-6)
    np.testing.assert_allclose(visits[0], visits[1], atol=1e-6)


def test_the_fresh_control_starts_over_and_nothing_else_does() -> None:
    said = CARTPOLE | {"benchmark": "cartpole:tasks=2,frames=400", "checkpoint_every": 10**6}
    for chain, clears in (([], False), (["reset"], True), (["reset:part=network"], False)):
        made = experiment(said | {"chain": chain, "agent": said["agent"] + ",replay_at_switch=keep"})
        training = Training(made.agent, made, "cpu", False)
        run = training.run()
        for event in run:
            if isinstance(event, Tick) and event.steps == 400:
                break
        before, written = training.learner.one(0)["head.weight"].clone(), training.replay.written
        target = training.target["head.weight"].clone()
        training.learner.task_boundary()
        training._refreshed("task")
        assert (training.replay.written == 0) == clears and written > 0
        changed = bool(chain)
        assert (not torch.equal(training.learner.one(0)["head.weight"], before)) == changed
        assert (
            torch.equal(training.target["head.weight"], training.learner.net.params["head.weight"])
            if changed
            else torch.equal(training.target["head.weight"], target)
        )
        assert training.learner.net.slots["mean"]["head.weight"].any() != changed


@pytest.mark.parametrize("clock", ["run", "visit"])
def test_the_schedule_counts_updates_from_the_first(clock: str) -> None:
    made = experiment(CARTPOLE | {"schedule": f"linear:rate=1,end=0,clock={clock}", "diagnose_every": 1})
    rates = [
        (event.visit, event.value)
        for event in events(made)
        if isinstance(event, Metric) and event.name == "learning_rate" and event.member == 0
    ]
    planned = (600 - 60) // 4
    for visit in (0, 1):
        mine = [rate for at, rate in rates if at == visit]
        assert abs(len(mine) - planned) <= 1
        start, total = (len(rates) - len(mine)) * visit if clock == "run" else 0, planned * (2 if clock == "run" else 1)
        np.testing.assert_allclose(mine, [max(1 - (start + update) / total, 0) for update in range(len(mine))], atol=1e-6)


@pytest.mark.slow
def test_it_learns_cartpole() -> None:
    made = experiment({"benchmark": "cartpole:tasks=1,frames=40000", "members": 5})
    late = [event.score for event in events(made) if isinstance(event, Score) and event.kind == "return" and event.frames > 20_000]
    assert np.mean(late) > 150
