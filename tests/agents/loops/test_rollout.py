"""The rollout loop and the agents that learn from rollouts: PQN, PPO, IMPALA."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.distributions import Categorical

from agents.heads import entropy, log_probability, sample
from agents.impala import IMPALA
from agents.loops.rollout import RolloutLoop
from agents.ppo import PPO
from agents.pqn import PQN
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.optim.schedules import Constant
from plasticity_rl.records.events import Score, Snapshot, Tick
from tests.agents.data.test_returns import Column, vtrace_advantage, vtrace_target
from tests.training import ATARI, CARTPOLE, Counted, events, one_by_one_is_in_a_row, resumed_is_never_stopped

# Rollouts of 32 steps: 6 in a visit of 200, and 8 steps more. Segments end at 96, 192, 200, 296, 360, 400.
WORDS = {
    "pqn": "pqn:num_envs=4,rollout_length=8,epochs=2,minibatches=2",
    "ppo": "ppo:num_envs=4,rollout_length=8,epochs=2,minibatches=2",
    "impala": "impala:num_envs=4,rollout_length=8,minibatches=2",
}
MEMBERS, NUM_ENVS, ROLLOUT = 2, 3, 6


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("agent", list(WORDS))
def test_a_resumed_run_is_one_that_was_never_stopped(agent: str) -> None:
    whole = resumed_is_never_stopped(CARTPOLE | {"agent": WORDS[agent], "chain": ["nap", "redo:every=7"]})
    counters = [event.counters for event in whole if isinstance(event, Snapshot)]
    each = 1 if agent == "impala" else 2
    assert [fact["number"] for fact in counters] == [96, 192, 200, 296, 360, 400]
    assert [fact["ticks"]["update"] for fact in counters] == [2 * each * rollouts for rollouts in (3, 6, 6, 9, 11, 12)]


def test_updates_in_a_row_are_those_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one_by_one_is_in_a_row(CARTPOLE | {"agent": WORDS["ppo"], "chain": ["redo:every=7"], "probe_every": 9, "probe_updates": 4}, monkeypatch)


def test_a_resumed_run_is_one_that_was_never_stopped_on_atari() -> None:
    words = "ppo:num_envs=2,rollout_length=9,epochs=1,minibatches=1,rewards=scale-per-visit"
    resumed_is_never_stopped(ATARI | {"agent": words, "members": 1})


@pytest.mark.parametrize("agent", list(WORDS))
def test_two_pools_play_and_learn_what_one_does(agent: str) -> None:
    """Equality up to rounding: other matrix heights may change the order of summation."""
    one, two = (events(experiment(CARTPOLE | {"agent": f"{WORDS[agent]},num_pools={pools}"})) for pools in (1, 2))
    rows = [sorted(event for event in found if isinstance(event, Score)) for found in (one, two)]
    assert rows[0] == rows[1]
    assert [event for event in one if isinstance(event, Tick)] == [event for event in two if isinstance(event, Tick)]
    for mine, other in zip(*([event for event in found if isinstance(event, Snapshot)] for found in (one, two)), strict=True):
        for name, tensor in mine.tensors.items():
            if name.startswith("params/"):
                torch.testing.assert_close(tensor, other.tensors[name], rtol=1e-2, atol=2e-3)


class Watched(RolloutLoop):
    """A loop on `Counting` whose policy's values are the newest frame's number; it keeps all inputs and batches."""

    def __init__(self, agent: Any, rollouts: int) -> None:
        made = Experiment(Counted(rollouts * ROLLOUT * NUM_ENVS), agent, MLP(width=4, depth=1), Adam(), Constant(), members=MEMBERS)
        super().__init__(agent, made, "cpu", False)
        self.shown: dict[float, torch.Tensor] = {}
        self.learned: list[tuple[int, dict[str, torch.Tensor]]] = []
        act = self._act

        def watch(params: Params, observations: torch.Tensor, drawn: Params, shared: Params) -> Params:
            for stack in observations.flatten(0, 1):
                self.shown[stack[-1, 0].item()] = stack.clone()
            return act(params, observations / 1000, drawn, shared) | {"values": observations[:, :, -1, 0]}

        self._act = watch

    def learn(self, visit: Any, batches: Any, *extras: Any) -> Iterator[Any]:  # type: ignore[override]
        self.learned.extend((self.steps, batch) for batch in batches)
        self.learner.ticks["update"] += len(batches)
        yield from ()


def watched(agent: Any, rollouts: int) -> Watched:
    loop = Watched(agent, rollouts)
    for _ in loop.run(None):
        pass
    return loop


def test_what_is_learned_from_is_what_was_shown() -> None:
    agent = PPO(num_envs=NUM_ENVS, rollout_length=ROLLOUT, epochs=2, minibatches=2, discount=0.5, gae_lambda=0.5, rewards="raw")
    loop = watched(agent, 5)
    assert len(loop.learned) == 5 * 2 * 2
    for first in range(0, 20, 2):  # an epoch
        size, at = ROLLOUT * NUM_ENVS, first // 4 * ROLLOUT
        inputs = torch.cat([batch["inputs"] for _, batch in loop.learned[first : first + 2]], 1)
        for member in range(MEMBERS):
            numbers = sorted(1000 * (NUM_ENVS * member + e) + at + t for e in range(NUM_ENVS) for t in range(ROLLOUT))
            assert sorted(inputs[member, :, -1, 0].tolist()) == numbers and len(numbers) == size
            for stack in inputs[member]:
                assert torch.equal(stack, loop.shown[stack[-1, 0].item()])


def test_after_a_cut_the_value_is_that_of_the_episodes_last_observation() -> None:
    agent = PPO(num_envs=NUM_ENVS, rollout_length=ROLLOUT, epochs=1, minibatches=1, discount=0.5, gae_lambda=0.5, rewards="raw")
    over, cut = 0, 0
    for _, batch in watched(agent, 5).learned:
        for member in range(MEMBERS):
            for at, stack in enumerate(batch["inputs"][member]):
                value = stack[-1, 0].item()
                environment, count = divmod(int(value), 1000)
                frames = 5 + environment % 5  # an episode's
                assert batch["values"][member, at] == value
                assert batch["real"][member, at] == ((count + 1) % frames != 0)  # actions in its last frame are ignored
                if (count + 2) % frames == 0:  # a step that leads there pays count + 1, to a value of one more
                    goal = count + 1 + (0.5 * (value + 1) if environment % 2 else 0.0)
                    over, cut = over + (environment % 2 == 0), cut + environment % 2
                    assert batch["goals"][member, at].item() == pytest.approx(goal)
                    assert batch["advantages"][member, at].item() == pytest.approx(goal - value)
    assert over > 5 and cut > 5


@pytest.mark.parametrize("minibatches", [1, 3])
def test_impala_learns_from_whole_rollouts_time_first_while_the_next_is_played(minibatches: int) -> None:
    agent = IMPALA(num_envs=NUM_ENVS, rollout_length=ROLLOUT, minibatches=minibatches, rewards="raw")
    loop, size = watched(agent, 4), ROLLOUT * NUM_ENVS
    assert len(loop.learned) == 4 * minibatches  # with the last segment's: no batch waits at a checkpoint
    for place, (steps, batch) in enumerate(loop.learned):
        rollout, part = divmod(place, minibatches)
        if rollout < 3:
            assert (rollout + 1) * size < steps <= (rollout + 2) * size
        else:
            assert steps == 4 * size
        width = NUM_ENVS // minibatches
        inputs = batch["inputs"].view(MEMBERS, ROLLOUT + 1, width, 4, 1)
        for member in range(MEMBERS):
            for column in range(width):
                environment = NUM_ENVS * member + part * width + column
                for t in range(ROLLOUT + 1):
                    number = 1000 * environment + rollout * ROLLOUT + t
                    assert inputs[member, t, column, -1, 0] == number
                    assert torch.equal(inputs[member, t, column], loop.shown.get(number, inputs[member, t, column]))  # the last was not
                    if t < ROLLOUT:
                        ignored = (rollout * ROLLOUT + t + 1) % (5 + environment % 5) == 0
                        assert batch["real"][member, t, column] == (not ignored)
                        assert batch["rewards"][member, t, column] == (0 if ignored else rollout * ROLLOUT + t + 1)
    if minibatches == 3:  # spread over the steps of the rollout after it
        assert [steps - size for steps, _ in loop.learned[:3]] == [NUM_ENVS * at for at in (1, 3, 5)]


def network(agent: Any) -> Network:
    return Network(MLP(width=6, depth=1), (3,), agent.heads(Counted(1)))


def made_up(agent: Any) -> tuple[Network, Params, dict[str, torch.Tensor]]:
    """A network of one agent and a batch of 24 steps, every third of which only reset its environment."""
    net, shape = network(agent), (6, 4) if isinstance(agent, IMPALA) else (24,)
    batch = {
        "inputs": draw(28 if isinstance(agent, IMPALA) else 24, 3),
        "actions": torch.arange(24).view(shape) % 5,
        "real": (torch.arange(24).view(shape) % 3 > 0).float(),
        "task": torch.tensor(0),
        "continues": (torch.arange(24).view(shape) % 3 != 2).float(),
        "discounts": torch.full(shape, 0.9),
    }
    numbers = {name: draw(*shape, seed=seed) for seed, name in enumerate(("rewards", "goals", "values", "advantages"), start=1)}
    return net, net.init(torch.Generator().manual_seed(0)), batch | numbers | {"log_probabilities": -2 + draw(*shape, seed=9)}


@pytest.mark.parametrize("agent", [PQN(), PPO(), IMPALA()], ids=lambda agent: type(agent).__name__)
def test_steps_whose_action_was_ignored_teach_nothing(agent: Any) -> None:
    net, params, batch = made_up(agent)
    real = batch["real"] > 0
    if isinstance(agent, IMPALA):  # columns are rollouts: the step before an ignored one is an episode's last
        batch["continues"][:-1] = batch["real"][1:]
    changed = batch | {name: torch.where(real, batch[name], 50.0) for name in ("rewards", "goals", "values", "advantages")}
    changed["log_probabilities"] = torch.where(real, batch["log_probabilities"], -9.0)
    changed["actions"] = torch.where(real, batch["actions"], 4 - batch["actions"])
    if not isinstance(agent, IMPALA):  # there the observation is the episode's last, and its value counts
        changed["inputs"] = torch.where(real[:, None], batch["inputs"], 7.0)

    def learned(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        grads, (loss, _) = torch.func.grad_and_value(lambda params: agent.loss(net, params, batch), has_aux=True)(params)
        return grads | {"loss": loss}

    one, two, other = learned(batch), learned(changed), learned(changed | {"real": torch.ones_like(batch["real"])})
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(other["loss"], one["loss"])


def test_the_loss_of_pqn_by_hand() -> None:
    net, params, batch = made_up(PQN())
    values = net.apply(params, batch["inputs"])[0].tolist()
    squares = [(values[i][int(batch["actions"][i])] - batch["goals"][i].item()) ** 2 / 2 for i in range(24) if batch["real"][i]]
    assert PQN().loss(net, params, batch)[0].item() == pytest.approx(sum(squares) / len(squares), rel=1e-5)


def test_the_loss_of_ppo_is_that_of_a_loop_over_single_steps() -> None:
    """CleanRL's ppo_atari, but with the population deviation of advantages."""
    agent = PPO(clip_range=0.2, entropy_coef=0.03, value_coef=0.7)
    net, params, batch = made_up(agent)
    outputs = net.apply(params, batch["inputs"])[0].double().numpy()
    b = {name: values.double().numpy() for name, values in batch.items()}
    these = [i for i in range(24) if b["real"][i]]
    mean = sum(b["advantages"][i] for i in these) / len(these)
    deviation = (sum((b["advantages"][i] - mean) ** 2 for i in these) / len(these)) ** 0.5
    policy_loss = value_loss = entropy_loss = clipped = 0.0
    for i in these:
        logs = outputs[i, :5] - np.log(np.exp(outputs[i, :5]).sum())
        advantage = (b["advantages"][i] - mean) / (deviation + 1e-8)
        ratio = np.exp(logs[int(b["actions"][i])] - b["log_probabilities"][i])
        policy_loss += max(-advantage * ratio, -advantage * min(max(ratio, 0.8), 1.2)) / len(these)
        change = min(max(outputs[i, 5] - b["values"][i], -0.2), 0.2)
        unclipped_square, clipped_square = (outputs[i, 5] - b["goals"][i]) ** 2, (b["values"][i] + change - b["goals"][i]) ** 2
        value_loss += 0.5 * max(unclipped_square, clipped_square) / len(these)
        entropy_loss += -(np.exp(logs) * logs).sum() / len(these)
        clipped += abs(ratio - 1) > 0.2
    loss, reported = agent.loss(net, params, batch)
    assert loss.item() == pytest.approx(policy_loss - 0.03 * entropy_loss + 0.7 * value_loss, rel=1e-4)
    assert reported["entropy"].item() == pytest.approx(entropy_loss, rel=1e-4) and clipped > 0


