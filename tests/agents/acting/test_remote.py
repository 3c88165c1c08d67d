"""Remote actors without Ray: who plays what, with which weights, and what becomes of it when somebody dies. All of it in this process."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from agents.acting import ray_actors
from agents.acting.messages import ActorsLost, Died, RemoteRollout, RolloutId, RolloutRequest, flat
from agents.acting.remote import DEATHS, FORGIVEN, ActorGroup
from agents.acting.worker import RolloutWorker
from agents.data.replay import Replay
from agents.data.transitions import StepType
from agents.dqn import DQN
from agents.heads import log_probability
from agents.impala import IMPALA
from agents.loops.replay import HIGHEST, ReplayLoop
from agents.loops.rollout import RolloutLoop
from agents.ppo import PPO
from envs.sequences import Visit, sequence
from launch.__main__ import main
from launch.bench.actors import ENVIRONMENTS as ENVIRONMENTS_OF_BENCH
from launch.bench.actors import Stub, run
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.optim.schedules import Constant
from plasticity_rl.records.events import Metric
from tests.training import CARTPOLE, Counted, Counting, comparable, events, resumed_is_never_stopped, scores

MEMBERS, ENVIRONMENTS, ACTORS, UNROLL = 2, 6, 3, 5
WIDTH = ENVIRONMENTS // ACTORS
AGENTS = {
    "dqn": CARTPOLE["agent"] + ",rollout_length=3",
    "rainbow": "rainbow:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10,rollout_length=4",
    "pqn": "pqn:num_envs=4,rollout_length=8,epochs=1,minibatches=2",
    "ppo": "ppo:num_envs=4,rollout_length=8,epochs=1,minibatches=2,rewards=scale",
    "impala": "impala:num_envs=4,rollout_length=8,minibatches=2",
}


class Here:
    """A stage in this process, whose newest order is played first. `dies` are the (actor, sequence, incarnation) that never come."""

    def __init__(self, made: Experiment, bootstraps: bool, dies: set[tuple[int, int, int]] | None = None, twice: bool = False) -> None:
        self._made, self._bootstraps, self._dies, self._twice = made, bootstraps, dies or set(), twice
        self._players: dict[int, RolloutWorker] = {}
        self._asked: list[tuple[np.ndarray, RolloutRequest]] = []
        self._again: list[RemoteRollout] = []
        self.weights: dict[RolloutId, np.ndarray] = {}
        self.started: list[tuple[int, int]] = []
        self.cramps: list[int] = []
        self.closed = False

    def start(self, actor: int, incarnation: int) -> None:
        self.started.append((actor, incarnation))
        self._players[actor] = RolloutWorker(self._made, actor, incarnation, False, self._bootstraps)

    def cramped(self) -> list[int]:
        found, self.cramps = self.cramps, []
        return found

    def publish(self, weights: np.ndarray) -> np.ndarray:
        weights = weights.copy()
        weights.flags.writeable = False  # as Ray's
        return weights

    def ask(self, weights: np.ndarray, request: RolloutRequest) -> None:
        assert len([each for _, each in self._asked if each.id.actor == request.id.actor]) < 2
        self._asked.append((weights, request))

    def next(self) -> RemoteRollout | Died:
        if self._again:
            return self._again.pop()
        weights, request = self._asked.pop()
        actor, incarnation, sequence, _ = request.id
        if (actor, sequence, incarnation) in self._dies:
            return Died(actor, incarnation, "killed")
        self.weights[request.id] = weights
        unroll = self._players[actor].play(weights, request)
        if self._twice:
            late = unroll._replace(id=request.id._replace(incarnation=incarnation + 7), rewards=unroll.rewards + 100)
            self._again = [unroll._replace(rewards=unroll.rewards + 100), late]
        return unroll

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class Two(Counted):
    """Two tasks, told apart by their frames: those of the second are negative."""

    names: ClassVar[tuple[str, ...]] = ("up", "down")

    def visits(self) -> tuple[Visit, ...]:
        return sequence(self.names, self.frames)

    def pool(self, visit: Visit, seeds: np.ndarray, threads: int, seed: int) -> Counting:
        return Falling(seeds.size) if visit.task == "down" else Counting(seeds.size)


class Falling(Counting):
    def _step(self, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, first: np.ndarray) -> Any:
        step = super()._step(rewards, terminated, truncated, first)
        return step._replace(observations=-1 - step.observations)


def made(agent: Any, frames: int, benchmark: type = Counted, **more: Any) -> Experiment:
    return Experiment(benchmark(frames), agent, MLP(width=4, depth=1), Adam(), Constant(), members=MEMBERS, actors=ACTORS, **more)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Here]]:
    """Runs find their actors here."""
    kept: list[Here] = []

    def hire(experiment: Experiment, compile: bool, bootstraps: bool) -> ActorGroup:
        kept.append(Here(experiment, bootstraps))
        return ActorGroup(kept[-1], experiment.actors)

    monkeypatch.setattr(ray_actors, "hire", hire)
    yield kept
    assert all(stage.closed for stage in kept)


@pytest.mark.parametrize("agent", list(AGENTS))
def test_a_resumed_run_is_one_that_was_never_stopped(agent: str, stages: list[Here]) -> None:
    whole = resumed_is_never_stopped(CARTPOLE | {"agent": AGENTS[agent], "actors": 2, "evaluate": 1})
    inline = events(experiment(CARTPOLE | {"agent": AGENTS[agent], "evaluate": 1}))
    for kind in ("cut", "evaluation"):  # as many, of the same steps and updates
        mine, theirs = ([replace_score(row) for row in scores(found, kind)] for found in (whole, inline))
        assert sorted(mine) == sorted(theirs) != []


def replace_score(row: Any) -> Any:
    return row._replace(score=0.0)


@pytest.mark.parametrize("agent", ["dqn", "ppo"])
def test_what_arrives_again_or_from_the_dead_is_dropped(agent: str) -> None:
    found = []
    for twice in (False, True):
        what = experiment(CARTPOLE | {"agent": AGENTS[agent], "actors": 2})
        loop = (ReplayLoop if agent == "dqn" else RolloutLoop)(what.agent, what, "cpu", False)
        loop.actors = ActorGroup(Here(what, loop.bootstraps, twice=twice), 2)
        found.append(comparable([event for event in loop.run(None) if not hasattr(event, "tensors")]))
    assert found[0] == found[1]


class Watched(RolloutLoop):
    """A loop on `Counting`; batches are kept, and every update moves all weights by one thousandth."""

    def __init__(self, agent: Any, unrolls: int, checkpoint_every: int = 10**6, dies: set[tuple[int, int, int]] | None = None) -> None:
        what = made(agent, unrolls * UNROLL * ENVIRONMENTS, checkpoint_every=checkpoint_every)
        super().__init__(agent, what, "cpu", False)
        self.stage = Here(what, self.bootstraps, dies)
        self.actors = ActorGroup(self.stage, ACTORS)
        self.learned: list[dict[str, torch.Tensor]] = []
        self.found = list(self.run(None))

    def learn(self, visit: Any, batches: list[dict[str, torch.Tensor]], *extras: Any) -> Iterator[Any]:  # type: ignore[override]
        self.learned.extend(batches)
        self.learner.ticks["update"] += len(batches)
        for param in self.learner.net.params.values():
            param.add_(1e-3 * len(batches))
        yield from ()


@pytest.mark.parametrize(("agent", "updates"), [(PPO, 6), (IMPALA, 2)])
def test_weights_are_those_from_before_the_unroll_that_was_learned_from_last(agent: Any, updates: int) -> None:
    more: Any = dict(epochs=3) if agent is PPO else {}
    loop = Watched(
        agent(num_envs=ENVIRONMENTS, rollout_length=UNROLL, minibatches=2, **more), 6, checkpoint_every=4 * UNROLL * ENVIRONMENTS
    )
    versions = [0, 0, 1, 2, 4, 4]  # unrolls learned from; the second leg begins with the fifth
    assert sorted({(tag.sequence, tag.version) for tag in loop.stage.weights}) == [
        (UNROLL * place, updates * version) for place, version in enumerate(versions)
    ]
    assert len(loop.stage.weights) == ACTORS * len(versions) and {tag.incarnation for tag in loop.stage.weights} == {0}
    born = flat({name: param - 1e-3 * 6 * updates for name, param in loop.learner.net.params.items()})
    for tag, weights in loop.stage.weights.items():
        np.testing.assert_allclose(weights, born + 1e-3 * tag.version, atol=1e-6)


def test_unrolls_are_put_together_in_the_actors_order_and_probabilities_are_those_of_the_weights_that_acted() -> None:
    loop = Watched(IMPALA(num_envs=ENVIRONMENTS, rollout_length=UNROLL, rewards="raw"), 4)
    assert len(loop.learned) == 4
    names = sorted(loop.learner.net.params)
    for place, batch in enumerate(loop.learned):
        inputs = batch["inputs"].view(MEMBERS, UNROLL + 1, ENVIRONMENTS, 4, 1)
        for member in range(MEMBERS):
            for column in range(ENVIRONMENTS):
                actor, rest = divmod(column, WIDTH)
                local = member * WIDTH + rest  # each actor's pool numbers its own environments
                weights, begins, params = loop.stage.weights[RolloutId(actor, 0, place * UNROLL, max(place - 1, 0))], 0, {}
                for name in names:
                    stacked = loop.learner.net.params[name]
                    params[name] = torch.tensor(weights[begins : begins + stacked.numel()]).view_as(stacked)[member]
                    begins += stacked.numel()
                for t in range(UNROLL + 1):
                    assert inputs[member, t, column, -1, 0] == 1000 * local + place * UNROLL + t
                    if t == UNROLL:
                        continue
                    count = place * UNROLL + t + 1
                    ignored = count % (5 + local % 5) == 0
                    assert batch["real"][member, t, column] == (not ignored)
                    assert batch["rewards"][member, t, column] == (0 if ignored else count)
                    logits = loop.network.apply(params, inputs[member, t, column][None])[0][:, :-1]
                    expected = log_probability(logits, batch["actions"][member, t, column][None])[0]
                    torch.testing.assert_close(batch["log_probabilities"][member, t, column], expected, rtol=1e-5, atol=1e-5)


def test_ppo_learns_from_the_values_and_probabilities_of_its_actors() -> None:
    agent = PPO(num_envs=ENVIRONMENTS, rollout_length=UNROLL, epochs=1, minibatches=1, rewards="raw")
    found = []
    for what in (agent, IMPALA(num_envs=ENVIRONMENTS, rollout_length=UNROLL, rewards="raw")):  # weights move alike in both
        found.append(torch.stack([batch["log_probabilities"].flatten(1).sort(-1).values for batch in Watched(what, 4).learned]))
    torch.testing.assert_close(*found)
    loop = Watched(agent, 4)
    for place, batch in enumerate(loop.learned):
        weights = loop.stage.weights[RolloutId(0, 0, place * UNROLL, max(place - 1, 0))]
        delta = float(weights[0]) - flat(loop.learner.net.params)[0]
        params = {name: param + delta for name, param in loop.learner.net.params.items()}
        for member in range(MEMBERS):
            one = {name: param[member] for name, param in params.items()}
            values = loop.network.apply(one, batch["inputs"][member])[0][:, -1]
            torch.testing.assert_close(batch["values"][member], values, rtol=1e-4, atol=1e-3)


def replay_loop(
    dies: set[tuple[int, int, int]], benchmark: type = Counted, frames: int = 240, **more: Any
) -> tuple[ReplayLoop, Here, list]:
    agent = DQN(
        num_envs=ENVIRONMENTS, batch_size=4, replay=600, min_replay=30, rollout_length=UNROLL, rewards="raw", final_epsilon=1.0, **more
    )
    what = made(agent, frames, benchmark, checkpoint_every=10**6)
    loop = ReplayLoop(agent, what, "cpu", False)
    stage = Here(what, loop.bootstraps, dies)
    loop.actors = ActorGroup(stage, ACTORS)
    return loop, stage, list(loop.run(None))


def test_replay_holds_what_was_played_row_by_row() -> None:
    loop, stage, _ = replay_loop(set())
    data, real = loop.replay.data, loop.replay.real.values
    assert loop.replay.written == 240 // ENVIRONMENTS + 1 and len(stage.weights) == 8 * ACTORS
    for row in range(loop.replay.written - 1):
        for member in range(MEMBERS):
            for column in range(ENVIRONMENTS):
                local = member * WIDTH + column % WIDTH
                length = 4 + local % 5
                over, ignored = (row + 2) % (length + 1) == 0, (row + 1) % (length + 1) == 0
                assert data["frames"][row, member, column, 0] == 1000 * local + row
                assert data["ages"][row, member, column] == min(row % (length + 1), 3)
                assert data["rewards"][row, member, column] == (0 if ignored else row + 1)
                ends = 0 if not over else 2 if local % 2 else 1
                assert data["step_type"][row, member, column] == (ends or 2 * (row == loop.replay.written - 2))
                assert real[member, row * ENVIRONMENTS + column] == (not ignored)


def test_updates_are_as_many_as_without_actors_and_versions_are_an_unroll_old() -> None:
    loop, stage, _ = replay_loop(set())
    done = {}
    for step in range(ENVIRONMENTS, 240 + 1, ENVIRONMENTS):  # an update every 4 steps, once 30 are held whose outcome is known
        rows = step // ENVIRONMENTS
        due = step // 4 - (step - ENVIRONMENTS) // 4
        done[rows] = done.get(rows - 1, 0) + due * ((rows - 1) * ENVIRONMENTS >= 30)
    assert loop.learner.ticks["update"] == done[40]
    versions = {tag.sequence: tag.version for tag in stage.weights}
    assert versions == {sequence: done.get(sequence - UNROLL, 0) for sequence in range(0, 40, UNROLL)}


def test_the_dead_are_replaced_and_their_episodes_cut_where_the_unroll_before_ended() -> None:
    junction = 4 * UNROLL
    loop, stage, found = replay_loop({(1, junction, 0), (1, junction, 1), (2, 0, 0)})
    assert stage.started[ACTORS:] == [(2, 1), (1, 1), (1, 2)]
    assert sorted(tag[:3] for tag in stage.weights) == sorted(
        (actor, (1 if actor == 2 else 2 * (actor == 1 and step >= junction)), step)
        for actor in range(ACTORS)
        for step in range(0, 40, UNROLL)
    )
    data, real = loop.replay.data, loop.replay.real.values.view(MEMBERS, -1)[:, : 41 * ENVIRONMENTS].view(MEMBERS, 41, ENVIRONMENTS)
    for member in range(MEMBERS):
        for column in range(WIDTH, 2 * WIDTH):
            local = member * WIDTH + column % WIDTH
            frames = data["frames"][:, member, column, 0] - 1000 * local
            assert frames[: junction + 1].tolist() == list(range(junction + 1))  # the frame that the last step led to is there
            assert frames[junction + 1 : 40].tolist() == list(range(40 - junction - 1))  # and nothing leads on from it
            assert data["step_type"][junction - 1, member, column] != 0 and real[member, junction, column] == 0
            assert data["ages"][junction + 1, member, column] == 0
    cut = [row for row in scores(found, "cut") if row.steps == junction * ENVIRONMENTS]
    assert len(cut) == MEMBERS * WIDTH
    for row, (member, rest) in zip(cut, ((member, rest) for member in range(MEMBERS) for rest in range(WIDTH)), strict=True):
        length, paid = 4 + (member * WIDTH + rest) % 5, 0
        for count in range(1, junction + 1):
            paid = 0 if count % (length + 1) in (0, length) else paid + count  # nothing in the step that ends it or follows its end
        assert (row.member, row.score) == (member, paid)
    deaths = [(event.steps, event.member, event.value) for event in found if isinstance(event, Metric) and event.name == "actor_deaths"]
    assert deaths == [(0, 0, 1), (0, 1, 1), (junction * ENVIRONMENTS, 0, 3), (junction * ENVIRONMENTS, 1, 3)]
    sampled, index = loop.replay.sample(torch.rand(MEMBERS, 4000, 2), 3, 0.5)
    rows, columns = index // ENVIRONMENTS, index % ENVIRONMENTS
    near = (rows < junction) & (rows >= junction - 3) & (columns // WIDTH == 1)
    steps_on = (sampled["next_inputs"][:, :, -1, 0] - sampled["inputs"][:, :, -1, 0])[near]
    assert near.sum() > 50 and steps_on.min() >= 1 and steps_on.max() <= 3  # never into the new pool's numbers


def test_an_unroll_of_a_replacement_is_learned_from_but_for_its_first_step() -> None:
    loop = Watched(IMPALA(num_envs=ENVIRONMENTS, rollout_length=UNROLL, rewards="raw"), 4, dies={(0, 2 * UNROLL, 0)})
    for place, batch in enumerate(loop.learned):
        inputs = batch["inputs"].view(MEMBERS, UNROLL + 1, ENVIRONMENTS, 4, 1)[:, :, :WIDTH, -1, 0]
        local = (torch.arange(MEMBERS)[:, None] * WIDTH + torch.arange(WIDTH)) * 1000
        counts = (inputs - local[:, None]).movedim(1, -1)
        before = torch.arange(place * UNROLL, (place + 1) * UNROLL + 1.0)
        if place >= 2:
            before = before - 2 * UNROLL - 1
            before[0] = 2 * UNROLL if place == 2 else before[0]
        assert torch.equal(counts, before.expand_as(counts))
        if place == 2:
            assert (batch["real"][:, 0, :WIDTH] == 0).all() and (batch["rewards"][:, 0, :WIDTH] == 0).all()
            assert (batch["real"][:, 1, :WIDTH] == 1).all() and (batch["rewards"][:, 1, :WIDTH] == 1).all()


def test_who_dies_again_and_again_ends_the_run_and_unrolls_forgive() -> None:
    with pytest.raises(ActorsLost, match=r"actor 2 died again and again, 6 deaths .* the last: killed"):
        replay_loop({(2, UNROLL, incarnation) for incarnation in range(DEATHS + 1)})
    replay_loop({(2, UNROLL, incarnation) for incarnation in range(DEATHS)})
    unrolls = round(1 / FORGIVEN)
    replay_loop({(2, UNROLL, each) for each in range(DEATHS)} | {(2, UNROLL * (1 + unrolls), DEATHS)})
    with pytest.raises(ActorsLost):
        replay_loop({(2, UNROLL, each) for each in range(DEATHS)} | {(2, UNROLL * unrolls, DEATHS)})


def test_no_frame_of_a_task_is_stored_under_another_and_pools_end_with_a_visit() -> None:
    loop, stage, _ = replay_loop({(0, 40, 0)}, Two, 240, replay_at_switch="keep")
    tasks, frames = loop.replay.data["task"][:82], loop.replay.data["frames"][:82, :, :, 0]
    real = loop.replay.real.values[:, : 82 * ENVIRONMENTS].view(MEMBERS, 82, ENVIRONMENTS).movedim(0, 1)
    assert loop.replay.written == 82 and (real.sum() > 500)
    assert torch.equal(tasks[real > 0] == 1, frames[real > 0] < 0)
    assert (frames[:41] >= 0).all() and (frames[41:] < 0).all()
    assert all(player._actor is None for player in stage._players.values())


def test_actors_have_streams_and_environments_of_their_own() -> None:
    what = experiment(CARTPOLE | {"agent": "ppo:num_envs=4,rollout_length=8,epochs=1,minibatches=2", "actors": 2})
    visit = what.benchmark.visits()[0]
    request = RolloutRequest(RolloutId(0, 0, 0, 0), visit, 0, 200, 0, 8, False, False, np.ones(2, np.float32))
    played = {}
    for actor, incarnation in ((0, 0), (0, 1), (1, 0), (0, 0)):
        player = RolloutWorker(what, actor, incarnation, False, True)
        weights = np.zeros(sum(param.numel() for param in player._params.values()), np.float32)
        unroll = player.play(weights, request)
        key = unroll.outputs["actions"].tobytes(), unroll.frames[0].tobytes()
        assert played.setdefault((actor, incarnation), key) == key
        assert unroll.frames.flags.c_contiguous and unroll.frames.shape == (9, 2, 2, 4)
        again = player.play(weights, request._replace(id=RolloutId(0, 0, 8, 0), follows=True, last=True))
        np.testing.assert_array_equal(again.frames[0], unroll.frames[8])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        first, second = list(played.values())[one], list(played.values())[other]
        assert first[0] != second[0] and first[1] != second[1]


def test_the_benchmark_counts_steps_and_the_time_in_which_the_learner_waits(stages: list[Here]) -> None:
    torch.manual_seed(0)
    quick, slow = (run(Stub(seconds), 1, 0.5) for seconds in (0.0, 0.05))
    assert slow.learning is not None and quick.learning is not None and 0 <= slow.learning <= 1
    assert slow.speed < ENVIRONMENTS_OF_BENCH / 0.05 and slow.learning < quick.learning
    assert main(["bench", "actors", "--actors", "0"]) == main(["bench", "actors", "--seconds", "0"]) == 2


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"benchmark": "random-labels", "actors": 1}, "Supervised does not act"),
        ({"benchmark": "cartpole", "actors": 3}, "8 environments cannot be shared equally by 3 actors"),
        ({"benchmark": "cartpole", "agent": "ppo:num_pools=2", "actors": 2}, "with actors, num_pools must be 1"),
        ({"benchmark": "cartpole", "actors": -1}, "actors must lie in"),
        ({"benchmark": "cartpole", "agent": "dqn:rollout_length=0"}, "rollout_length must lie in"),
    ],
)
def test_what_cannot_be_is_refused(said: dict[str, Any], wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        experiment(said)


def test_actors_are_part_of_what_a_run_is() -> None:
    one = experiment({"benchmark": "cartpole"})
    two = experiment({"benchmark": "cartpole", "actors": 2})
    assert one.key != two.key and one.setting != two.setting and two == replace(one, actors=2)
    assert Experiment.from_json(two.to_json()) == two


class TestFirstPriorities:
    """What a remote actor makes of its own steps, before the learner has seen them (Ape-X)."""

    @pytest.mark.parametrize("value", ["scalar", "c51", "two-hot", "iqn"])
    @pytest.mark.parametrize("steps", [1, 3])
    def test_they_are_the_losses_of_an_update_that_looked_at_the_same(self, value: Any, steps: int) -> None:
        """Against `DQN.loss` on transitions that a plain loop finds, the acting network being its own target."""
        agent = DQN(
            num_envs=2, replay=100, min_replay=8, value=value, num_atoms=7, fractions=8, n_step=steps, discount=0.9, priority_exponent=1.0
        )
        what = made(DQN(num_envs=6, replay=100, min_replay=8), 240)
        network, _ = assemble(what.network, what.optimizer, (), what.benchmark.inputs, agent.heads(what.benchmark))
        draw = torch.Generator().manual_seed(0)
        params = network.init(draw)
        length, width = 9, 2
        seen = torch.randn(length + 1, width, 4, 1, generator=draw)
        shared = {"epsilon": torch.tensor(0.5), "task": torch.tensor(0)}
        said = [agent.act(network, params, each, {"uniform": torch.rand(width, 2, generator=draw)}, shared) for each in seen]
        actions, outputs = (torch.stack([each[name] for each in said]) for name in ("actions", "outputs"))
        rewards = torch.randn(length, width, generator=draw)
        ends = torch.zeros(length, width, dtype=torch.int64)
        ends[2, 0], ends[4, 1], ends[7, 1] = StepType.TERMINATED, StepType.TRUNCATED, StepType.TERMINATED
        rows = []
        for t in range(length):
            for column in range(width):
                total, power, at = 0.0, 1.0, t
                for _ in range(steps):
                    if at == length:
                        break
                    total += power * float(rewards[at, column])
                    power *= 0.9 * (ends[at, column] != StepType.TERMINATED)
                    at += 1
                    if ends[at - 1, column] != StepType.CONTINUES:
                        break
                rows.append((seen[t, column], actions[t, column], total, float(power), seen[at, column]))
        inputs, taken, returns, discounts, after = zip(*rows, strict=True)
        batch = {
            "inputs": torch.stack(inputs),
            "actions": torch.stack(taken),
            "returns": torch.tensor(returns),
            "discounts": torch.tensor(discounts),
            "next_inputs": torch.stack(after),
            "weights": torch.ones(len(rows)),
            "task": torch.zeros(len(rows), dtype=torch.int64),
        }
        if value == "iqn":
            batch["fractions"] = ((torch.arange(8) + 0.5) / 8).expand(3, len(rows), 8)
        expected = agent.loss(network, params, batch, params)[1]["errors"].view(length, width)
        torch.testing.assert_close(agent.first_errors(outputs, actions[:-1], rewards, ends), expected)
        if value == "iqn":  # a learner that asks at twice as many fractions sums over twice as many
            wider = replace(agent, fractions=16)
            torch.testing.assert_close(wider.first_errors(outputs, actions[:-1], rewards, ends), 2 * expected)

    def test_they_stand_in_the_replay_until_a_step_is_replayed(self) -> None:
        loop, _, _ = replay_loop(set(), priority_exponent=1.0, v_max=1e4)
        known = loop.replay.priorities
        assert known is not None
        real = loop.replay.real.values > 0
        assert (known.values[~real] == 0).all()
        found = known.values[real]
        assert found.max() <= HIGHEST and found.unique().numel() > 20  # without actors' losses all that were not replayed would be alike
        fresh = Replay(1, 2, 20, (1,), "float32", 1, True, "cpu")
        nothing = torch.zeros(1, 2, dtype=torch.int64)
        fresh.write_frames(torch.zeros(1, 2, 1), nothing, nothing, 0)
        fresh.write_outcome(nothing.float(), nothing, torch.tensor([[True, False]]), torch.tensor([[0.25, 7.0]]))
        assert fresh.priorities is not None and fresh.priorities.values[0, :2].tolist() == [0.25, 0.0]

    def test_rewards_are_judged_as_the_learner_will_learn_from_them(self) -> None:
        """A network of zeros expects nothing, so the loss of a step is that of its reward."""
        for rewards, scale, expected in (("raw", 1.0, [1.5, 2.5]), ("clip", 1.0, [0.5, 0.5]), ("scale", 2.0, [0.5, 1.0])):
            what = made(DQN(num_envs=6, replay=100, min_replay=8, priority_exponent=1.0, rewards=rewards), 240)  # type: ignore[arg-type]
            player = RolloutWorker(what, 0, 0, False, True)
            weights = np.zeros(sum(param.numel() for param in player._params.values()), np.float32)
            scales = np.full(MEMBERS, scale, np.float32)
            tag = RolloutId(0, 0, 0, 0)
            unroll = player.play(weights, RolloutRequest(tag, what.benchmark.visits()[0], 0, 240, 0, 5, False, False, scales))
            # rewards are 1, 2, ...; the second and the third step's Huber losses: half a square up to 1, then the number less a half
            assert "outputs" not in unroll.outputs
            assert unroll.outputs["errors"][1:3, 0, 0].tolist() == pytest.approx(expected)


class InTurn(Here):
    """A stage whose actors play what they were asked for in order; what a dead one was asked for is gone with it."""

    def start(self, actor: int, incarnation: int) -> None:
        super().start(actor, incarnation)
        self._asked = [each for each in self._asked if each[1].id.actor != actor]

    def ask(self, weights: np.ndarray, request: RolloutRequest) -> None:
        assert len([each for _, each in self._asked if each.id.actor == request.id.actor]) < 2
        self._asked.insert(0, (weights, request))


class TestFreeRunning:
    def loop(self, dies: set[tuple[int, int, int]]) -> tuple[ReplayLoop, InTurn, list]:
        agent = DQN(num_envs=ENVIRONMENTS, batch_size=4, replay=600, min_replay=30, rollout_length=UNROLL, rewards="raw", final_epsilon=1.0)
        what = made(agent, 240, checkpoint_every=120, diagnose_every=10, free_running=True)
        loop = ReplayLoop(agent, what, "cpu", False)
        stage = InTurn(what, False, dies)
        loop.actors = ActorGroup(stage, ACTORS)
        return loop, stage, list(loop.run(None))

    def test_two_unrolls_are_ahead_and_their_lag_is_told(self) -> None:
        loop, stage, found = self.loop(set())
        done = {}
        for step in range(ENVIRONMENTS, 240 + 1, ENVIRONMENTS):
            rows = step // ENVIRONMENTS
            due = step // 4 - (step - ENVIRONMENTS) // 4
            done[rows] = done.get(rows - 1, 0) + due * ((rows - 1 + (step > 120)) * ENVIRONMENTS >= 30)
        legs = (0, 20)
        expected = {}
        for leg in legs:  # the first two of a leg are asked for at its start; then one as each is taken
            for place in range(4):
                expected[leg + place * UNROLL] = (
                    done.get(leg + max(place - 2, 0) * UNROLL, 0) if leg else done.get(max(place - 2, 0) * UNROLL, 0)
                )
        versions = {tag.sequence: tag.version for tag in stage.weights}
        assert versions == expected
        lags = [event.value for event in found if isinstance(event, Metric) and event.name == "policy_lag_highest" and event.member == 0]
        assert max(lags) == max(done[sequence] - version for sequence, version in versions.items() if sequence) and len(lags) > 1
        assert loop.replay.written == 240 // ENVIRONMENTS + 2  # every step once, and the last frames of two legs

    def test_all_that_a_dead_actor_had_before_it_is_played_by_the_next(self) -> None:
        loop, stage, found = self.loop({(1, 5, 0)})
        assert stage.started[ACTORS:] == [(1, 1)]
        assert sorted(tag[:3] for tag in stage.weights) == sorted(
            (actor, int(actor == 1 and sequence >= 5), sequence) for actor in range(ACTORS) for sequence in range(0, 40, UNROLL)
        )
        assert loop.replay.written == 240 // ENVIRONMENTS + 2
        assert len([row for row in scores(found, "cut") if row.steps == 5 * ENVIRONMENTS]) == MEMBERS * WIDTH

    @pytest.mark.parametrize(
        ("said", "wrong"),
        [
            ({"agent": "ppo", "actors": 2}, "PPO does not correct for the lag of its actors: free_running is for dqn and impala"),
            ({"agent": "dqn"}, "free_running is of remote actors, and actors is 0"),
            ({"agent": "dqn", "actors": 2, "free_running": "yes"}, "free_running"),
        ],
    )
    def test_what_cannot_run_freely_is_refused(self, said: dict[str, Any], wrong: str) -> None:
        with pytest.raises(UsageError, match=wrong):
            experiment({"benchmark": "cartpole", "free_running": True} | said)
