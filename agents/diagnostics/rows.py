"""Diagnostics of a run's networks: rows of metrics.csv, computed for all members at once, outside the update."""

import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import grad

from agents.base import ActingAgent, Agent
from agents.diagnostics.curvature import Curvature
from agents.diagnostics.media import media
from envs.reinforcement.backends.spaces import Box
from envs.reinforcement.base import num_actions
from plasticity_rl import registry
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import Experiment, until
from plasticity_rl.metrics import function, measures
from plasticity_rl.metrics.base import Observed
from plasticity_rl.metrics.norms import GRADIENT
from plasticity_rl.metrics.units import finite, moments
from plasticity_rl.networks.layers import Params, last_active
from plasticity_rl.records.events import Media, Metric
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.lift import chunked, copied, lift
from plasticity_rl.training.update import Batch, by_layer

COSTS = ("updates_per_second", "memory_mb", "processor_ms")  # costs, which differ even between equal runs
HELD = 256  # examples of the reference batch, on which changes since a visit's start are measured; our choice


class Diagnostics:
    """Diagnostics of a learner, or of a part of one: observe updates before they are made, and yield rows every `diagnose_every` and
    `curvature_every` updates.

    Units, ranks and values are measured on the latest batch, for the trained and for an untrained network. Changes since the visit began,
    and those of one update, are measured on a reference batch: the first 256 examples of the visit, omitted until all 256 are there.
    """

    def __init__(self, learner: Learner, experiment: Experiment) -> None:
        self._learner, self._experiment, agent = learner, experiment, cast(Agent, experiment.agent)
        self._untrained, self._birth = (learner.projected(learner.fresh(purpose)) for purpose in ("reference", "birth"))
        self._held: Tensor | None = None
        self._last, self._spent = (time.monotonic(), learner.ticks["update"]), replace(learner.spent)
        self._before: Params = {}
        layers = learner.network.layers
        self._tops = tuple(top.name for top in last_active(layers))
        self._bounded = tuple(layer.name for layer in layers if layer.activation == "tanh")
        self._sampled: bool | None = cast(ActingAgent, agent).samples if agent.supervision == "rewards" else None
        self._agent = agent
        self._num_actions = num_actions(cast(Any, experiment.benchmark))
        self._choices = not isinstance(getattr(experiment.benchmark, "action_space", None), Box)
        self._own = {registry.title(each): each for each in experiment.metrics}
        self._then: tuple[Params, measures.Moments] | None = None  # of the visit's start, on the reference batch
        self._curvature = Curvature(learner, self._logits, self._tops, experiment)
        self.begin()

    def begin(self, task: int = 0) -> None:
        """Start a visit to a task, given by the index of its heads; call after the chain's task boundary."""
        self._start, self._held, self._then = copied(self._learner.net.params), None, None
        self._task = torch.full((self._learner.members,), task, device=self._learner.device)

    @property
    def due(self) -> bool:
        """True if diagnostics follow the next update, which the learner must then measure."""
        return (self._learner.ticks["update"] + 1) % self._experiment.diagnose_every == 0

    @property
    def ahead(self) -> int:
        """Updates that can be made in one call, up to the next that must be observed or that rows follow."""
        if self.looks:
            return 1
        updates, experiment = self._learner.ticks["update"], self._experiment
        return min(until(updates, experiment.diagnose_every) - 1, until(updates, experiment.curvature_every))

    @property
    def measured(self) -> bool:
        """True if rows follow the latest update."""
        number = self._learner.ticks["update"]
        return number % self._experiment.diagnose_every == 0 or self._curvature.due(number)

    @property
    def looks(self) -> bool:
        """True if `look` must be called before the next update."""
        return self.due or self._held is None or self._held.shape[1] < HELD

    def look(self, inputs: Tensor) -> None:
        """Observe the `inputs` (S, batch, ...) of the next update."""
        if self._held is None:
            self._held = inputs[:, :HELD].clone()
        elif self._held.shape[1] < HELD:
            self._held = torch.cat([self._held, inputs[:, : HELD - self._held.shape[1]]], 1)
        self._before = copied(self._learner.net.params) if self.due else {}

    @torch.no_grad()
    def rows(self, where: dict[str, Any], reported: dict[str, Tensor], batch: Batch, *extras: Any) -> Iterator[Metric]:
        """Rows that are due after the latest update, if any.

        `where` holds a row's leading columns without the member, `reported` what the learner returned for these members; `batch` and
        `extras` are the arguments of the loss. Raises FloatingPointError, naming the layer, if a unit is not finite.
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

    def media(self, where: dict[str, Any]) -> Iterator[Media]:
        """Media for TensorBoard."""
        return media(self._learner, self._untrained, where)

    def tensors(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint, by name, including the parameters at the visit's start."""
        named = {f"start/{name}": param for name, param in self._start.items()} | {"start task": self._task}
        named |= {f"work/{name}": count for name, count in self._learner.refresh_counts.items()}
        return named | ({} if self._held is None else {"held": self._held})

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore `tensors`."""
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
        costs = (self._speed(), self._memory(), self._processor())
        found |= {name: torch.full_like(learner.rate, cost) for name, cost in zip(COSTS, costs, strict=True) if cost is not None}
        for suffix, of in (("", params), ("_fresh", self._untrained)):
            outputs, raw = self._seen(of, inputs)
            rows = lift(self._of_batch)(of, outputs, raw)
            found |= {_with(suffix, name): value for name, value in rows.items()}
        found |= lift(partial(measures.of_way, layers=learner.network.layers))(self._birth, params)
        if self._held is not None and self._held.shape[1] == HELD:
            if self._then is None:
                self._then = lift(self._of_held)(self._start, *self._seen(self._start, self._held))[:2]
            *now, chosen = lift(self._of_held)(params, *self._seen(params, self._held))
            found |= lift(measures.since_start)(self._then, tuple(now))
            earlier = lift(self._chosen)(self._seen(self._before, self._held)[0])
            found |= lift(partial(measures.of_update, choices=self._choices))(earlier, chosen)
        found |= {name: value for name, value in reported.items() if "/" in name}
        found |= chunked(lift(self._of_gradient), learner.chunk_size)(
            self._untrained, learner.network.low_precision(self._untrained), batch, *extras
        )
        for name, count in learner.refresh_counts.items():
            found[name] = count.clone()
            count.zero_()
        return found

    def _seen(self, params: Params, inputs: Tensor) -> tuple[Tensor, Params]:
        """Outputs and preactivations. Raises FloatingPointError if a preactivation is not finite."""
        apply = lift(lambda params, inputs, task: self._learner.network.apply(params, inputs, task=task, raw=True))
        outputs, raw = chunked(apply, self._learner.chunk_size)(params, inputs, self._task)
        for layer, units in raw.items():
            finite(layer, units)
        return outputs, raw

    def _of_batch(self, params: Params, outputs: Tensor, raw: Params) -> dict[str, Tensor]:
        """Metrics of ONE network that depend on the batch and the parameters only."""
        network = self._learner.network
        units = network.activated(params, raw)
        found = measures.of_features(units, raw, self._bounded, self._tops)
        found |= measures.of_lengths(params, network.layers)
        seen = Observed(params, network.layers, units, raw, outputs)
        for name, each in self._own.items():
            measured = each.measure(seen)
            for key in (key for key, value in measured.items() if value.ndim):
                raise UsageError(f"{name}: {key or 'its value'} must be a scalar, not of shape {tuple(measured[key].shape)}")
            found |= {f"{name}/{key}" if key else name: value for key, value in measured.items()}
        if self._sampled and self._choices:
            found["policy_information"] = function.policy_information(lambda outputs: self._decoded(outputs)["logits"], outputs)
        return found | measures.of_outputs(self._decoded(outputs), self._sampled) | self._agent.measure_constants(params)

    def _of_gradient(self, params: Params, low_precision: Params, batch: Batch, *extras: Any) -> dict[str, Tensor]:
        """Gradient norms of ONE untrained network, named as the learner's with `_fresh`."""
        learner = self._learner
        grads = grad(lambda params: learner.loss(params, batch, *extras)[0])(params | low_precision)
        grads = {name: each.to(params[name].dtype) for name, each in grads.items()}
        return {_with("_fresh", name): size for name, size in by_layer(GRADIENT, grads, learner.network.layers).items()}

    def _of_held(self, params: Params, outputs: Tensor, raw: Params) -> tuple[Params, measures.Moments, Tensor]:
        """Penultimate features, moments of all preactivations, and logits or means of ONE network."""
        features = self._learner.network.activated(params, {top: raw[top] for top in self._tops})
        return features, {layer: moments(units) for layer, units in raw.items()}, self._chosen(outputs)

    def _logits(self, params: Params, held: Tensor, task: Tensor) -> Tensor:
        """Logits, or means of a continuous policy, of ONE network."""
        return self._chosen(self._learner.network.apply(params, held, task=task)[0])

    def _chosen(self, outputs: Tensor) -> Tensor:
        """Logits of ONE network, or the means of a continuous policy."""
        decoded = self._decoded(outputs)
        return decoded["logits" if self._choices else "means"]

    def _decoded(self, outputs: Tensor) -> dict[str, Tensor]:
        """Outputs of ONE network by meaning, with logits of the actions that the visit's task has."""
        if not self._num_actions:
            return self._agent.decode_outputs(outputs)
        count = self._num_actions[int(self._task[0])]
        found = self._agent.decode_outputs(outputs, torch.tensor(count, device=outputs.device))
        return found | {"logits": found["logits"][..., :count]}

    def _memory(self) -> float:
        """Resident memory of the process in MB, all its runs together; on a GPU, the peak memory of its tensors there."""
        if self._learner.device.startswith("cuda"):
            return torch.cuda.max_memory_allocated(self._learner.device) / 1e6
        resident = Path("/proc/self/statm")
        if resident.exists():
            return int(resident.read_text().split()[1]) * resource.getpagesize() / 1e6
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: peak so far, in bytes

    def _processor(self) -> float | None:
        """Processor time of a member's update in milliseconds, since the last row, in the learner's thread alone, so that neither
        neighbours nor emulators count; None on a GPU, whose updates take no processor time, and if every update was measured."""
        spent, before, self._spent = self._learner.spent, self._spent, replace(self._learner.spent)
        updates = spent.updates - before.updates
        return 1e3 * (spent.seconds - before.seconds) / updates if updates and self._learner.device == "cpu" else None

    def _speed(self) -> float:
        now, updates = time.monotonic(), self._learner.ticks["update"]
        (then, before), self._last = self._last, (now, updates)
        return (updates - before) / max(now - then, 1e-9)


def _with(suffix: str, name: str) -> str:
    kind, slash, layer = name.partition("/")
    return f"{kind}{suffix}{slash}{layer}"
