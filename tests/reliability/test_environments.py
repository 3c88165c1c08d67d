"""Promise: environments that crash or hang are begun anew, and the run goes on as if nothing had happened; within a budget, then exit 4."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.acting.actor import RESTARTS
from envs.reinforcement.backends.pool import EnvironmentFailed
from envs.reinforcement.backends.watchdog import WATCHDOG
from envs.reinforcement.isolation import Containment, contain, containment
from launch.bench.reliability import faulty_envs
from launch.config.parse import experiment
from plasticity_rl import plugins
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Metric
from tests.training import comparable, events

PPO = "ppo:num_envs=2,rollout_length=8,epochs=1,minibatches=2"
DQN = "dqn:num_envs=2,batch_size=8,replay=160,min_replay=40,target_every=10"


def made(
    log: Path, fault: str = "none", at: int = 21, times: int = 1, agent: str = PPO, env: str = "Faulty-v0", **more: object
) -> Experiment:
    """A run of two members with two environments each on an environment with a fault."""
    kwargs = f"fault={fault};at={at};times={times};log={log}"
    described = {"agent": agent, "network": "mlp:width=12,depth=2", "members": 2, "diagnose_every": 20, "checkpoint_every": 60}
    benchmark = f"gymnasium:ids={env},frames=160,kwargs={kwargs}"
    return experiment(described | {"benchmark": benchmark} | more)


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environments' module is a plugin, which other processes import; how pools are contained ends with the test."""
    monkeypatch.setattr(plugins, "_allowed", [faulty_envs.__name__])
    before = containment()
    yield
    contain(before)


def restarts(found: list) -> list[float]:
    return [event.value for event in found if isinstance(event, Metric) and event.name == "environment_restarts"]


def without_restarts(found: list) -> list:
    return comparable([event for event in found if not (isinstance(event, Metric) and event.name == "environment_restarts")])


@pytest.mark.parametrize("agent", [PPO, DQN])
@pytest.mark.parametrize(("fault", "times"), [("raise", 1), ("raise", RESTARTS), ("shape", 1)])
def test_a_failing_environment_is_opened_anew(fault: str, times: int, agent: str, tmp_path: Path) -> None:
    sound = events(made(tmp_path / "log", agent=agent))
    with pytest.warns(UserWarning, match=r"the environments failed and were opened anew in .*(KeyError: 'fault|shape)"):
        found = events(made(tmp_path / "log", fault, times=times, agent=agent))
    assert without_restarts(found) == comparable(sound) and not restarts(sound)
    assert restarts(found)[:2] == [times, times]


@pytest.mark.parametrize(
    ("fault", "times", "message"),
    [
        ("same", 2, r"failed twice at step 2\d .*KeyError: 'fault' \(.*faulty_envs\.py, line \d+\)"),
        ("raise", RESTARTS + 1, "failed 4 times"),
    ],
)
def test_the_budget_ends(fault: str, times: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match=message):
        events(made(tmp_path / "log", fault, times=times))


def test_environments_that_do_not_repeat_themselves_are_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="the same seeds and actions gave other observations"):
        events(made(tmp_path / "log", "raise", times=1, env="Unseeded-v0"))


@pytest.mark.process
@pytest.mark.parametrize(
    ("fault", "said"), [("none", ""), ("raise", "KeyError: 'fault 0'"), ("abort", "ended by SIGABRT"), ("hang", "no answer for 3 s")]
)
def test_isolated_environments_are_the_same_and_survive_more(
    fault: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sound = events(made(tmp_path / "log"))
    contain(Containment(isolate=True, patience=3))
    if fault == "none":
        assert comparable(events(made(tmp_path / "log"))) == comparable(sound)
        return
    began = time.monotonic()
    with pytest.warns(UserWarning, match=said):
        found = events(made(tmp_path / "log", fault))
    assert without_restarts(found) == comparable(sound) and restarts(found)[0] == 1
    assert time.monotonic() - began < 60


@pytest.mark.process
def test_a_process_with_a_hanging_environment_ends_in_one_line(tmp_path: Path) -> None:
    """Without --isolate nothing else can be done: the environment hangs in the thread that would go on."""
    code = (
        "from pathlib import Path; from tests.reliability.test_environments import *; plugins.allow([faulty_envs.__name__])\n"
        f"contain(Containment(patience=2)); events(made(Path({str(tmp_path / 'log')!r}), 'hang'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 4
    assert done.stderr.strip() == (
        "error: an environment did not answer for 2 s; the same command resumes from the last checkpoint, and --isolate begins such "
        "environments anew"
    )


def test_a_call_that_ends_in_time_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("the process would have ended"))
    monkeypatch.setattr(WATCHDOG, "patience", 2.0)
    for _ in range(3):
        with WATCHDOG.over():
            time.sleep(1.2)
