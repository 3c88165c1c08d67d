"""Nodes that go and come, and a small object store, on a real Ray cluster of several nodes: runs go on, and throughput follows.

One cluster serves all tests, since it takes longer to begin than to use; it lives in a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
STORE = 80_000_000  # bytes, of each node
CLUSTER = """
import json, sys, threading, time
from pathlib import Path
from launch.join import prepare_ray
prepare_ray(None)
import ray
from ray.cluster_utils import Cluster
from agents.dqn import DQN
from agents.off_policy import ReplayLoop
from launch import on_ray
from launch.bench.actors import Stub
from launch.words import experiment
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks import MLP
from plasticity_rl.optimizers import SGD
from plasticity_rl.runs import Tick
from plasticity_rl.schedules import Constant
from ray._private.internal_api import memory_summary

STORE, folder = int(sys.argv[1]), Path(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=0, object_store_memory=STORE, include_dashboard=False))
nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
ray.init(address=cluster.address, log_to_driver=False)
found = {}



def act():
    # Every unroll of an actor has 16 x 8 frames of 84 x 84, 0.9 MB; the weights, 28,224 x 32, 3.6 MB.
    agent = DQN(environments=16, batch=2, train_every=1024, replay=4000, min_replay=64, unroll=16, target_every=10)
    what = Experiment(Stub(0.0), agent, MLP(width=32, depth=1), SGD(), Constant(), members=1, actors=2, free_running=True, checkpoint_every=10_240)
    loop = ReplayLoop(agent, what, "cpu", False)
    events, lost, sharing = loop.run(None), 0.0, []
    for event in events:
        if not isinstance(event, Tick):
            continue
        if not lost and event.steps >= 3000:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            lost = time.monotonic()
        elif lost and loop.crew.deaths and "recovery" not in found and event.steps >= 6000:
            found["recovery"] = time.monotonic() - lost
            sharing.append(len(loop.crew._stage._sharing))
            nodes.append(cluster.add_node(num_cpus=1, object_store_memory=STORE))
        if event.steps >= 12_000 and "recovery" in found and not loop.crew._stage._sharing:
            sharing.append(len(loop.crew._stage._sharing))
            break
    found["summary"] = memory_summary(stats_only=True)
    events.close()
    found.update(deaths=loop.crew.deaths, sharing=sharing, steps=event.steps, written=loop.replay.written)


class Row(on_ray.Row):
    said = []

    def say(self, state):
        super().say(state)
        Row.said.append((self.spec.seed, state, time.monotonic()))


def wait_for(what, seconds=90):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, Row.said
        time.sleep(0.1)


def running():
    last = {seed: state for seed, state, _ in Row.said}
    return [seed for seed, state in last.items() if state.startswith("runs on")]


def sweep():
    words = dict(benchmark="random-labels:tasks=2,updates=1500", network="mlp:width=12,depth=2", members=1, checkpoint_every=250)
    experiments = [experiment(words | dict(seed=seed)) for seed in (0, 1)]
    codes = []
    arguments = experiments, folder, "nodes", False, False, cluster.address, 1.0, 0.0, 3, Row
    thread = threading.Thread(target=lambda: codes.append(on_ray.run_sweep(*arguments)))
    thread.start()
    wait_for(lambda: len(running()) == 2)
    wait_for(lambda: len(list(folder.glob("nodes/*/checkpoints/0*"))) >= 2)
    before = len(Row.said)
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    wait_for(lambda: any(state.startswith("lost its worker") for _, state, _ in Row.said))
    time.sleep(2)
    found["while_one_is_gone"] = len(running())
    nodes.append(cluster.add_node(num_cpus=1, object_store_memory=STORE))
    added = time.monotonic()
    wait_for(lambda: any(state.startswith("runs on") for _, state, _ in Row.said[before:]))
    found["followed"] = time.monotonic() - added
    thread.join(timeout=120)
    found["code"] = codes
    found["done"] = len(list(folder.glob("nodes/*/DONE")))


try:
    act()
    sweep()
    print("FOUND" + json.dumps(found))
finally:
    ray.shutdown()
    cluster.shutdown()
"""

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="Ray joins several nodes on Linux alone"), pytest.mark.timeout(290)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came to pass on a cluster of a head and two nodes of one processor."""
    around = {name: value for name, value in os.environ.items() if not name.startswith("RAY_") or name == "RAY_TMPDIR"}
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER, str(STORE), str(tmp_path_factory.mktemp("nodes"))],
        cwd=CHECKOUT,
        env=around | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-12000:]
    return json.loads(done.stdout.rpartition("FOUND")[2])


def test_actors_of_a_lost_node_share_what_is_left_until_another_comes(found: dict[str, Any]) -> None:
    assert found["deaths"] == 1 and found["recovery"] < 60
    assert found["sharing"] == [1, 0]


def test_an_object_store_of_80_mb_is_enough(found: dict[str, Any]) -> None:
    """More than 80 MB of frames alone went through it, and nothing had to be spilled to the disk."""
    assert found["steps"] * 84 * 84 > STORE and found["written"] >= found["steps"] // 16
    assert "Spilled" not in found["summary"], found["summary"]


def test_a_sweep_has_as_many_runs_under_way_as_there_are_nodes(found: dict[str, Any]) -> None:
    assert found["while_one_is_gone"] == 1 and found["followed"] < 60
    assert found["code"] == [0] and found["done"] == 2
