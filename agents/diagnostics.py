"""What a run reports of its networks besides scores: rows of metrics.csv, all members at once, outside the update."""

import time
from collections.abc import Iterator
from typing import Any

import torch

from plasticity_rl.interventions.base import tops
from plasticity_rl.learner import Learner
from plasticity_rl.lift import lift
from plasticity_rl.metrics import finite, norms, ranks, units
from plasticity_rl.runs import Metric


class Diagnostics:
    """Every `every`-th update is `due`: it is to be measured, and `rows` says what came out."""

    def __init__(self, learner: Learner, every: int) -> None:
        self._learner, self._every = learner, every
        self._untrained, self._birth = learner.fresh("reference"), learner.fresh("birth")
        self._last = time.monotonic(), learner.ticks["update"]

    @property
    def due(self) -> bool:
        """Is the next update to be measured?"""
        return (self._learner.ticks["update"] + 1) % self._every == 0

    @torch.no_grad()
    def rows(self, where: dict[str, Any], reported: dict[str, torch.Tensor]) -> Iterator[Metric]:
        """`where` are a row's leading columns less the member, `reported` what the update that was due returned."""
        assert self._learner.inputs is not None
        layers, params, inputs = self._learner.network.layers, self._learner.net.params, self._learner.inputs
        values = {
            "loss": reported["loss"],
            "learning_rate": self._learner.rate,
            "updates_per_second": torch.full_like(self._learner.rate, self._speed()),
        }
        for suffix, of in (("", params), ("_fresh", self._untrained)):
            features, raw = self._learner.features(of, inputs), self._learner.features(of, inputs, raw=True)
            for layer in features:
                finite(layer, features[layer])
                values[f"dormant_fraction{suffix}/{layer}"] = lift(units.dormant_fraction)(features[layer])
                values[f"dead_fraction{suffix}/{layer}"] = lift(units.dead_fraction)(raw[layer])
                values[f"linearised_fraction{suffix}/{layer}"] = lift(units.linearised_fraction)(raw[layer])
            for top in tops(layers):  # what the heads read: a decomposition of every layer would take longer than the updates
                found = lift(ranks.ranks)(features[top.name])
                values |= {f"{name}{suffix}/{top.name}": rank for name, rank in found.items()}
        lengths = lift(lambda params: norms.weight_norm(params, layers))(params)
        values |= {f"weight_norm/{layer}": value for layer, value in lengths.items()}
        ways = lift(lambda before, after: norms.distance(before, after, layers))(self._birth, params)
        values |= {f"distance_from_birth/{layer}": value for layer, value in ways.items()}
        values |= {name: value for name, value in reported.items() if name.startswith("effective_learning_rate/")}
        for name, value in values.items():
            for member, number in enumerate(value.tolist()):
                yield Metric(member=member, **where, name=name, value=number)

    def _speed(self) -> float:
        now, updates = time.monotonic(), self._learner.ticks["update"]
        (then, before), self._last = self._last, (now, updates)
        return (updates - before) / max(now - then, 1e-9)
