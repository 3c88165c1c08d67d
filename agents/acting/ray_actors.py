"""Remote actors on Ray: processes on any node of the cluster that this process has joined. Only this module imports Ray, when needed."""

from typing import Any

import numpy as np
import torch

from agents.acting.messages import ActorsLost, Died, RemoteRollout, RolloutRequest
from agents.acting.remote import ActorGroup
from agents.acting.worker import RolloutWorker
from envs.reinforcement.isolation import Containment, contain, containment
from plasticity_rl import plugins
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment

LENGTH = 160  # maximum characters of Ray's reason for a death
NEWS = "news"  # concurrency group by which weights reach a free-running actor
PATIENCE = 1.0  # seconds per wait, so that Python handles signals


def hire(experiment: Experiment, compile: bool, bootstraps: bool) -> ActorGroup:
    """Start a run's actors on the Ray cluster that this process has joined. Raises UsageError if it has joined none."""
    return ActorGroup(RayActors(experiment, compile, bootstraps), experiment.actors)


class RayActors:
    """ActorBackend on Ray."""

    def __init__(self, experiment: Experiment, compile: bool, bootstraps: bool) -> None:
        import ray

        if not ray.is_initialized():
            raise UsageError("remote actors need a Ray cluster, and this process has joined none: ray.init() comes first")
        self._ray: Any = ray
        self._about = (plugins.allowed(), containment(), experiment, compile, bootstraps)
        self._count, self._sharing = experiment.actors, set[int]()
        self._free = experiment.free_running
        groups = {"concurrency_groups": {NEWS: 1}} if self._free else {}  # weights arrive while a rollout is played
        self._class = self._ray.remote(max_restarts=0, max_task_retries=0, **groups)(RayWorker)
        self._actors: dict[int, tuple[int, Any, Any]] = {}  # incarnation, handle, reference that is ready once the actor runs
        self._asked: dict[Any, tuple[int, Any, RolloutRequest]] = {}  # reference of a rollout -> incarnation, weights, request

    def start(self, actor: int, incarnation: int) -> None:
        self._end(actor)
        # If the cluster has too few CPUs, the actor requests none: it then starts at once and shares one.
        self._sharing.discard(actor)
        if not self._roomy():
            self._sharing.add(actor)
        made = self._class.options(num_cpus=0 if actor in self._sharing else 1, scheduling_strategy="SPREAD")
        handle = made.remote(self._about, actor, incarnation)
        self._actors[actor] = incarnation, handle, handle.__ray_ready__.remote()

    def cramped(self) -> list[int]:
        return sorted(self._sharing) if self._sharing and self._roomy() else []

    def publish(self, weights: np.ndarray) -> Any:
        return self._ray.put(weights)

    def ask(self, weights: Any, request: RolloutRequest) -> None:
        incarnation, handle, _ = self._actors[request.id.actor]
        if self._free:
            handle.take.options(concurrency_group=NEWS).remote(weights, request.id.version)
        self._asked[handle.play.remote(weights, request)] = incarnation, weights, request

    def next(self) -> RemoteRollout | Died:
        found: list[Any] = []
        while not found:
            found, _ = self._ray.wait(list(self._asked), timeout=PATIENCE)
            if not found and not self._roomy():
                self._share()
        incarnation, _, request = self._asked.pop(found[0])
        actor = request.id.actor
        try:
            return self._ray.get(found[0])
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UsageError | FloatingPointError):
                raise type(error.cause)(str(error.cause)) from error
            raise ActorsLost(f"actor {actor} failed: {type(error.cause).__name__}: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())
            return Died(actor, incarnation, reason[max(reason.find("The actor is dead"), 0) :][:LENGTH] or type(error).__name__)

    def close(self) -> None:
        for actor in list(self._actors):
            self._end(actor)

    def _roomy(self) -> bool:
        return self._ray.cluster_resources().get("CPU", 0) >= self._count

    def _share(self) -> None:
        """Restart actors that wait for a CPU lost with its node, now sharing one."""
        for actor, (incarnation, _, begun) in list(self._actors.items()):
            if actor not in self._sharing and not self._ray.wait([begun], timeout=0)[0]:
                again = [(weights, request) for _, weights, request in self._asked.values() if request.id.actor == actor]
                self.start(actor, incarnation)
                for each in again:
                    self.ask(*each)

    def _end(self, actor: int) -> None:
        self._asked = {reference: about for reference, about in self._asked.items() if about[-1].id.actor != actor}
        _, handle, _ = self._actors.pop(actor, (0, None, None))
        if handle and self._ray.is_initialized():  # else the actors are gone with it, and `kill` would join another cluster
            self._ray.kill(handle)


class RayWorker:
    """RolloutWorker as a Ray actor."""

    def __init__(self, about: tuple[tuple[str, ...], Containment, Experiment, bool, bool], actor: int, incarnation: int) -> None:
        allowed, contained, experiment, compile, bootstraps = about
        plugins.allow(allowed)
        contain(contained)
        self._worker = RolloutWorker(experiment, actor, incarnation, compile, bootstraps)
        self._newest: tuple[np.ndarray, int] | None = None

    def play(self, weights: np.ndarray, request: RolloutRequest) -> RemoteRollout:
        """Play a rollout, with newer weights if they have arrived."""
        torch.set_num_threads(1)  # a per-thread setting, and free-running actors play in another thread than the constructor's
        torch.set_flush_denormal(True)  # as in the learner's process
        if (newest := self._newest) and newest[1] > request.id.version:
            weights, request = newest[0], request._replace(id=request.id._replace(version=newest[1]))
        return self._worker.play(weights, request)

    def take(self, weights: np.ndarray, version: int) -> None:
        """Store newer weights for the next rollout."""
        self._newest = weights, version