def test_the_loss_of_impala_is_that_of_a_loop_over_single_steps() -> None:
    agent = IMPALA(entropy_coef=0.03, value_coef=0.7)
    net, params, batch = made_up(agent)
    batch["continues"][:-1] = batch["real"][1:]
    steps, columns = batch["rewards"].shape
    outputs = net.apply(params, batch["inputs"])[0].double().numpy().reshape(steps + 1, columns, 6)
    b, total = {name: values.double().numpy() for name, values in batch.items()}, 0.0
    logs = outputs[:-1, :, :5] - np.log(np.exp(outputs[:-1, :, :5]).sum(-1, keepdims=True))
    for n in range(columns):
        chosen = np.array([logs[t, n, int(b["actions"][t, n])] for t in range(steps)])
        fields = (b["rewards"][:, n], b["discounts"][:, n], b["continues"][:, n], outputs[:, n, 5], chosen - b["log_probabilities"][:, n])
        column = Column(*(field.tolist() for field in fields), real=[])
        for t in range(steps):
            if b["real"][t, n]:
                total -= vtrace_advantage(column, t, 1.0, 1.0) * chosen[t]
                total += 0.7 * 0.5 * (vtrace_target(column, t, 1.0, 1.0) - outputs[t, n, 5]) ** 2
                total += 0.03 * (np.exp(logs[t, n]) * logs[t, n]).sum()
    assert agent.loss(net, params, batch)[0].item() == pytest.approx(total, rel=1e-4)


