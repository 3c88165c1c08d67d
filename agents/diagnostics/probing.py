"""Probes of a run: targets that copies of its networks learn, and their rows of metrics.csv."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast, get_args

import torch
from torch import Tensor

from agents.acting.random_streams import RandomStreams
from agents.base import Agent
from agents.data.replay import Replay
from envs.supervised.base import Tasks
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.layers import HeadSpec
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Metric
from plasticity_rl.seeds import members_of
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.probes import Kind, Outcome, Probe, Regression, squared_error
from plasticity_rl.training.update import Batch

FUNCTIONS: tuple[Kind, ...] = get_args(Kind)
TASKS = ("next", "first")
"""targets on streams: the task of the next visit (absent in the last visit) and of the first visit"""
TARGETS = (*FUNCTIONS, *TASKS)
ACTOR_CRITIC = ("policy", "value")
"""names under which losses of the heads of a policy and of values are reported apart"""
OBSERVATIONS = 1024
"""maximum number of latest observations on which functions are learned; our choice"""
SEEN = "seen"
"""name in a checkpoint of the observations of the last rollout, which runs with probes keep"""

Batches = Callable[[int], Batch]


class Probing:
    """Probes of one experiment's learner: `updates` on each of `targets`, with `functions` random functions of each kind. By default all
    targets, but `scaled` only of agents that learn from rewards.

    The schedule restarts for each probe, as for a visit of `updates` updates. Batches are as large as the run's.
    """

    def __init__(
        self,
        learner: Learner,
        experiment: Experiment,
        updates: int,
        targets: Sequence[str] | None = None,
        functions: int = 1,
        compile: bool = True,
    ) -> None:
        self._learner, self._experiment, self._functions, self._compile = learner, experiment, functions, compile
        self._apart = _apart(learner.network.heads)
        targets = targets or [target for target in TARGETS if target != "scaled" or experiment.benchmark.supervision == "rewards"]
        self._kinds: tuple[Kind, ...] = tuple(kind for kind in FUNCTIONS if kind in targets)
        self._tasks = tuple(task for task in TASKS if task in targets)
        self._rates = [experiment.schedule.at(update, updates) for update in range(updates)]
        self._probes: dict[tuple[str, int], Probe] = {}

    def outcomes(
        self, visit: int, observations: Tensor, watch: Callable[[Batches], Batches] = lambda batches: batches
    ) -> dict[str, Outcome]:
        """Losses of copies of the networks on each target, at visit number `visit`, (S,) each, averaged over a target's functions; with
        a policy and a value, also those of their outputs alone, as `teacher/policy`.

        Functions are learned on `observations` (S, n, *shape); `watch` may wrap the batches to observe them.
        """
        learner, found, watch = self._learner, dict[str, Outcome](), watch or (lambda batches: batches)
        if self._kinds:
            batch = observations.shape[1] if learner.inputs is None else learner.inputs.shape[1]
            data = Regression(learner, observations, self._kinds, self._functions, len(self._rates), batch, self._heads(visit))
            probe = self._probe("functions", squared_error(learner.network), len(self._kinds) * self._functions)
            heads = tuple(head for each in self._apart.values() for head in each)
            by_head = probe.by_head(watch(data.batch), self._rates, heads)
            named = {"loss": by_head["loss"]} | {name: mean(by_head[head] for head in each) for name, each in self._apart.items()}
            for head, outcome in named.items():
                of_kinds = [losses.unflatten(0, (len(self._kinds), -1)).mean(1) for losses in outcome]
                for number, kind in enumerate(self._kinds):
                    found[kind if head == "loss" else f"{kind}/{head}"] = Outcome(*(losses[number] for losses in of_kinds))
        if tasks := self._visits(visit):
            agent = cast(Agent, self._experiment.agent)
            probe = self._probe("tasks", lambda params, batch: agent.loss(learner.network, params, batch), len(tasks))
            outcome = probe(watch(self._stream_batches(list(tasks.values()))), self._rates)
            found |= {task: Outcome(*(losses[number] for losses in outcome)) for number, task in enumerate(tasks)}
        return found

    def rows(self, where: dict[str, Any], observations: Tensor) -> Iterator[Metric]:
        """Rows of metrics.csv for the current networks; `where` holds a row's leading columns without the member. Copies with a non-finite
        loss are skipped. A head alone has rows of its final losses only, `probe_policy` and `probe_value`."""
        for probed, outcome in self.outcomes(where["visit"], observations).items():
            target, _, head = probed.partition("/")
            named = {"final": outcome.final, "mean": outcome.mean, "final_fresh": outcome.fresh_final, "mean_fresh": outcome.fresh_mean}
            if head:
                named = {head: outcome.final, f"{head}_fresh": outcome.fresh_final}
            for kind, losses in named.items():
                for member, loss in enumerate(losses.tolist()):
                    if math.isfinite(loss):
                        yield Metric(member=member, **where, name=f"probe_{kind}/{target}", value=loss)

    def _probe(self, what: str, loss: Any, targets: int) -> Probe:
        """Return a cached Probe, so that each is compiled once."""
        if (what, targets) not in self._probes:
            self._probes[what, targets] = Probe(self._learner, loss, targets, self._compile)
        return self._probes[what, targets]

    def _heads(self, visit: int) -> int:
        """Index of the task whose heads are probed."""
        benchmark: Any = self._experiment.benchmark
        return benchmark.names.index(benchmark.visits()[visit].task) if benchmark.supervision == "rewards" else 0

    def _visits(self, visit: int) -> dict[str, int]:
        """Visits whose tasks are learned, by target: none on games, where data must be collected by acting."""
        benchmark = self._experiment.benchmark
        if benchmark.supervision != "labels":
            return {}
        there = {"first": 0} | ({"next": visit + 1} if visit + 1 < len(benchmark.visits()) else {})
        return {task: there[task] for task in self._tasks if task in there}

    def _stream_batches(self, visits: list[int]) -> Batches:
        """Batches of several visits, stacked along a new first axis; of their tasks alone where tasks change gradually."""
        alone = replace(self._experiment, benchmark=replace(cast(Any, self._experiment.benchmark), gradual=0.0))
        streams = [stream_of(alone, self._learner.device) for _ in visits]

        def batches(update: int) -> Batch:
            each = [stream.batch(visit, update) for stream, visit in zip(streams, visits, strict=True)]
            return {name: torch.stack([batch[name] for batch in each])[:, None] for name in each[0]}

        return batches


def _apart(heads: HeadSpec) -> dict[str, tuple[str, ...]]:
    """Name of each kind of output that is reported apart -> its heads; none where there is no policy beside values."""
    names = {name for name, _ in heads.heads}
    if heads.critics:
        return dict(zip(ACTOR_CRITIC, (tuple(sorted(names - {*heads.critics})), heads.critics), strict=True))
    return {name: (name,) for name in ACTOR_CRITIC} if names == set(ACTOR_CRITIC) else {}


def mean(outcomes: Iterable[Outcome]) -> Outcome:
    """The mean of the losses of several heads."""
    return Outcome(*(torch.stack(losses).mean(0) for losses in zip(*outcomes, strict=True)))


def stream_of(experiment: Experiment, device: str) -> Any:
    """Open a stream of the experiment's members, separate from the run's own."""
    return cast(Tasks, experiment.benchmark).open(members_of(experiment.seed, experiment.members), experiment.agent.batch_size, device)


def seen_of_stream(experiment: Experiment, device: str, visit: int, updates: int) -> Tensor:
    """Latest observations of a stream, (S, n, *shape), within a visit after `updates` of its updates."""
    stream, batches = stream_of(experiment, device), list[Tensor]()
    for update in reversed(range(updates)):
        batches.append(stream.batch(visit, update)["inputs"])
        if sum(batch.shape[1] for batch in batches) >= OBSERVATIONS:
            break
    return torch.cat(batches, 1)[:, :OBSERVATIONS]


def seen_of_replay(replay: Replay, streams: RandomStreams, update: int, network: Network) -> Tensor:
    """Inputs of the network (S, n, *shape) drawn uniformly from the replay: observations, with the actions where critics read them."""
    batch = replay.sample(streams.uniform(update, "probe", OBSERVATIONS, 2), steps=1, discount=1.0)[0]
    return torch.cat([batch["inputs"], batch["actions"]], -1) if network.heads.actions else batch["inputs"]
