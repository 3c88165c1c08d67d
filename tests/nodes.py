"""Two actors on a real Ray cluster with changing nodes, each with an object store of 80 MB. `python -m tests.nodes` prints, as JSON,
the node of each rollout and how full the stores were; test_nodes.py has the conditions on both.

It is a process of its own, since a cluster's settings are read when Ray is imported.
"""

# ruff: noqa: E402 - Ray's settings precede its import

import json
import time
from typing import Any

from launch.ray_cluster import prepare_ray

prepare_ray(None)

import ray
from ray._private import state
from ray._private.internal_api import node_stats
from ray.cluster_utils import Cluster

from agents.acting.messages import RemoteRollout
from agents.acting.ray_actors import RayActors
from agents.acting.remote import ActorGroup
from agents.dqn import DQN
from agents.loops.replay import ReplayLoop
from launch.bench.actors import Stub
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import SGD
from plasticity_rl.optim.schedules import Constant
from plasticity_rl.records.events import Tick

STORE = 80_000_000  # bytes of each node's object store
NUM_ENVS, ROLLOUT, WIDTH = 16, 16, 32
ROUNDS, LAST = 8, 30  # minimum rollouts of both actors in each part of the story, and in its last part
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300}  # a connection refused five times is a node lost


class Late(RayActors):
    """Count the CPUs of a lost node once more, as Ray does if an actor's death is known before its node's."""

    lies = 0

    def _roomy(self) -> bool:
        if self.lies:
            self.lies -= 1
            return True
        return super()._roomy()


class Observed(ActorGroup):
    """Record the nodes of the rollouts learned from."""

    def __init__(self, backend: Late) -> None:
        self.rollouts: list[tuple[int, int, str]] = []
        """actor, sequence, node"""
        self.backend, self._places = backend, dict[tuple[int, int], str]()
        super().__init__(backend, 2)

    def gather(self) -> list[RemoteRollout]:
        came = super().gather()
        for actor, incarnation, sequence, _ in (each.id for each in came):
            if (actor, incarnation) not in self._places:
                handle: Any = self.backend._actors[actor][1]
                self._places[actor, incarnation] = state.actors(handle._actor_id.hex())["Address"]["NodeID"]
            self.rollouts.append((actor, sequence, self._places[actor, incarnation]))
        return came

    def nodes(self, rounds: int) -> list[str]:
        """The nodes of the last so many rollouts of both."""
        return [node for _, _, node in self.rollouts[-2 * rounds :]]


def begun() -> tuple[Cluster, list[Any]]:
    """Start a head that runs no tasks, and two nodes of one CPU."""
    head = dict(num_cpus=0, object_store_memory=STORE, include_dashboard=False, _system_config=QUICK)
    cluster = Cluster(initialize_head=True, head_node_args=head)
    return cluster, [add(cluster) for _ in range(2)]


def add(cluster: Cluster) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=STORE)


def replay_loop() -> tuple[ReplayLoop, Observed]:
    """A learner with two free-running actors, and their nodes."""
    agent = DQN(num_envs=NUM_ENVS, batch_size=2, train_every=1024, replay=4000, min_replay=64, rollout_length=ROLLOUT, target_every=10)
    numbers: Any = dict(actors=2, members=1, free_running=True, checkpoint_every=2560, diagnose_every=10**6)
    made = Experiment(Stub(0.0), agent, MLP(width=WIDTH, depth=1), SGD(), Constant(), **numbers)
    loop = ReplayLoop(agent, made, "cpu", False)
    loop.actors = group = Observed(Late(made, False, loop.bootstraps))
    return loop, group


def main() -> None:
    """Remove a node, and add another once its actor plays elsewhere."""
    cluster, nodes = begun()
    ray.init(address=cluster.address, log_to_driver=False)
    loop, group = replay_loop()
    found: dict[str, Any] = {"pinned": 0, "spilled": 0, "fallback": 0, "kept": nodes[0].node_id, "lost": nodes[1].node_id}
    events, removed = loop.run(None), 0.0
    for event in events:
        if not isinstance(event, Tick):
            continue
        for node in (cluster.head_node, *nodes):
            full = node_stats(node.node_ip_address, node.node_manager_port, include_memory_info=False).store_stats
            found["pinned"] = max(found["pinned"], full.object_store_bytes_primary_copy)
            found["spilled"] += full.spilled_bytes_total
            found["fallback"] += full.object_store_bytes_fallback
        if len(nodes) == 2 and "removed" not in found and len(group.rollouts) >= 2 * ROUNDS:
            found["removed"], removed = len(group.rollouts), time.monotonic()
            group.backend.lies = 1
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        elif len(nodes) == 1 and group.deaths and found["lost"] not in group.nodes(ROUNDS):
            found["recovered"] = time.monotonic() - removed
            nodes.append(add(cluster))
            found["new"] = nodes[1].node_id
        elif "new" in found and group.nodes(LAST).count(found["new"]) == LAST:
            break
    found |= dict(rollouts=group.rollouts, deaths=group.deaths, steps=loop.steps, written=loop.replay.written)
    events.close()  # type: ignore[attr-defined]
    print("FOUND" + json.dumps(found))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