def test_policies_are_torchs_categorical_distributions() -> None:
    logits, actions = draw(7, 5) * 3, torch.arange(7) % 5
    torch.testing.assert_close(log_probability(logits, actions), Categorical(logits=logits).log_prob(actions))
    torch.testing.assert_close(entropy(logits), Categorical(logits=logits).entropy())


def test_actions_are_drawn_in_proportion_to_their_probabilities() -> None:
    logits, count = torch.tensor([1.0, -1.0, 0.0, 2.0, -3.0]), 100_000
    uniform = torch.rand(count, 5, generator=torch.Generator().manual_seed(0))
    uniform[:2] = torch.tensor([0.0, 1 - 2**-24])[:, None]  # the largest possible draw
    found = sample(logits.expand(count, 5), uniform)
    assert found[:2].tolist() == [3, 3]
    assert chisquare(found.bincount(minlength=5).numpy(), logits.double().softmax(-1).numpy() * count).pvalue > 0.001


@pytest.mark.parametrize("agent", ["pqn:exploration_fraction=1,final_epsilon=1", "ppo", "impala"])
def test_only_the_heads_of_the_current_task_learn(agent: str) -> None:
    word, _, settings = agent.partition(":")
    said = CARTPOLE | {"agent": ",".join(filter(None, (WORDS[word], settings))), "checkpoint_every": 200}
    found = events(experiment(said | {"benchmark": "cartpole:tasks=2,frames=200,heads=per-task"}))
    first, second = (event.tensors for event in found if isinstance(event, Snapshot))
    for name in [name for name in first if name.startswith("slots/mean/") and not name.startswith("slots/mean/hidden")]:
        before, after = (tensors[name].unflatten(1, (2, -1)) for tensors in (first, second))  # (S, tasks, outputs, ...)
        param_before, param_after = (tensors[name.replace("slots/mean", "params")].unflatten(1, (2, -1)) for tensors in (first, second))
        assert before[:, 0].flatten(1).any(1).all() and not before[:, 1].any()
        assert after[:, 1].flatten(1).any(1).all() and not torch.equal(param_before[:, 1], param_after[:, 1])


@pytest.mark.parametrize(
    ("agent", "problem"),
    [
        ("ppo:num_envs=4,num_pools=3", "4 environments cannot be shared equally by 3 pools"),
        ("pqn:num_envs=4,rollout_length=5,minibatches=3", "20 steps cannot be shared equally by 3 minibatches"),
        ("impala:num_envs=4,minibatches=3", "4 environments cannot be shared equally by 3 minibatches"),
        ("ppo:num_envs=3", "visits of 200 frames are not a multiple of 3, a step of 3 environments; 201 is"),
        ("ppo:num_envs=4", "a visit of 200 frames is too short to learn: a rollout takes 256"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(agent: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        experiment(CARTPOLE | {"agent": agent})
