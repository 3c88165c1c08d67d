"""Remote actors on a real local Ray cluster, by the real commands: the same scores as in one process, despite any deaths."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agents.acting import ray_actors
from agents.acting.remote import ActorGroup
from launch.config.parse import experiment
from plasticity_rl.experiment import Experiment
from plasticity_rl.records.events import Metric, Score
from plasticity_rl.records.folder import RunFolder
from plasticity_rl.records.tables import read_rows
from tests.agents.acting.backends import Here
from tests.conftest import Begin
from tests.launch.cluster.test_sweep import CAPTURED, CHECKOUT, ancestors, wait_for
from tests.run_folders import run_paths
from tests.training import events

SMALL: dict[str, Any] = {"network": "mlp:width=12,depth=2", "members": 2, "checkpoint_every": 1000, "actors": 2, "evaluate": 1}
AGENTS = {
    "dqn": "dqn:num_envs=8,batch_size=8,replay=2000,min_replay=200,target_every=50",
    "ppo": "ppo:num_envs=8,rollout_length=16,epochs=1,minibatches=2",
    "impala": "impala:num_envs=8,rollout_length=8",
}
SAID = [SMALL | {"benchmark": "cartpole:tasks=2,frames=2000", "agent": agent} for agent in AGENTS.values()]
SAC = "sac:num_envs=8,batch_size=8,replay=2000,min_replay=200,train_every=8"
SAID += [SMALL | {"benchmark": "envpool:ids=Pendulum-v1,frames=2000", "agent": SAC}]
# A method that kills any process acting with it, except the learner's.
LETHAL = """
import os
from dataclasses import dataclass
from pathlib import Path
from plasticity_rl.interventions import Intervention

@dataclass(frozen=True)
class Lethal(Intervention):
    def build(self):
        if b"RayWorker" in Path("/proc/self/cmdline").read_bytes():
            os.abort()
        return {}
"""

pytestmark = [pytest.mark.ray, pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"), pytest.mark.timeout(300)]


def run(folder: Path, *words: str) -> list[str]:
    """Command of a small, eager run."""
    words = ("run", "--name", "first", "--runs", str(folder), "--network", "mlp:width=12,depth=2", "--members", "1", "--eager", *words)
    return [sys.executable, "-m", "launch", *words]


def actors(session: int) -> list[int]:
    """The acting processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::RayWorker" in (entry / "cmdline").read_bytes() and session in ancestors(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_scores_are_those_of_one_process_also_of_runs_that_were_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: Begin
) -> None:
    sweep = tmp_path / "three.py"
    sweep.write_text(f"EXPERIMENTS = {SAID!r}")
    command = [sys.executable, "-m", "launch", "sweep", str(sweep), "--runs", str(tmp_path / "runs"), "--eager"]
    stopped = begin(command, **CAPTURED)
    wait_for(lambda: [int(path.name) for path in (tmp_path / "runs").glob("three/*/checkpoints/0*")])
    os.killpg(stopped.pid, signal.SIGINT)  # as a terminal does, Ray's processes too
    said, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 130 and "the same command resumes" in said, said
    wait_for(lambda: [1] if not actors(stopped.pid) else [])
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

    def hire(made: Experiment, compile: bool, bootstraps: bool) -> ActorGroup:
        return ActorGroup(Here(made, bootstraps), made.actors)

    monkeypatch.setattr(ray_actors, "hire", hire)
    folders = {RunFolder(folder).read_spec().key: folder for folder in run_paths(tmp_path / "runs")}
    for each in SAID:
        made = experiment(each)
        rows, problems = read_rows(folders[made.key] / "scores.csv", Score)
        assert RunFolder(folders[made.key]).is_done and not problems
        assert rows == [event for event in events(made) if isinstance(event, Score)] != []


