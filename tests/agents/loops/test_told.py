"""Task changes hidden from the learner."""

from types import SimpleNamespace
from typing import Any

import pytest

from agents.data.replay import Replay
from agents.dqn import DQN
from analysis.data import provenance
from launch.config.parse import experiment
from launch.run.estimate import checkpoint_size
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import word
from plasticity_rl.optim.schedules import Linear
from plasticity_rl.records.events import Score
from tests.training import CARTPOLE, LABELS, events, resumed_is_never_stopped

AGENTS = {"dqn": CARTPOLE["agent"], "ppo": "ppo:num_envs=4,rollout_length=5,minibatches=1,epochs=1"}


def watched(monkeypatch: pytest.MonkeyPatch, agent: str = "dqn", told: str = "false", chain: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """A learner's state in two visits of 200 steps: exploration progress, schedule positions, and replays cleared."""
    seen: dict[str, list[Any]] = {"progress": [], "at": [], "cleared": []}
    epsilon, at, clear = DQN.epsilon, Linear.at, Replay.clear
    monkeypatch.setattr(DQN, "epsilon", lambda self, progress: seen["progress"].append(progress) or epsilon(self, progress))
    monkeypatch.setattr(Linear, "at", lambda self, done, planned: seen["at"].append((done, planned)) or at(self, done, planned))
    monkeypatch.setattr(Replay, "clear", lambda self: seen["cleared"].append(self.size) or clear(self))
    words = CARTPOLE | {"benchmark": f"cartpole:tasks=2,frames=200,told={told}", "agent": AGENTS[agent], "chain": chain}
    events(experiment(words | {"schedule": "linear:rate=1e-3,clock=visit", "probe_updates": 1}))
    monkeypatch.undo()
    return seen | {"at": seen["at"][1:]}  # the first is of probes


def test_nothing_restarts_at_a_task_that_is_not_told(monkeypatch):
    told, untold = watched(monkeypatch, told="true"), watched(monkeypatch)
    steps = [step / 200 for step in range(0, 200, 4)]
    assert told["progress"] == steps + steps and untold["progress"] == [step / 400 for step in range(0, 400, 4)]
    assert len(told["cleared"]) == 1 and untold["cleared"] == []
    # The replay of 40 steps fills once, or once a visit; an update every fourth step.
    assert max(told["at"]) == (39, 40) and max(untold["at"]) == (89, 90)
    assert [done for done, _ in untold["at"]] == sorted(done for done, _ in untold["at"])


def test_a_schedule_of_visits_is_the_runs_with_rollouts_too(monkeypatch):
    told, untold = watched(monkeypatch, "ppo", "true"), watched(monkeypatch, "ppo")
    assert told["at"] == [(update, 10) for update in range(10)] * 2 and untold["at"] == [(update, 20) for update in range(20)]


@pytest.mark.parametrize("chain", [("reset",), ("nap", "reset")])
def test_controls_are_told(monkeypatch, chain):
    assert watched(monkeypatch, chain=chain) == watched(monkeypatch, told="true", chain=chain)


@pytest.mark.parametrize("agent", ["dqn", "ppo"])
def test_methods_that_wait_for_tasks_are_refused(agent):
    words = CARTPOLE | {"agent": AGENTS[agent]}
    for told, benchmark in (("false", "cartpole:tasks=2,frames=200,told=false"), ("true", CARTPOLE["benchmark"])):
        for clock in ("task", "update"):
            said = words | {"benchmark": benchmark, "chain": [f"shrink-and-perturb:clock={clock},every=2"]}
            if (told, clock) == ("false", "task"):
                with pytest.raises(UsageError, match=r"^shrink-and-perturb:.* refreshes at task changes, which CartPole does not report"):
                    experiment(said)
            else:
                experiment(said)


def rates(told: str, *chain: str, clock: str = "visit") -> list[tuple[int, int]]:
    """Schedule positions that a stream of three visits of 40 updates asks for."""
    seen: list[tuple[int, int]] = []
    at = Linear.at
    words = LABELS | {"benchmark": f"{LABELS['benchmark']},told={told}", "schedule": f"linear:rate=1e-3,clock={clock}", "chain": chain}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Linear, "at", lambda self, done, planned: seen.append((done, planned)) or at(self, done, planned))
        events(experiment(words | {"probe_updates": 1}))
    return seen[1:]  # the first is of probes


def test_a_streams_schedule_of_visits_is_the_runs():
    visits, run = [(update, 40) for update in range(40)] * 3, [(update, 120) for update in range(120)]
    assert rates("true") == rates("false", "reset") == visits
    assert rates("false") == rates("false", clock="run") == run


def test_what_restarts_nothing_learns_the_same_untold():
    words = [LABELS | {"benchmark": f"{LABELS['benchmark']},told={told}"} for told in ("true", "false")]
    told, untold = ([each for each in events(experiment(word)) if isinstance(each, Score)] for word in words)
    assert told == untold and len(told) > 10


def test_methods_that_wait_for_a_streams_tasks_are_refused():
    benchmark = f"{LABELS['benchmark']},told=false"
    with pytest.raises(UsageError, match=r"^shrink-and-perturb.* refreshes at task changes, which RandomLabels does not report"):
        experiment(LABELS | {"benchmark": benchmark, "chain": ["shrink-and-perturb"]})
    for chain in (["reset"], ["shrink-and-perturb:clock=update,every=20"]):
        experiment(LABELS | {"benchmark": benchmark, "chain": chain})


@pytest.mark.parametrize("agent", ["dqn", "ppo"])
def test_a_resumed_run_is_one_that_was_never_stopped(agent):
    benchmark = "cartpole:tasks=2,frames=200,shifts=offset+noise+relabel,gradual=0.7,told=false"
    resumed_is_never_stopped(CARTPOLE | {"benchmark": benchmark, "agent": AGENTS[agent]})


def test_words_of_several_values_may_be_none():
    made = experiment(CARTPOLE | {"benchmark": "cartpole:shifts=none,tasks=1,frames=200"})
    assert made.benchmark.shifts == () and word(made.benchmark) == "cartpole:shifts=none,tasks=1,frames=200"


@pytest.mark.parametrize(("words", "expected"), [(",told=false", ()), ("", ("the replay is cleared",))])
def test_a_report_names_what_is_told(words, expected):
    described = experiment(CARTPOLE | {"benchmark": f"cartpole:frames=200{words}"}).to_json()
    assert provenance.told(SimpleNamespace(spec=SimpleNamespace(experiment=described))) == expected


def test_a_replay_that_is_not_cleared_is_estimated_whole():
    sizes = []
    for told in ("true", "false"):
        words = {"benchmark": f"cartpole:tasks=2,frames=200,told={told}", "agent": CARTPOLE["agent"].replace("replay=160", "replay=4000")}
        sizes.append(checkpoint_size(experiment(CARTPOLE | words)))
    assert sizes[1] - sizes[0] > 2 * 200 * 4 * 4  # two members' 200 steps more, of four float32 features at least
