"""What a run reports of its networks besides scores: rows of metrics.csv, all members at once, outside the update."""

import resource
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import grad

from agents.diagnostics import measures
from agents.diagnostics.curvature import Curvature
from agents.diagnostics.media import pictures
from plasticity_rl.experiment import Experiment, until
from plasticity_rl.metrics.norms import GRADIENT
from plasticity_rl.metrics.units import finite, moments
from plasticity_rl.networks.layers import Params, penultimate
from plasticity_rl.records.events import Media, Metric
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.lift import chunked, copied, lift
from plasticity_rl.training.update import Batch, by_layer

COSTS = ("updates_per_second", "memory_mb")  # what no two runs share
HELD = 256  # examples by which a network is compared with the one that its visit began with; ours


class Diagnostics:
    """Looks at every update of a learner, or of a part of one, before it; and says, after every `diagnose_every`-th and every
    `curvature_every`-th, what the networks have become.

    Units, ranks and values are measured on the batch just learned from, beside an untrained network's on the same batch. Changes since the
    visit began, and those of one update, are measured on a held batch: the first 256 examples that the visit learned from, whole before the
    first row.
    """

    def __init__(self, learner: Learner, experiment: Experiment) -> None:
        self._learner, self._experiment, agent = learner, experiment, experiment.agent
        self._untrained, self._birth = learner.fresh("reference"), learner.fresh("birth")
        self._held: Tensor | None = None
        self._last = time.monotonic(), learner.ticks["update"]
        self._before: Params = {}
        layers = learner.network.layers
        self._tops = tuple(top.name for top in penultimate(layers))
        self._bounded = tuple(layer.name for layer in layers if layer.activation == "tanh")
        self._sampled: bool | None = agent.samples if agent.supervision == "rewards" else None
        self._agent = agent
        self._then: tuple[Params, measures.Moments] | None = None  # what the visit's first network says of the held batch, once asked
        self._curvature = Curvature(learner, self._logits, self._tops, experiment)
        self.begin()

    def begin(self, task: int = 0) -> None:
        """A visit begins, to the task whose heads answer; the chain has been told."""
        self._start, self._held, self._then = copied(self._learner.net.params), None, None
        self._task = torch.full((self._learner.members,), task, device=self._learner.device)

    @property
    def due(self) -> bool:
        """Is the next update one after which there are diagnostics, and the learner to measure it?"""
        return (self._learner.ticks["update"] + 1) % self._experiment.diagnose_every == 0

    @property
    def ahead(self) -> int:
        """How many updates can be made before the next that must be looked at, or after which there are rows."""
        if self.looks:
            return 1
        updates, experiment = self._learner.ticks["update"], self._experiment
        return min(until(updates, experiment.diagnose_every) - 1, until(updates, experiment.curvature_every))

    @property
    def measured(self) -> bool:
        """Are there rows after the update just made?"""
        number = self._learner.ticks["update"]
        return number % self._experiment.diagnose_every == 0 or self._curvature.due(number)

    @property
    def looks(self) -> bool:
        """Must `look` be called before the next update?"""
        return self.due or self._held is None or self._held.shape[1] < HELD

    def look(self, inputs: Tensor) -> None:
        """The next update is to learn from `inputs` (S, batch, ...)."""
        if self._held is None:
            self._held = inputs[:, :HELD].clone()
        elif self._held.shape[1] < HELD:
            self._held = torch.cat([self._held, inputs[:, : HELD - self._held.shape[1]]], 1)
        self._before = copied(self._learner.net.params) if self.due else {}

    @torch.no_grad()
    def rows(self, where: dict[str, Any], reported: dict[str, Tensor], batch: Batch, *extras: Any) -> Iterator[Metric]:
        """What there is to say of the update just made, if anything; `where` are a row's leading columns less the member, `reported` is
        what the learner returned, of the members looked at, and the rest what the loss was given.

        Raises FloatingPointError, naming the layer, where units are infinite or no numbers.
        """
        if not self.measured:
            return
        number = self._learner.ticks["update"]
        found = self._default(batch, extras, reported) if number % self._experiment.diagnose_every == 0 else {}
        if self._curvature.due(number):
            found |= self._curvature.measure(self._untrained, self._start, self._held, self._task, batch, extras)
        numbers = torch.stack([value.double() for value in found.values()]).T.tolist()
        for member, row in enumerate(numbers):
            for name, number in zip(found, row, strict=True):
                yield Metric(member=member, **where, name=name, value=number)

    def pictures(self, where: dict[str, Any]) -> Iterator[Media]:
        """What TensorBoard shows besides curves."""
        return pictures(self._learner, self._untrained, where)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds: a visit's start survives."""
        named = {f"start/{name}": param for name, param in self._start.items()} | {"start task": self._task}
        named |= {f"work/{name}": count for name, count in self._learner.refresh_counts.items()}
        return named | ({} if self._held is None else {"held": self._held})

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from there."""
        device = self._learner.device
        self._start = {name: tensors[f"start/{name}"].to(device) for name in self._start}
        self._task = tensors["start task"].to(device)
        self._held, self._then = tensors["held"].to(device) if "held" in tensors else None, None
        for name, count in self._learner.refresh_counts.items():
            count.copy_(tensors[f"work/{name}"])
        self._last = time.monotonic(), self._learner.ticks["update"]

    def _default(self, batch: Batch, extras: tuple[Any, ...], reported: dict[str, Tensor]) -> dict[str, Tensor]:
        learner, params, inputs = self._learner, self._learner.net.params, batch["inputs"]
        found = {"loss": reported["loss"], "learning_rate": learner.rate}
        found |= {name: torch.full_like(learner.rate, value) for name, value in zip(COSTS, (self._speed(), self._memory()), strict=True)}
        for suffix, of in (("", params), ("_fresh", self._untrained)):
            outputs, raw = self._seen(of, inputs)
            rows = lift(self._of_batch)(of, outputs, raw)
            found |= {_with(suffix, name): value for name, value in rows.items()}
        found |= lift(partial(measures.of_way, layers=learner.network.layers))(self._birth, params)
        if self._held is not None and self._held.shape[1] == HELD:
            if self._then is None:
                self._then = lift(self._of_held)(*self._seen(self._start, self._held))[:2]
            *now, logits = lift(self._of_held)(*self._seen(params, self._held))
            found |= lift(measures.since_start)(self._then, tuple(now))
            earlier = lift(self._agent.decode_outputs)(self._seen(self._before, self._held)[0])["logits"]
            found |= lift(measures.of_update)(earlier, logits)
        found |= {name: value for name, value in reported.items() if "/" in name}
        found |= chunked(lift(self._of_gradient), learner.chunk_size)(
            self._untrained, learner.network.low_precision(self._untrained), batch, *extras
        )
        for name, count in learner.refresh_counts.items():
            found[name] = count.clone()
            count.zero_()
        return found

    def _seen(self, params: Params, inputs: Tensor) -> tuple[Tensor, Params]:
        """Outputs, and units before their activation, all of them numbers."""
        apply = lift(lambda params, inputs, task: self._learner.network.apply(params, inputs, task=task, raw=True))
        outputs, raw = chunked(apply, self._learner.chunk_size)(params, inputs, self._task)
        for layer, units in raw.items():
            finite(layer, units)
        return outputs, raw

    def _of_batch(self, params: Params, outputs: Tensor, raw: Params) -> dict[str, Tensor]:
        """Of ONE network: all that the batch and the parameters alone say."""
        network = self._learner.network
        found = measures.of_features(network.activated(raw), raw, self._bounded, self._tops)
        found |= measures.of_lengths(params, network.layers)
        return found | measures.of_outputs(self._agent.decode_outputs(outputs), self._sampled)

    def _of_gradient(self, params: Params, low_precision: Params, batch: Batch, *extras: Any) -> dict[str, Tensor]:
        """Of ONE untrained network: sizes of the loss's gradient, as the learner reports its own."""
        learner = self._learner
        grads = grad(lambda params: learner.loss(params, batch, *extras)[0])(params | low_precision)
        grads = {name: each.to(params[name].dtype) for name, each in grads.items()}
        return {_with("_fresh", name): size for name, size in by_layer(GRADIENT, grads, learner.network.layers).items()}

    def _of_held(self, outputs: Tensor, raw: Params) -> tuple[Params, measures.Moments, Tensor]:
        """Of ONE network: features that the heads read, moments of all units before their activation, and logits."""
        features = self._learner.network.activated({top: raw[top] for top in self._tops})
        return features, {layer: moments(units) for layer, units in raw.items()}, self._agent.decode_outputs(outputs)["logits"]

    def _logits(self, params: Params, held: Tensor, task: Tensor) -> Tensor:
        """Of ONE network."""
        return self._agent.decode_outputs(self._learner.network.apply(params, held, task=task)[0])["logits"]

    def _memory(self) -> float:
        """MB that the process has in memory, all its runs together; on a GPU, the most that its tensors took there."""
        if self._learner.device.startswith("cuda"):
            return torch.cuda.max_memory_allocated(self._learner.device) / 1e6
        resident = Path("/proc/self/statm")
        if resident.exists():
            return int(resident.read_text().split()[1]) * resource.getpagesize() / 1e6
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts bytes; the most so far

    def _speed(self) -> float:
        now, updates = time.monotonic(), self._learner.ticks["update"]
        (then, before), self._last = self._last, (now, updates)
        return (updates - before) / max(now - then, 1e-9)


def _with(suffix: str, name: str) -> str:
    kind, slash, layer = name.partition("/")
    return f"{kind}{suffix}{slash}{layer}"
