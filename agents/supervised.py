"""Supervised learning on a stream of labelled tasks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.diagnostics import Diagnostics
from plasticity_rl.checkpoint import Event, Snapshot
from plasticity_rl.checks import check
from plasticity_rl.experiment import Experiment
from plasticity_rl.interventions import assemble
from plasticity_rl.learner import Learner
from plasticity_rl.networks import Network, Params
from plasticity_rl.runs import Score, Tick
from plasticity_rl.seeds import members_of


@dataclass(frozen=True)
class Supervised:
    """Cross-entropy on the stream as it comes; the score is online accuracy, measured on each batch before it is learned from."""

    batch: int = 32
    """examples of one update, of each member"""
    record_every: int = 50
    """updates whose mean accuracy makes a row of scores"""

    learns_from: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        check(self, batch="[1, inf)", record_every="[1, inf)")

    def fit(self, benchmark: Any) -> None:
        """Every stream fits."""

    def ends(self, benchmark: Any) -> int:
        """One head, of a number for each class."""
        return benchmark.outputs

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Of ONE network: inputs (batch, *shape), labels (batch,)."""
        logits, _ = network.apply(params, batch["inputs"])
        return F.cross_entropy(logits, batch["labels"]), {"accuracy": (logits.argmax(-1) == batch["labels"]).float().mean()}

    def train(self, experiment: Experiment, device: str, compile: bool, resume: Snapshot | None) -> Iterator[Event]:
        """The run, as what it reports. Raises FloatingPointError at the first row whose loss is not finite."""
        benchmark, seed, members = experiment.benchmark, experiment.seed, experiment.members
        stream = benchmark.open(members_of(seed, members), self.batch, device)
        network, optimizer = assemble(experiment.network, experiment.optimizer, experiment.chain, benchmark.inputs, self.ends(benchmark))
        learner = Learner(
            network, lambda params, batch: self.loss(network, params, batch), optimizer, experiment.chain, members, seed, device, compile
        )
        window = torch.zeros(2, members, device=device)  # sums of accuracy and loss since the last row
        if resume:
            learner.load(resume.tensors, resume.facts["ticks"])
            window.copy_(resume.tensors["window"])
        diagnostics = Diagnostics(learner, experiment.diagnose_every)
        visits, total = benchmark.visits(), sum(visit.budget for visit in benchmark.visits())
        start = 0
        for visit in visits:
            end = start + visit.budget
            if visit.index > learner.ticks["task"]:
                learner.task_boundary()
            while (done := learner.ticks["update"]) < end:
                batch = stream.batch(visit.index, done - start)
                progress = (done, total) if experiment.schedule.clock == "run" else (done - start, visit.budget)
                measured = diagnostics.due
                reported = learner.update(experiment.schedule.at(*progress), batch, measure=measured)
                window += torch.stack([reported["accuracy"], reported["loss"]])
                done += 1
                where = dict(visit=visit.index, task=visit.task, cycle=visit.cycle, frames=0, steps=done, updates=done)
                if measured:
                    yield from diagnostics.rows(where, reported)
                since = (done - start) % self.record_every
                if since == 0 or done == end:
                    yield from self._scores(where, window / (since or self.record_every))
                    window.zero_()
                    yield Tick(**where)
                if done % experiment.checkpoint_every == 0 or done == total:
                    yield Snapshot(learner.tensors() | {"window": window}, {"number": done, "ticks": learner.ticks})
            start = end

    def _scores(self, where: dict, means: Tensor) -> Iterator[Score]:
        accuracies, losses = means.tolist()
        for member, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True)):
            if loss - loss != 0:  # inf or NaN
                raise FloatingPointError(f"the loss of member {member} is {loss} after {where['updates']} updates")
            yield Score(member=member, **where, kind="online", score=accuracy)
