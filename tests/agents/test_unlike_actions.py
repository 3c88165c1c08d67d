"""Tasks of unlike numbers of actions: agents choose, bootstrap and count entropy among a task's own alone."""

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from agents.heads import among, entropy, log_probability, policy_logits, sample
from envs.reinforcement import base
from envs.reinforcement.backends.pool import Pool
from envs.reinforcement.backends.spaces import Discrete
from envs.reinforcement.gymnasium import Gymnasium
from launch.config import parse
from launch.config.parse import experiment
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Metric
from tests.plasticity_rl.training.test_compiled import needs_compiler, of_torch_itself
from tests.training import events, resumed_is_never_stopped, scores

TWO = torch.tensor(2)
DQN = "num_envs=2,batch_size=6,replay=120,min_replay=20,target_every=10"
AGENTS = {
    "dqn": f"dqn:{DQN},replay_at_switch=keep",
    "double": f"dqn:{DQN},double=true",
    "iqn": f"dqn:{DQN},value=iqn,fractions=3,dueling=true",
    "two-hot": f"dqn:{DQN},value=two-hot,num_atoms=5",
    "rainbow": f"rainbow:{DQN},num_atoms=5,n_step=3",
    "pqn": "pqn:num_envs=2,rollout_length=10,epochs=1,minibatches=2",
    "ppo": "ppo:num_envs=2,rollout_length=10,epochs=1,minibatches=2",
    "ppo-arms": "ppo:num_envs=2,rollout_length=10,epochs=1,minibatches=2,logit_limit=3,mixture_epsilon=0.2,entropy_floor=0.9,separate=true",
    "impala": "impala:num_envs=2,rollout_length=10",
}
SEQUENCE = "gymnasium:ids=CartPole-v1+Acrobot-v1,pad=true,kwargs=max_episode_steps=12,frames=100,cycles=2"
RUN: dict[str, Any] = {
    "network": "mlp:width=8,depth=1",
    "members": 2,
    "diagnose_every": 5,
    "curvature_every": 10,
    "checkpoint_every": 60,
    "evaluate": 2,
}


class Table:
    """A network that looks its outputs up in its parameters: of input i, row i."""

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs

    def apply(self, params: Any, inputs: torch.Tensor, *given: Any, **named: Any) -> tuple[torch.Tensor, dict[str, Any]]:
        return params["rows"][inputs], {}


def network(outputs: int) -> Network:
    return cast(Network, Table(outputs))


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def agent_of(name: str) -> Any:
    return parse.experiment({"benchmark": "cartpole", "agent": AGENTS[name]}).agent


def rows_of(agent: Any, seed: int) -> tuple[torch.Tensor, torch.Tensor, slice]:
    """Raw outputs for 8 inputs among two actions, the same with a third action of large outputs, and the place of the third's."""
    spec = agent.heads(SimpleNamespace(action_space=Discrete(2), heads="shared", names=("one",)))
    sizes = dict(spec.heads)
    of_actions = next(size for head, size in sizes.items() if head != "value" or len(sizes) == 1)
    before = sizes["value"] if next(iter(sizes)) == "value" else 0
    shape = (8, 3, sum(sizes.values())) if spec.cosines else (8, sum(sizes.values()))
    narrow, size = draw(*shape, seed=seed), of_actions // 2
    place = slice(before + of_actions, before + of_actions + size)
    third = torch.linspace(40, 60, size).expand(*shape[:-1], size)
    return narrow, torch.cat([narrow[..., : place.start], third, narrow[..., place.start :]], -1), place


def batch_of(agent: Any) -> dict[str, torch.Tensor]:
    steps = torch.arange(6)
    both: dict[str, torch.Tensor] = {"inputs": steps, "actions": steps % 2, "real": (steps != 3).float(), "task": torch.tensor(0)}
    if agent.has_replay:
        both |= {"next_inputs": steps + 2, "returns": draw(6, seed=5), "discounts": torch.full((6,), 0.9), "weights": torch.ones(6)}
        return both | ({"fractions": torch.rand(3, 6, 3, generator=torch.Generator().manual_seed(1))} if agent.value == "iqn" else {})
    past = {"log_probabilities": -draw(6, seed=3).abs(), "advantages": draw(6, seed=6), "goals": draw(6, seed=7), "values": draw(6, seed=8)}
    if agent.queued:  # two steps of three environments, and the observations after
        flat = {name: values.view(2, 3) for name, values in {**both, **past, "rewards": draw(6, seed=9)}.items() if values.ndim}
        return flat | {
            "inputs": torch.arange(9) % 8,
            "task": both["task"],
            "discounts": torch.full((2, 3), 0.9),
            "continues": torch.ones(2, 3),
        }
    return both | past


