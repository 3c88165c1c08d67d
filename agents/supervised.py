"""Supervised learning on a stream of labelled tasks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from agents import together
from agents.diagnostics import Diagnostics
from plasticity_rl.checkpoint import Event, Snapshot
from plasticity_rl.checks import check
from plasticity_rl.experiment import Experiment
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
        for _, event in self.train_together((experiment,), device, compile, resume and (resume,)):
            if isinstance(event, FloatingPointError):
                raise event
            yield event

    def train_together(
        self, experiments: Sequence[Experiment], device: str, compile: bool, resumes: Sequence[Snapshot] | None
    ) -> Iterator[tuple[int, Event | FloatingPointError]]:
        """Experiments of one `together.kind`, resumed from the same update, as one learner: the place of each, and what it reports.

        A FloatingPointError, at the first row whose loss is not finite, ends what is reported of its experiment; the others go on.
        """
        benchmark, every = experiments[0].benchmark, experiments[0].checkpoint_every
        network, (first, *others) = together.cell(experiments[0])[0], [together.cell(each)[1] for each in experiments]
        learner = Learner(network, lambda params, batch: self.loss(network, params, batch), *first, device, compile, others)
        stream = benchmark.open([member for each in experiments for member in members_of(each.seed, each.members)], self.batch, device)
        counts = torch.tensor([each.members for each in experiments])
        window = torch.zeros(learner.members, 2, device=device)  # sums of accuracy and loss since the last row
        if resumes:
            resume = together.joined(resumes)
            learner.load(resume.tensors, resume.facts["ticks"])
            window.copy_(resume.tensors["window"])
        diagnostics = [Diagnostics(learner.part(place), each.diagnose_every) for place, each in enumerate(experiments)]
        going = list(range(len(experiments)))
        visits, total = benchmark.visits(), sum(visit.budget for visit in benchmark.visits())
        start = 0
        for visit in visits:
            end = start + visit.budget
            if visit.index > learner.ticks["task"]:
                learner.task_boundary()
            while going and (done := learner.ticks["update"]) < end:
                batch = stream.batch(visit.index, done - start)
                clocks = {"run": (done, total), "visit": (done - start, visit.budget)}
                rates = torch.tensor([each.schedule.at(*clocks[each.schedule.clock]) for each in experiments])
                measured = diagnostics[0].due
                reported = learner.update(rates.repeat_interleave(counts), batch, measure=measured)
                window += torch.stack([reported["accuracy"], reported["loss"]], 1)
                done += 1
                where = dict(visit=visit.index, task=visit.task, cycle=visit.cycle, frames=0, steps=done, updates=done)
                since = (done - start) % self.record_every
                recorded = since == 0 or done == end
                for place in tuple(going) if measured or recorded else ():
                    rows = learner.rows(place)
                    try:
                        if measured:
                            found = {name: values[rows] for name, values in reported.items()}
                            yield from ((place, row) for row in diagnostics[place].rows(where, found))
                        if recorded:
                            yield from ((place, row) for row in self._scores(where, window[rows] / (since or self.record_every)))
                            yield place, Tick(**where)
                    except FloatingPointError as error:
                        going.remove(place)
                        yield place, error
                if recorded:
                    window.zero_()
                if done % every == 0 or done == total:
                    tensors = learner.tensors() | {"window": window}
                    for place in going:
                        own = {name: tensor[learner.rows(place)] for name, tensor in tensors.items()}
                        yield place, Snapshot(own, {"number": done, "ticks": learner.ticks})
            start = end

    def _scores(self, where: dict, means: Tensor) -> Iterator[Score]:
        for member, (accuracy, loss) in enumerate(means.tolist()):
            if loss - loss != 0:  # inf or NaN
                raise FloatingPointError(f"the loss of member {member} is {loss} after {where['updates']} updates")
            yield Score(member=member, **where, kind="online", score=accuracy)
