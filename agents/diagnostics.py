"""What a run reports of its networks besides scores: rows of metrics.csv, all members at once, outside the update."""

import time
from collections.abc import Iterator
from typing import Any

import torch

from plasticity_rl.learner import Learner
from plasticity_rl.lift import lift
from plasticity_rl.metrics import norms, units
from plasticity_rl.networks import Params
from plasticity_rl.runs import Metric


class Diagnostics:
    """Call `before` ahead of each update and `rows` behind it; every `every`-th update has something to say."""

    def __init__(self, learner: Learner, every: int) -> None:
        self._learner, self._every = learner, every
        self._untrained = learner.fresh("reference")
        self._before: Params | None = None
        self._last = time.monotonic(), learner.ticks["update"]

    def before(self) -> None:
        due = (self._learner.ticks["update"] + 1) % self._every == 0
        self._before = {name: param.clone() for name, param in self._learner.net.params.items()} if due else None

    @torch.no_grad()
    def rows(self, where: dict[str, Any], reported: dict[str, torch.Tensor]) -> Iterator[Metric]:
        """`where` are a row's leading columns less the member, `reported` what the update returned."""
        if self._before is None:
            return
        assert self._learner.inputs is not None
        layers, params, inputs = self._learner.network.layers, self._learner.net.params, self._learner.inputs
        values = {
            "loss": reported["loss"],
            "learning_rate": self._learner.rate,
            "updates_per_second": torch.full_like(self._learner.rate, self._speed()),
        }
        for suffix, of in (("", params), ("_fresh", self._untrained)):
            for layer, features in self._learner.features(of, inputs).items():
                values[f"dormant_fraction{suffix}/{layer}"] = lift(units.dormant_fraction)(features)
        lengths = lift(lambda params: norms.weight_norm(params, layers))(params)
        rates = lift(lambda before, after: norms.effective_learning_rate(before, after, layers))(self._before, params)
        values |= {f"weight_norm/{layer}": value for layer, value in lengths.items()}
        values |= {f"effective_learning_rate/{layer}": value for layer, value in rates.items()}
        for name, value in values.items():
            for member, number in enumerate(value.tolist()):
                yield Metric(member=member, **where, name=name, value=number)

    def _speed(self) -> float:
        now, updates = time.monotonic(), self._learner.ticks["update"]
        (then, before), self._last = self._last, (now, updates)
        return (updates - before) / max(now - then, 1e-9)