@pytest.mark.parametrize("name", AGENTS)
def test_a_task_with_fewer_actions_is_learned_as_if_there_were_no_others(name: str) -> None:
    agent = agent_of(name)
    (narrow, wide, place), batch = rows_of(agent, 0), batch_of(agent)
    targets = [({"rows": rows},) for rows in rows_of(agent, 20)[:2]] if agent.has_replay else [(), ()]
    count = torch.full((6,), 2) if agent.has_replay else TWO
    found = []
    for rows, target, given in ((narrow, targets[0], {}), (wide, targets[1], {"num_actions": count})):
        rows = rows.clone().requires_grad_()
        loss, reported = agent.loss(network(3 if given else 2), {"rows": rows}, batch | given, *target)
        loss.backward()
        found.append((loss.detach(), reported, rows.grad))
    (alone, reported, gradient), (among_three, reported_too, wide_gradient) = found
    torch.testing.assert_close(among_three, alone)
    torch.testing.assert_close(reported_too, reported)
    assert gradient.abs().max() > 0 and (wide_gradient[..., place] == 0).all()
    kept = [column for column in range(wide.shape[-1]) if not place.start <= column < place.stop]
    torch.testing.assert_close(wide_gradient[..., kept], gradient)


@pytest.mark.parametrize("name", AGENTS)
def test_actions_and_values_are_those_among_the_tasks_own(name: str) -> None:
    agent = agent_of(name)
    narrow, wide, _ = rows_of(agent, 0)
    uniform = torch.rand(8, 3, generator=torch.Generator().manual_seed(2))
    inputs, seen = torch.arange(8), []
    for rows, shared, actions in ((narrow, {}, 2), (wide, {"num_actions": TWO}, 3)):
        drawn = {"uniform": uniform[:, : agent.draws(Discrete(actions))["uniform"]]}
        given = {"task": torch.tensor(0), "epsilon": torch.tensor(0.5)} | shared
        acted = agent.act(network(actions), {"rows": rows}, inputs, drawn, given)
        acted.pop("outputs", None)
        decoded = agent.decode_outputs(rows, *shared.values())
        seen.append(acted | {"logits": decoded["logits"][:, :2], "decoded": decoded["values"]})
    torch.testing.assert_close(seen[1], seen[0])
    assert set(seen[1]["actions"].tolist()) == {0, 1}


def test_a_remote_actors_errors_bootstrap_among_the_tasks_own() -> None:
    agent = agent_of("rainbow")
    narrow, wide, _ = rows_of(agent, 0)
    outputs = [agent.of_actions(rows, *count).view(4, 2, -1, 5) for rows, count in ((narrow, ()), (wide, (TWO,)))]
    steps = torch.arange(6).view(3, 2) % 2, draw(3, 2, seed=4), torch.zeros(3, 2, dtype=torch.int64)
    torch.testing.assert_close(agent.first_errors(outputs[1], *steps, TWO), agent.first_errors(outputs[0], *steps))
    assert (agent.first_errors(outputs[1], *steps) != agent.first_errors(outputs[0], *steps)).any()


