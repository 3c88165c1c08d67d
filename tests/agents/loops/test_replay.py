"""Updates per environment step of replay agents: their number, what they learn from, resuming, refusals, keys."""

from typing import Any, cast

import pytest
import torch

from agents.dqn import DQN
from agents.loops.replay import ReplayLoop
from launch.__main__ import main
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Metric, Tick
from tests.training import CARTPOLE, comparable, events, one_by_one_is_in_a_row, resumed_is_never_stopped

OFTEN = CARTPOLE["agent"] + ",train_every=1,updates_per_step=3"
PRIORITISED = "rainbow:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10,num_atoms=11,train_every=1,updates_per_step=3"


def ticks(said: dict[str, Any]) -> list[Tick]:
    return [event for event in events(experiment(said)) if isinstance(event, Tick)]


@pytest.mark.parametrize(("train_every", "per_step"), [(4, 1), (1, 1), (1, 3), (1, 64)])
def test_updates_are_counted_per_step_of_a_member(train_every: int, per_step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two visits of 200 steps of four environments; updates wait for 40 steps in the replay, which a task change clears."""
    made = experiment(CARTPOLE | {"agent": f"{CARTPOLE['agent']},train_every={train_every},updates_per_step={per_step}"})
    monkeypatch.setattr("plasticity_rl.training.learner.Learner.updates", counting(made))
    last = [event for event in events(made) if isinstance(event, Tick)][-1]
    # The step that resets an environment is no transition, so that the fortieth comes at most two pool steps, 8 steps, later.
    waited = 400 - last.updates * train_every / per_step
    assert last.steps == 400 and 80 <= waited <= 80 + 2 * 8
    planned = [ReplayLoop(cast(DQN, made.agent), made, "cpu", False).planned_updates(visit) for visit in made.benchmark.visits()]
    assert planned == [160 // train_every * per_step] * 2


def counting(made: Experiment) -> Any:
    """`Learner.updates` that counts and reports, and learns nothing: many updates in no time."""

    def updates(self: Any, rates: Any, batches: Any, *extras: Any, measure: bool = False) -> Any:
        self._last["inputs"] = batches[-1]["inputs"]
        self.ticks["update"] += len(batches)
        some = torch.zeros(made.members)
        return [{"loss": some, "value": some, "errors": torch.zeros(made.members, 8)} for _ in batches]

    return updates


@pytest.mark.parametrize("agent", [OFTEN, PRIORITISED], ids=["dqn", "rainbow"])
def test_a_resumed_run_is_one_that_was_never_stopped(agent: str) -> None:
    whole = resumed_is_never_stopped(CARTPOLE | {"agent": agent, "chain": ["redo:every=7", "reset:part=network,clock=update,every=100"]})
    assert max(event.updates for event in whole if isinstance(event, Tick)) > 800


def test_updates_in_a_row_are_those_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one_by_one_is_in_a_row(CARTPOLE | {"agent": OFTEN, "chain": ["reset:clock=update,every=31"]}, monkeypatch)


def test_updates_after_a_step_are_those_of_more_steps_from_one_replay() -> None:
    """Once nothing is added to the replay, three updates a step are three times the steps at one: the first ones after it was filled."""
    found = {}
    for per_step in (1, 3):
        agent = f"{CARTPOLE['agent']},train_every=1,updates_per_step={per_step}"
        rows = events(experiment(CARTPOLE | {"agent": agent, "diagnose_every": 1}))
        found[per_step] = [event.value for event in rows if isinstance(event, Metric) and event.name == "loss" and event.updates <= 4]
    assert found[1] == found[3] and len(found[1]) == 4 * CARTPOLE["members"]  # four environments: four updates after the first step


def test_ticks_come_as_often_as_updates_make_steps_slow() -> None:
    """Every 50 steps of the pool at one update a step of an environment, every 16 at three."""
    steps = [tick.steps for tick in ticks(CARTPOLE | {"agent": OFTEN, "checkpoint_every": 200})]
    assert steps == [64, 128, 192, 200, 256, 320, 384, 400]


def test_one_update_a_step_is_the_run_of_before() -> None:
    plain, said = (experiment(CARTPOLE | {"agent": CARTPOLE["agent"] + more}) for more in ("", ",updates_per_step=1"))
    assert plain == said and "updates_per_step" not in plain.to_json()["agent"][1]
    assert comparable(events(plain)) == comparable(events(said))


def test_a_field_that_came_later_leaves_the_keys_as_they_were() -> None:
    """The keys of two experiments from before the field."""
    assert experiment({"benchmark": "cartpole"}).key == "86bbac51cf95d823"
    assert experiment({"benchmark": "atari", "agent": "rainbow", "network": "nature:precision=float32"}).key == "35a1be1322868249"
    often = experiment({"benchmark": "cartpole", "agent": "dqn:train_every=1,updates_per_step=8"})
    assert often.to_json()["agent"][1]["updates_per_step"] == 8 and Experiment.from_json(often.to_json()) == often


def test_several_updates_a_step_and_several_steps_an_update_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="several updates a step, and train_every=4 several steps an update; set train_every=1"):
        DQN(updates_per_step=2)
    assert main(["run", "--name", "x", "--benchmark", "cartpole", "--agent", "dqn:updates_per_step=16"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "set train_every=1, or leave updates_per_step at 1" in error
    with pytest.raises(UsageError, match="updates_per_step"):
        DQN(train_every=1, updates_per_step=0)


def test_a_reset_of_one_network_copies_it_alone_into_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"benchmark": "gymnasium:ids=Pendulum-v1,frames=400", "agent": "sac:min_replay=100,batch_size=16,num_envs=4", "members": 1}
    chain = ["critic.layer-norm", "actor.redo", "critic1.reset:clock=update,every=50", "temperature.reset:clock=update,every=50"]
    made = experiment(said | {"network": "mlp:width=8,depth=2", "chain": chain})
    loop = ReplayLoop(made.agent, made, "cpu", False)
    assert [each.parts for each in loop.learner.scopes] == [("critic0", "critic1"), ("actor",), ("critic1",), ("temperature",)]
    assert {layer.name for layer in loop.network.layers if layer.scale} == {f"critic{i}.hidden{j}" for i in (0, 1) for j in (0, 1)}
    before = {name: tensor.clone() for name, tensor in loop.target.items()}
    for param in loop.learner.net.params.values():
        param.add_(1)
    monkeypatch.setattr(loop.learner, "due", lambda clock: made.chain[2:3])
    loop.refreshed("update")
    for name, tensor in loop.target.items():
        assert torch.equal(tensor, loop.learner.net.params[name] if name.startswith("critic1.") else before[name]), name
    assert "temperature" in loop.target
