"""Supervised learning on a stream of labelled tasks: classification by cross-entropy, regression by squared error or as distributions."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from agents.base import Reported, StreamAgent, batch_norms, refuse_untold
from agents.heads import Categorical
from agents.loops.stream import StreamLoop
from envs.supervised.base import Tasks
from plasticity_rl.checks import Interval, UsageError, check
from plasticity_rl.experiment import Experiment
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.records.events import Dialogue, Event, Snapshot


@dataclass(frozen=True)
class Supervised(StreamAgent):
    """Learn the stream as it comes; the score is how well each batch was predicted before it was learned from.

    For classes the score is the accuracy; for numbers the explained variance, 1 - squared error / variance of the task's labels, at least
    0: 1 is perfect, and 0 is the score of the best constant.
    """

    batch_size: Annotated[int, Interval("[1, inf)")] = 32
    """examples of one update, per member"""
    record_every: Annotated[int, Interval("[1, inf)")] = 50
    """updates per row of scores, which holds their mean score"""
    objective: Literal["cross-entropy", "mse", "two-hot", "hl-gauss"] = "cross-entropy"
    """loss: cross-entropy for classes; for numbers mse (squared error), or cross-entropy on atoms from `low` to `high`, where a number is
    shared by the two nearest atoms (two-hot, as in Lyle et al. 2024, arXiv 2402.18762) or spread as a normal distribution (hl-gauss, with a
    standard deviation of 0.75 atom widths; Farebrother et al. 2024, arXiv 2403.03950)"""
    num_atoms: Annotated[int, Interval("[2, 10_000]")] = 101
    """number of atoms of two-hot and hl-gauss; our choice"""
    low: float = -10.0
    """smallest atom"""
    high: float = 10.0
    """largest atom; all labels of the benchmark must lie between `low` and `high`"""

    supervision: ClassVar[str] = "labels"
    separable: ClassVar[bool] = True
    trains_groups: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, high=f"({self.low}, inf)")

    def fit(self, experiment: Experiment) -> None:
        """Raise UsageError if the loss does not suit the labels, the atoms do not cover them, a batch norm needs a larger batch, or a
        method waits for task changes that are not told.
        """
        benchmark, own = cast(Any, experiment.benchmark), type(self).__name__  # numbers have a target_range
        name = type(benchmark).__name__
        if (self.objective == "cross-entropy") != (benchmark.predicts == "classes"):
            fitting = "cross-entropy" if benchmark.predicts == "classes" else "mse, two-hot or hl-gauss"
            raise UsageError(f"{name} has {benchmark.predicts} to predict: objective must be {fitting}, not {self.objective}")
        if self.objective in ("two-hot", "hl-gauss"):
            low, high = benchmark.target_range
            if not (self.low <= low and high <= self.high):
                raise UsageError(f"targets of {name} lie in [{low:g}, {high:g}]: low and high must enclose them")
        if experiment.actors:
            raise UsageError(f"{own} does not act: actors must be 0")
        if self.batch_size == 1 and (norms := batch_norms(experiment)):
            raise UsageError(
                f"{own}: with batch_size=1, norm={norms[0]} subtracts each example from itself; use layer or rms, or a larger batch"
            )
        refuse_untold(experiment)

    def heads(self, benchmark: Tasks) -> int:
        """Number of outputs: one per class, one for a number, or one per atom."""
        return self.num_atoms if self.objective in ("two-hot", "hl-gauss") else benchmark.outputs

    def loss(self, network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss of ONE network on `inputs` (batch, *shape) and `labels` (batch,)."""
        outputs, labels = network.apply(params, batch["inputs"])[0], batch["labels"]
        if self.objective == "cross-entropy":
            loss = F.cross_entropy(outputs, labels)
        elif self.objective == "mse":
            loss = F.mse_loss(outputs[:, 0], labels)
        else:
            loss = -(self._shares(labels) * outputs.log_softmax(-1)).sum(-1).mean()
        return loss, {"measured": self.measure(outputs, labels).mean()}

    def measure(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Accuracy (0 or 1, for classes) or squared error (for numbers) per example, (batch,), of outputs (batch, outputs)."""
        if self.objective == "cross-entropy":
            return (outputs.argmax(-1) == labels).float()
        predicted = outputs[:, 0] if self.objective == "mse" else outputs.softmax(-1) @ self._places(outputs)
        return (predicted - labels) ** 2

    def decode_outputs(self, outputs: Tensor, num_actions: Tensor | None = None) -> dict[str, Tensor]:
        """All outputs of ONE network as `logits` (n, outputs)."""
        return {"logits": outputs}

    def score(self, measured: Tensor, variance: Tensor) -> Tensor:
        """Score (S,) from mean `measured` (S,) and the variance of the task's labels (S,)."""
        return measured if self.objective == "cross-entropy" else (1 - measured / variance).clamp(min=0)

    def _places(self, like: Tensor) -> Tensor:
        return torch.linspace(self.low, self.high, self.num_atoms, device=like.device, dtype=like.dtype)

    def _shares(self, numbers: Tensor) -> Tensor:
        """Target probabilities of the atoms, (batch, atoms), for numbers (batch,)."""
        middle, v_max = (self.high + self.low) / 2, (self.high - self.low) / 2
        if self.objective == "two-hot":
            near = (numbers - middle)[:, None]
            return Categorical(self.num_atoms, v_max, whole=False).project(near, torch.ones_like(near))
        width = 2 * v_max / (self.num_atoms - 1)
        edges = torch.linspace(self.low - width / 2, self.high + width / 2, self.num_atoms + 1, device=numbers.device)
        below = torch.special.ndtr((edges - numbers[:, None]) / (0.75 * width))
        return below.diff() / (below[:, -1:] - below[:, :1])

    def train(self, experiment: Experiment, device: str, compile: bool, resume: Snapshot | None) -> Generator[Event, bool | None, None]:
        """Events of the run, in order. Raises FloatingPointError at the first row whose loss is not finite."""
        events = Dialogue(self.train_group((experiment,), device, compile, resume and (resume,)))
        for _, event in events:
            if isinstance(event, FloatingPointError):
                raise event
            events.answer = bool((yield event))

    def train_group(
        self, experiments: Sequence[Experiment], device: str, compile: bool, resumes: Sequence[Snapshot] | None
    ) -> Generator[Reported, bool | None, None]:
        """Events of experiments with one `grouping.group_key`, trained as one learner and resumed from the same update.

        A FloatingPointError, at the first row whose loss is not finite, ends the events of its experiment; the others go on.
        """
        return StreamLoop(self, experiments, device, compile).run(resumes)