def test_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3), 9.0]], requires_grad=True)
    masked = among(logits, TWO)
    torch.testing.assert_close(masked.softmax(-1).detach(), torch.tensor([[0.25, 0.75, 0.0]]))
    found = entropy(masked)
    assert found.item() == pytest.approx(0.25 * math.log(4) + 0.75 * math.log(4 / 3))
    found.sum().backward()
    assert logits.grad is not None and logits.grad[0, 2] == 0 and logits.grad.isfinite().all()
    assert log_probability(masked, torch.tensor([1])).item() == pytest.approx(math.log(0.75))
    torch.testing.assert_close(among(torch.ones(2, 3), torch.tensor([1, 3])).argmax(-1), torch.tensor([0, 0]))
    assert (sample(masked.detach().expand(1000, 3), torch.rand(1000, 3, generator=torch.Generator().manual_seed(0))) < 2).all()
    # Half of the time uniformly among two: 0.5 * 0.25 + 0.25, and so on.
    torch.testing.assert_close(policy_logits(logits.detach(), 0.0, 0.5, TWO).softmax(-1), torch.tensor([[0.375, 0.625, 0.0]]))
    # 0 and ln 3 lie half of ln 3 from their mean, whatever the third is.
    half = math.log(3) / 2
    expected = torch.tensor([[2 * math.tanh(-half / 2), 2 * math.tanh(half / 2)]])
    torch.testing.assert_close(policy_logits(logits.detach(), 2.0, 0.0, TWO)[:, :2], expected)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[int, set[int]]:
    """Number of actions of a pool -> actions that were sent to it."""
    kept: dict[int, set[int]] = {}
    send = Pool.send

    def recorded(pool: Pool, actions: np.ndarray) -> None:
        kept.setdefault(cast(Any, pool.action_space).n, set()).update(np.asarray(actions).tolist())
        send(pool, actions)

    monkeypatch.setattr(Pool, "send", recorded)
    return kept


@pytest.mark.parametrize("name", AGENTS)
def test_a_padded_sequence_sends_valid_actions_alone(name: str, sent: dict[int, set[int]]) -> None:
    said = RUN | {"agent": AGENTS[name], "benchmark": f"{SEQUENCE},shifts=relabel+offset,gradual=0.5"}
    found = events(experiment(said))
    assert sent == {2: {0, 1}, 3: {0, 1, 2}}
    assert {row.task for row in scores(found, "evaluation")} == {"CartPole-v1", "Acrobot-v1"}
    for row in (each for each in found if isinstance(each, Metric) and each.name == "policy_entropy_fresh"):
        assert row.value <= math.log(2 if row.task == "CartPole-v1" else 3) + 1e-6
        assert row.value > 0.8 * math.log(2 if row.task == "CartPole-v1" else 3)  # an untrained policy is nearly uniform
    assert all(math.isfinite(each.value) for each in found if isinstance(each, Metric))


@pytest.mark.parametrize("name", ["dqn", "ppo"])
def test_a_resumed_run_is_one_that_was_never_stopped(name: str) -> None:
    resumed_is_never_stopped(RUN | {"agent": AGENTS[name], "benchmark": SEQUENCE})


@pytest.mark.long
@needs_compiler
@of_torch_itself
@pytest.mark.parametrize("name", ["rainbow", "ppo-arms", "impala"])
def test_compiled_runs_send_valid_actions_alone(name: str, sent: dict[int, set[int]]) -> None:
    events(experiment(RUN | {"agent": AGENTS[name], "benchmark": SEQUENCE, "curvature_every": 0}), compile=True)
    assert sent == {2: {0, 1}, 3: {0, 1, 2}}


def test_only_sequences_of_unlike_numbers_say_them() -> None:
    def num_actions(benchmark: Any) -> tuple[int, ...]:
        return base.num_actions(benchmark)

    both = Gymnasium(ids=("CartPole-v1", "Acrobot-v1", "MountainCar-v0"), pad=True, cycles=2)
    assert num_actions(both) == (2, 3, 3)
    assert num_actions(Gymnasium(ids=("Acrobot-v1", "MountainCar-v0"), pad=True)) == ()
    assert num_actions(experiment({"benchmark": "cartpole"}).benchmark) == ()
    shifted = Gymnasium(ids=("CartPole-v1", "Acrobot-v1"), pad=True, shifts=("offset",), tasks=5)
    assert num_actions(shifted) == (2, 3, 2, 3, 2)


def test_relabelled_actions_are_the_tasks_own() -> None:
    tasks = Gymnasium(ids=("CartPole-v1", "Acrobot-v1"), pad=True, shifts=("relabel",), tasks=6)
    for task, visit in enumerate(tasks.visits()):
        pool = tasks.pool(visit, np.arange(6).reshape(3, 2), 1, 3)
        shift: Any = vars(cast(Any, pool)._backend)["_shift"].actions
        drawn: Any = [tasks.drawn(3, member, 6, 6, 3)[task].actions for member in (0, 0, 1, 1, 2, 2)]
        assert shift.tolist() == [[each for each in order if each < (2, 3)[task % 2]] for order in drawn]