def test_killed_actors_are_replaced_and_the_run_goes_on(tmp_path: Path, begin: Begin) -> None:
    agent = AGENTS["dqn"] + ",train_every=20,replay_at_switch=keep"
    words = ["--benchmark", "cartpole:tasks=2,frames=16000", "--agent", agent, "--actors", "2", "--checkpoint-every", "10000"]
    going = begin(run(tmp_path, *words), **CAPTURED)
    killed, took, rows = set(), [], 0

    def written() -> int:
        return sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("first/*/scores.csv"))

    for _ in range(3):
        rows = wait_for(lambda rows=rows: [now] if (now := written()) > rows + 2 else [])[0]
        (one, other) = wait_for(lambda: found if len(found := actors(going.pid)) == 2 else [])
        os.kill(one, signal.SIGKILL)
        killed.add(one)
        began = time.monotonic()
        wait_for(lambda other=other: found if len(found := set(actors(going.pid)) - killed) == 2 and other in found else [])  # type: ignore[arg-type]
        took.append(time.monotonic() - began)
        rows = written() + 8  # possibly still on its way
    said, _ = going.communicate(timeout=120)
    assert going.returncode == 0 and max(took) < 10, said
    (folder,) = run_paths(tmp_path)
    rows, problems = read_rows(folder / "scores.csv", Score)
    assert RunFolder(folder).is_done and not problems
    cuts = [row.steps for row in rows if row.kind == "cut"]
    segments = {10_000, 16_000, 20_000, 30_000, 32_000}  # each ends with eight cuts, and an actor's death with four
    assert all(cuts.count(segment) == 8 for segment in segments)
    assert len(cuts) - 8 * len(segments) in (4, 8, 12)  # fewer, if two died in one rollout
    counters = json.loads(max(folder.glob("checkpoints/0*")).joinpath("counters.json").read_text())
    assert counters["written"] == 32_000 // 8 + len(segments)  # every step once
    deaths = [row.value for row in read_rows(folder / "metrics.csv", Metric)[0] if row.name == "actor_deaths"]
    assert max(deaths) == 3


def test_an_actor_that_always_dies_ends_the_run_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "lethal.py").write_text(LETHAL)
    words = ["--benchmark", "cartpole:frames=2000", "--agent", AGENTS["ppo"], "--actors", "1", "--plugin", "lethal"]
    words = run(tmp_path / "runs", *words, "--chain", "lethal.Lethal")[3:]
    once = f"import sys; from agents.acting import remote; from launch.__main__ import main; remote.DEATHS = 1; sys.exit(main({words}))"
    done = subprocess.run(
        [sys.executable, "-c", once],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 4 and last.startswith("error: actor 0 died again and again, 2 deaths"), done.stderr


def test_an_address_without_a_cluster_and_one_without_actors_are_refused(tmp_path: Path) -> None:
    words = ["--benchmark", "cartpole:frames=2000", "--agent", AGENTS["ppo"], "--address", "127.0.0.1:1"]
    for more, wrong in (([], "give their number with --actors"), (["--actors", "2"], "no Ray cluster answers at 127.0.0.1:1")):
        done = subprocess.run(run(tmp_path, *words, *more), cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and wrong in done.stderr, done.stderr
        assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_actor_killed_every_five_seconds_for_two_minutes(tmp_path: Path, begin: Begin) -> None:
    """The run continues: each killed actor is replaced within ten seconds; every step is stored once."""
    words = ["--benchmark", "cartpole:tasks=1,frames=100000000", "--agent", AGENTS["dqn"] + ",train_every=20", "--checkpoint-every", "5000"]
    going = begin(run(tmp_path, *words, "--actors", "2"), **CAPTURED)
    wait_for(lambda: list(tmp_path.glob("first/*/checkpoints/0*")))  # type: ignore[arg-type]
    killed, took, until = set[int](), [], time.monotonic() + 120
    while (began := time.monotonic()) < until:
        alive = sorted(set(actors(going.pid)) - killed)
        os.kill(alive[len(took) % 2], signal.SIGKILL)
        killed.add(alive[len(took) % 2])
        wait_for(lambda: [1] if len(set(actors(going.pid)) - killed) == 2 or going.poll() is not None else [])
        took.append(time.monotonic() - began)
        assert going.poll() is None, going.communicate()
        time.sleep(max(began + 5 - time.monotonic(), 0))
    os.kill(going.pid, signal.SIGINT)
    said, _ = going.communicate(timeout=120)
    assert going.returncode == 130 and max(took) < 10, said
    (folder,) = run_paths(tmp_path)
    counters = json.loads(max(folder.glob("checkpoints/0*")).joinpath("counters.json").read_text())
    # One row per step, and the last frames of each segment.
    assert counters["written"] == counters["number"] // 8 + counters["number"] // 5000 and counters["number"] > 5000
    rows, problems = read_rows(folder / "scores.csv", Score)
    assert not problems
    cuts = [row.steps for row in rows if row.kind == "cut" and row.steps <= counters["number"]]
    assert all(cuts.count(segment) == 8 for segment in range(5000, counters["number"] + 1, 5000))
    deaths = max(row.value for row in read_rows(folder / "metrics.csv", Metric)[0] if row.name == "actor_deaths")
    assert 0 <= len(took) - deaths <= 3  # except after the last row
    print(f"{len(took)} kills, {counters['number']:,} steps, a new actor after {max(took):.1f} s at most")
