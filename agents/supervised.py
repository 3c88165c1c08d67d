"""Supervised learning on a stream of labelled tasks: of classes by cross-entropy, of numbers by squared error or as distributions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.base import Reported, StreamAgent, batch_norms
from agents.heads import Categorical
from agents.loops.stream import StreamLoop
from envs.supervised.base import Tasks
from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Event, Snapshot


@dataclass(frozen=True)
class Supervised(StreamAgent):
    """Learn the stream as it comes; the score is how well each batch was predicted before it was learned from.

    Of classes that is the accuracy; of numbers the explained variance, 1 - squared error / variance of the task's numbers, or 0 where it is
    negative: 1 is perfect, and 0 is what the best constant reaches, so that higher is better and what was not learned counts for nothing.
    """

    batch_size: Annotated[int, Interval("[1, inf)")] = 32
    """examples of one update, of each member"""
    record_every: Annotated[int, Interval("[1, inf)")] = 50
    """updates whose mean score makes a row of scores"""
    objective: Literal["cross-entropy", "mse", "two-hot", "hl-gauss"] = "cross-entropy"
    """cross-entropy is for classes, the others are for numbers: squared error, or cross-entropy with the number as probabilities of atoms
    from low to high, shared by the two atoms around it (two-hot, as in Lyle et al. 2024, arXiv 2402.18762) or as a normal distribution's
    (HL-Gauss, of deviation 0.75 atoms' distance; Farebrother et al. 2024, arXiv 2403.03950)"""
    num_atoms: Annotated[int, Interval("[2, 10_000]")] = 101
    """of two-hot and hl-gauss; our choice"""
    low: float = -10.0
    """the first atom"""
    high: float = 10.0
    """the last; all the benchmark's numbers must lie between"""

    supervision: ClassVar[str] = "labels"
    separable: ClassVar[bool] = True
    trains_groups: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, high=f"({self.low}, inf)")

    def fit(self, experiment: Experiment) -> None:
        """Raise UsageError if the loss does not suit the benchmark's labels, or their range the atoms, or the batch a batch norm."""
        benchmark, own = experiment.benchmark, type(self).__name__
        name = type(benchmark).__name__
        if (self.objective == "cross-entropy") != (benchmark.predicts == "classes"):
            fitting = "cross-entropy" if benchmark.predicts == "classes" else "mse, two-hot or hl-gauss"
            raise UsageError(f"{name} has {benchmark.predicts} to predict: objective must be {fitting}, not {self.objective}")
        if self.objective in ("two-hot", "hl-gauss"):
            low, high = benchmark.target_range
            if not (self.low <= low and high <= self.high):
                raise UsageError(f"the numbers of {name} lie between {low:g} and {high:g}: low and high must hold them")
        if experiment.actors:
            raise UsageError(f"{own} does not act, and has no use for actors")
        if self.batch_size == 1 and (norms := batch_norms(experiment)):
            raise UsageError(f"{own}: batch_size=1 is its own mean, which norm={norms[0]} takes away; take layer or rms, or a larger batch")

    def heads(self, benchmark: Tasks) -> int:
        """One head: of a number for each class, of the number predicted, or of one for each atom."""
        return self.num_atoms if self.objective in ("two-hot", "hl-gauss") else benchmark.outputs

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

    def decode_outputs(self, outputs: Tensor) -> dict[str, Tensor]:
        """What ONE network's outputs say of n inputs: `logits` (n, ends), all of them."""
        return {"logits": outputs}

    def score(self, measured: Tensor, variance: Tensor) -> Tensor:
        """The score, from the mean of what `measure` says and the variance of the numbers, (S,) each."""
        return measured if self.objective == "cross-entropy" else (1 - measured / variance).clamp(min=0)

    def _places(self, like: Tensor) -> Tensor:
        return torch.linspace(self.low, self.high, self.num_atoms, device=like.device, dtype=like.dtype)

    def _shares(self, numbers: Tensor) -> Tensor:
        """Numbers (batch,) as probabilities of the atoms, (batch, atoms)."""
        middle, limit = (self.high + self.low) / 2, (self.high - self.low) / 2
        if self.objective == "two-hot":
            near = (numbers - middle)[:, None]
            return Categorical(self.num_atoms, limit, whole=False).project(near, torch.ones_like(near))
        width = 2 * limit / (self.num_atoms - 1)
        edges = torch.linspace(self.low - width / 2, self.high + width / 2, self.num_atoms + 1, device=numbers.device)
        below = torch.special.ndtr((edges - numbers[:, None]) / (0.75 * width))
        return below.diff() / (below[:, -1:] - below[:, :1])

    def train(self, experiment: Experiment, device: str, compile: bool, resume: Snapshot | None) -> Iterator[Event]:
        """The run, as what it reports. Raises FloatingPointError at the first row whose loss is not finite."""
        for _, event in self.train_group((experiment,), device, compile, resume and (resume,)):
            if isinstance(event, FloatingPointError):
                raise event
            yield event

    def train_group(
        self, experiments: Sequence[Experiment], device: str, compile: bool, resumes: Sequence[Snapshot] | None
    ) -> Iterator[Reported]:
        """Experiments of one `together.kind`, resumed from the same update, as one learner: the place of each, and what it reports.

        A FloatingPointError, at the first row whose loss is not finite, ends what is reported of its experiment; the others go on.
        """
        return StreamLoop(self, experiments, device, compile).run(resumes)
