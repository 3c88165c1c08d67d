"""Training loop of supervised agents: updates along a stream, of several experiments as one learner, and the events of each."""

from collections.abc import Generator, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from agents.base import Reported, StreamAgent, told
from agents.diagnostics.probing import Probing, seen_of_stream
from agents.diagnostics.rows import Diagnostics
from agents.loops import grouping
from envs.sequences import Visit
from envs.supervised.base import Tasks
from plasticity_rl.experiment import Experiment, until
from plasticity_rl.records.events import Metric, Score, Snapshot, Tick
from plasticity_rl.seeds import members_of
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.lift import lift
from plasticity_rl.training.update import Batch


class StreamLoop:
    """Experiments with one `grouping.group_key` as cells of one learner; a single run is a group of one. Shared fields are the first's."""

    def __init__(self, agent: StreamAgent, experiments: Sequence[Experiment], device: str, compile: bool) -> None:
        self.agent, self.experiments, self.device = agent, experiments, device
        self.benchmark = cast(Tasks, experiments[0].benchmark)
        network, (first, *others) = grouping.cell(experiments[0])[0], [grouping.cell(each)[1] for each in experiments]
        self.network = network
        self.learner = Learner(network, lambda params, batch: agent.loss(network, params, batch), *first, device, compile, others)
        members = [member for each in experiments for member in members_of(each.seed, each.members)]
        self.stream = self.benchmark.open(members, agent.batch_size, device)
        self.window = torch.zeros(self.learner.members, 2, device=device)
        """sums of `measured` and of the loss since the last row, (S, 2)"""
        parts = [self.learner.part(place) for place in range(len(experiments))]
        self.diagnostics = [Diagnostics(*each) for each in zip(parts, experiments, strict=True)]
        self.probing = [Probing(part, each, each.probe_updates, compile=compile) for part, each in zip(parts, experiments, strict=True)]
        self.going = list(range(len(experiments)))
        """positions of the experiments whose losses have been finite so far"""
        self._counts = torch.tensor([each.members for each in experiments])
        self._total = sum(visit.budget for visit in self.benchmark.visits())
        self._told = told(experiments[0])

    def run(self, resumes: Sequence[Snapshot] | None) -> Generator[Reported, bool | None, None]:
        """Train on the visits in order; `resumes` are snapshots of all experiments after the same update."""
        if resumes:
            self._load(resumes)
        start = 0
        for visit in self.benchmark.visits():
            end = start + visit.budget
            if visit.index > self.learner.ticks["task"]:
                self.learner.task_boundary()
                for each in self.diagnostics:
                    each.begin()
            while self.going and (done := self.learner.ticks["update"] - start) < visit.budget:
                places = range(done, done + self._ahead(visit, done))
                batches = [self.stream.batch(visit.index, place) for place in places]
                reported = self._updates(visit, places, batches)
                yield from self._report(visit, places[-1] + 1, batches[-1], reported)
            start = end

    def _ahead(self, visit: Visit, done: int) -> int:
        """Updates that can be made before the next report, after `done` updates of the visit."""
        first, updates = self.experiments[0], self.learner.ticks["update"]
        left = min(visit.budget - done, until(done, self.agent.record_every), until(updates, first.checkpoint_every))
        return min(left, until(updates, first.probe_every), self.diagnostics[self.going[0]].ahead, self.learner.ahead)

    def _updates(self, visit: Visit, places: range, batches: list[Batch]) -> dict[str, Tensor]:
        """Make the updates numbered `places` in the visit; return what the last one reported."""
        watching, ticks = self.diagnostics[self.going[0]], self.learner.ticks["update"]
        if watching.looks:
            for place in self.going:
                self.diagnostics[place].look(batches[0]["inputs"][self.learner.rows(place)])
        run = [(ticks + ahead, self._total) for ahead in range(len(places))]
        visits = [(at, visit.budget) for at in places] if self._told else run
        rates = [self._rates({"run": whole, "visit": part}) for whole, part in zip(run, visits, strict=True)]
        reported = self.learner.updates(rates, batches, measure=watching.due)
        for each in reported:
            self.window += torch.stack([each["measured"], each["loss"]], 1)
        return reported[-1]

    def _rates(self, clocks: dict[str, tuple[int, int]]) -> Tensor:
        """Learning rate of each member, from (update, total updates) per clock."""
        rates = torch.tensor([each.schedule.at(*clocks[each.schedule.clock]) for each in self.experiments])
        return rates.repeat_interleave(self._counts)

    def _report(self, visit: Visit, done: int, batch: Batch, reported: dict[str, Tensor]) -> Generator[Reported, bool | None, None]:
        """Events that are due after the latest update, the visit's `done`-th; and snapshots, if a Tick was answered with True."""
        stopping = False
        updates = self.learner.ticks["update"]
        where: dict[str, Any] = dict(visit=visit.index, task=visit.task, cycle=visit.cycle, frames=0, steps=updates, updates=updates)
        scores = self._scores(visit, done)
        for place in tuple(self.going):
            try:
                for row in self._rows(place, where, done, batch, reported):
                    yield place, row
                if scores:
                    for row in self._score_rows(place, where, scores):
                        yield place, row
                    stopping |= bool((yield place, Tick(**where)))
            except FloatingPointError as error:
                self.going.remove(place)
                yield place, error
        if scores:
            self.window.zero_()
        due = updates % self.experiments[0].checkpoint_every == 0 or updates == self._total
        if due:
            for place in self.going:
                for picture in self.diagnostics[place].media(where):
                    yield place, picture
        if due or stopping:
            yield from self._snapshots(updates)

    def _scores(self, visit: Visit, done: int) -> dict[str, Tensor]:
        """Scores of all members, (S,), by kind; empty if none are due."""
        since, last = done % self.agent.record_every, done == visit.budget
        if since and not last:
            return {}
        means, variance = self.window[:, 0] / (since or self.agent.record_every), self.stream.variance(visit.index)
        return {"online": self.agent.score(means, variance)} | (self._tested(visit) if last else {})

    @torch.no_grad()
    def _tested(self, visit: Visit) -> dict[str, Tensor]:
        """Score of each member on held-out examples, (S,), as `test`; empty if there are none."""
        total = weight = torch.zeros(self.learner.members, device=self.device)
        for part in self.stream.tests(visit.index):
            outputs = lift(lambda params, inputs: self.network.apply(params, inputs)[0])(self.learner.net.params, part["inputs"])
            total = total + (lift(self.agent.measure)(outputs, part["labels"]) * part["weights"]).sum(1)
            weight = weight + part["weights"].sum(1)
        return {"test": self.agent.score(total / weight, self.stream.variance(visit.index))} if weight.any() else {}

    def _rows(self, place: int, where: dict[str, Any], done: int, batch: Batch, reported: dict[str, Tensor]) -> Iterator[Metric]:
        """Rows of diagnostics and probes that are due for one experiment."""
        experiment, rows = self.experiments[place], self.learner.rows(place)
        if self.diagnostics[place].measured:
            own, given = ({name: values[rows] for name, values in each.items()} for each in (reported, batch))
            yield from self.diagnostics[place].rows(where, own, given)
        if experiment.probe_every and where["updates"] % experiment.probe_every == 0:
            yield from self.probing[place].rows(where, seen_of_stream(experiment, self.device, where["visit"], done))

    def _score_rows(self, place: int, where: dict[str, Any], scores: dict[str, Tensor]) -> Iterator[Score]:
        """Rows of scores of one experiment. Raises FloatingPointError if a loss since the last rows is not finite."""
        rows = self.learner.rows(place)
        for member, loss in enumerate(self.window[rows, 1].tolist()):
            if loss - loss != 0:  # inf or NaN
                raise FloatingPointError(f"the loss of member {member} is {loss} after {where['updates']} updates")
        for kind, values in scores.items():
            yield from (Score(member=member, **where, kind=kind, score=score) for member, score in enumerate(values[rows].tolist()))

    def _snapshots(self, updates: int) -> Iterator[Reported]:
        """Snapshot of each experiment, as if it had run alone."""
        tensors = self.learner.tensors() | {"window": self.window}
        for place in self.going:
            own = {name: tensor[self.learner.rows(place)] for name, tensor in tensors.items()}
            yield place, Snapshot(own | self.diagnostics[place].tensors(), {"number": updates, "ticks": self.learner.ticks})

    def _load(self, resumes: Sequence[Snapshot]) -> None:
        joined = grouping.joined(resumes)
        self.learner.load(joined.tensors, joined.counters["ticks"])
        self.window.copy_(joined.tensors["window"])
        for each, own in zip(self.diagnostics, resumes, strict=True):
            each.load(own.tensors)
