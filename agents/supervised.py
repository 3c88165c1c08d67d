"""Supervised learning on a stream of labelled tasks: of classes by cross-entropy, of numbers by squared error or as distributions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from agents import together
from agents.diagnostics import Diagnostics
from agents.probing import Probing, seen_of_stream
from agents.value_heads import Categorical
from envs.batches import Stream
from plasticity_rl.checkpoint import Event, Snapshot
from plasticity_rl.checks import UsageError, check
from plasticity_rl.experiment import Experiment
from plasticity_rl.learner import Learner
from plasticity_rl.lift import lift
from plasticity_rl.networks import Network, Params
from plasticity_rl.runs import Score, Tick
from plasticity_rl.seeds import members_of


@dataclass(frozen=True)
class Supervised:
    """Learn the stream as it comes; the score is how well each batch was predicted before it was learned from.

    Of classes that is the accuracy; of numbers the explained variance, 1 - squared error / variance of the task's numbers, or 0 where it is
    negative: 1 is perfect, and 0 is what the best constant reaches, so that higher is better and what was not learned counts for nothing.
    """

    batch: int = 32
    """examples of one update, of each member"""
    record_every: int = 50
    """updates whose mean score makes a row of scores"""
    objective: Literal["cross-entropy", "mse", "two-hot", "hl-gauss"] = "cross-entropy"
    """cross-entropy is for classes, the others are for numbers: squared error, or cross-entropy with the number as probabilities of atoms
    from low to high, shared by the two atoms around it (two-hot, as in Lyle et al. 2024, arXiv 2402.18762) or as a normal distribution's
    (HL-Gauss, of deviation 0.75 atoms' distance; Farebrother et al. 2024, arXiv 2403.03950)"""
    atoms: int = 101
    """of two-hot and hl-gauss; our choice"""
    low: float = -10.0
    """the first atom"""
    high: float = 10.0
    """the last; all the benchmark's numbers must lie between"""

    learns_from: ClassVar[str] = "labels"
    separable: ClassVar[bool] = True
    """is the loss a mean of losses of single examples?"""

    def __post_init__(self) -> None:
        check(self, batch="[1, inf)", record_every="[1, inf)", atoms="[2, 10_000]", high=f"({self.low}, inf)")

    def fit(self, benchmark: Any) -> None:
        """Raises UsageError where the loss is not for what the benchmark's labels are, or its numbers lie outside the atoms."""
        name = type(benchmark).__name__
        if (self.objective == "cross-entropy") != (benchmark.predicts == "classes"):
            fitting = "cross-entropy" if benchmark.predicts == "classes" else "mse, two-hot or hl-gauss"
            raise UsageError(f"{name} has {benchmark.predicts} to predict: objective must be {fitting}, not {self.objective}")
        if self.objective in ("two-hot", "hl-gauss") and not (self.low <= benchmark.span[0] and benchmark.span[1] <= self.high):
            raise UsageError(
                f"the numbers of {name} lie between {benchmark.span[0]:g} and {benchmark.span[1]:g}: low and high must hold them"
            )

    def ends(self, benchmark: Any) -> int:
        """One head: of a number for each class, of the number predicted, or of one for each atom."""
        return self.atoms if self.objective in ("two-hot", "hl-gauss") else benchmark.outputs

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Of ONE network: inputs (batch, *shape), labels (batch,)."""
        outputs, labels = network.apply(params, batch["inputs"])[0], batch["labels"]
        if self.objective == "cross-entropy":
            loss = F.cross_entropy(outputs, labels)
        elif self.objective == "mse":
            loss = F.mse_loss(outputs[:, 0], labels)
        else:
            loss = -(self._shares(labels) * outputs.log_softmax(-1)).sum(-1).mean()
        return loss, {"measured": self.measure(outputs, labels).mean()}

    def measure(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """How well outputs (batch, ends) predict labels (batch,): 1 or 0 for classes, the squared error of numbers. (batch,)."""
        if self.objective == "cross-entropy":
            return (outputs.argmax(-1) == labels).float()
        predicted = outputs[:, 0] if self.objective == "mse" else outputs.softmax(-1) @ self._places(outputs)
        return (predicted - labels) ** 2

    def judge(self, outputs: Tensor) -> dict[str, Tensor]:
        """What ONE network's outputs say of n inputs: `preferences` (n, ends), all of them."""
        return {"preferences": outputs}

    def score(self, measured: Tensor, variance: Tensor) -> Tensor:
        """The score, from the mean of what `measure` says and the variance of the numbers, (S,) each."""
        return measured if self.objective == "cross-entropy" else (1 - measured / variance).clamp(min=0)

    def _places(self, like: Tensor) -> Tensor:
        return torch.linspace(self.low, self.high, self.atoms, device=like.device, dtype=like.dtype)

    def _shares(self, numbers: Tensor) -> Tensor:
        """Numbers (batch,) as probabilities of the atoms, (batch, atoms)."""
        middle, limit = (self.high + self.low) / 2, (self.high - self.low) / 2
        if self.objective == "two-hot":
            near = (numbers - middle)[:, None]
            return Categorical(self.atoms, limit, whole=False).project(near, torch.ones_like(near))
        width = 2 * limit / (self.atoms - 1)
        edges = torch.linspace(self.low - width / 2, self.high + width / 2, self.atoms + 1, device=numbers.device)
        below = torch.special.ndtr((edges - numbers[:, None]) / (0.75 * width))
        return below.diff() / (below[:, -1:] - below[:, :1])

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
        window = torch.zeros(learner.members, 2, device=device)  # sums of what is measured and of the loss since the last row
        if resumes:
            resume = together.joined(resumes)
            learner.load(resume.tensors, resume.facts["ticks"])
            window.copy_(resume.tensors["window"])
        diagnostics = [Diagnostics(learner.part(place), each) for place, each in enumerate(experiments)]
        for each, own in zip(diagnostics, resumes or (), strict=bool(resumes)):
            each.load(own.tensors)
        going = list(range(len(experiments)))
        probing = [Probing(learner.part(place), each, each.probe_updates, compile=compile) for place, each in enumerate(experiments)]
        visits, total = benchmark.visits(), sum(visit.budget for visit in benchmark.visits())
        start = 0
        for visit in visits:
            end = start + visit.budget
            if visit.index > learner.ticks["task"]:
                learner.task_boundary()
                for each in diagnostics:
                    each.begin()
            while going and (done := learner.ticks["update"]) < end:
                batch = stream.batch(visit.index, done - start)
                clocks = {"run": (done, total), "visit": (done - start, visit.budget)}
                rates = torch.tensor([each.schedule.at(*clocks[each.schedule.clock]) for each in experiments])
                if diagnostics[going[0]].looks:
                    for place in going:
                        diagnostics[place].look(batch["inputs"][learner.rows(place)])
                reported = learner.update(rates.repeat_interleave(counts), batch, measure=diagnostics[going[0]].due)
                window += torch.stack([reported["measured"], reported["loss"]], 1)
                done += 1
                where = dict(visit=visit.index, task=visit.task, cycle=visit.cycle, frames=0, steps=done, updates=done)
                probed = bool(experiments[0].probe_every) and done % experiments[0].probe_every == 0
                since = (done - start) % self.record_every
                scores: dict[str, Tensor] = {}  # kind -> (S,)
                if since == 0 or done == end:
                    scores["online"] = self.score(window[:, 0] / (since or self.record_every), stream.variance(visit.index))
                if done == end:
                    scores |= self._tested(network, learner, stream, visit.index)
                measured = diagnostics[going[0]].measured
                for place in tuple(going) if measured or probed or scores else ():
                    rows = learner.rows(place)
                    try:
                        if measured:
                            found, given = ({name: values[rows] for name, values in each.items()} for each in (reported, batch))
                            yield from ((place, row) for row in diagnostics[place].rows(where, found, given))
                        if probed:
                            seen = seen_of_stream(experiments[place], device, visit.index, done - start)
                            yield from ((place, row) for row in probing[place].rows(where, seen))
                        if scores:
                            own = {kind: values[rows] for kind, values in scores.items()}
                            yield from ((place, row) for row in self._scores(where, own, window[rows, 1]))
                            yield place, Tick(**where)
                    except FloatingPointError as error:
                        going.remove(place)
                        yield place, error
                if scores:
                    window.zero_()
                if done % every == 0 or done == total:
                    tensors = learner.tensors() | {"window": window}
                    for place in going:
                        yield from ((place, picture) for picture in diagnostics[place].pictures(where))
                        own = {name: tensor[learner.rows(place)] for name, tensor in tensors.items()}
                        yield place, Snapshot(own | diagnostics[place].tensors(), {"number": done, "ticks": learner.ticks})
            start = end

    def _scores(self, where: dict, scores: dict[str, Tensor], losses: Tensor) -> Iterator[Score]:
        for member, loss in enumerate(losses.tolist()):
            if loss - loss != 0:  # inf or NaN
                raise FloatingPointError(f"the loss of member {member} is {loss} after {where['updates']} updates")
        for kind, values in scores.items():
            yield from (Score(member=member, **where, kind=kind, score=score) for member, score in enumerate(values.tolist()))

    @torch.no_grad()
    def _tested(self, network: Network, learner: Learner, stream: Stream, visit: int) -> dict[str, Tensor]:
        """`test` -> the score of each member on the examples that were held out, (S,); nothing where none were."""
        total = weight = torch.zeros(learner.members, device=learner.device)
        for part in stream.tests(visit):
            outputs = lift(lambda params, inputs: network.apply(params, inputs)[0])(learner.net.params, part["inputs"])
            total = total + (lift(self.measure)(outputs, part["labels"]) * part["weights"]).sum(1)
            weight = weight + part["weights"].sum(1)
        return {"test": self.score(total / weight, stream.variance(visit))} if weight.any() else {}
