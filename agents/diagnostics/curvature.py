"""Costly diagnostics: curvature, the tangent kernel, per-example gradients, and metrics with a pass per unit or output."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from agents.base import Agent
from plasticity_rl.experiment import Experiment
from plasticity_rl.metrics import curvature, function, norms
from plasticity_rl.networks.layers import Params, own_units
from plasticity_rl.training.learner import Learner
from plasticity_rl.training.update import Batch

EXAMPLES = 64  # examples for the kernel and the Jacobian, as in Lyle et al. 2024 (arXiv 2402.18762) according to a secondary source
EIGENVALUES = 3


class Curvature:
    """Diagnostics every `curvature_every` updates, one member at a time, as some need many copies of a network."""

    def __init__(self, learner: Learner, logits: Callable[..., Tensor], penultimate: tuple[str, ...], experiment: Experiment) -> None:
        self._learner, self._logits, self._tops = learner, logits, penultimate
        self._every, self._separable = experiment.curvature_every, cast(Agent, experiment.agent).separable
        self._apart = tuple(layer for layer in own_units(learner.network.layers) if layer.name in penultimate)

    def due(self, number: int) -> bool:
        """True if update `number`, counted from 1, is measured."""
        return self._every > 0 and number % self._every == 0

    def measure(
        self, untrained: Params, start: Params, held: Tensor | None, task: Tensor, batch: Batch, extras: tuple[Any, ...]
    ) -> dict[str, Tensor]:
        """All metrics, (S,) each: of the loss on the latest batch, and of the outputs for the first 64 reference examples."""
        assert held is not None
        rows: list[dict[str, Tensor]] = []
        for member in range(self._learner.members):
            one = lambda tree, m=member: tree_map(lambda tensor: tensor[m], tree)  # noqa: E731
            given = one((held, task, batch, extras))
            found: dict[str, Tensor] = {}
            for suffix, params in (("", self._learner.net.params), ("_fresh", untrained)):
                rows_of_one = self._of_loss(one(params), member, *given[2:]) | self._of_outputs(one(params), *given[:2])
                found |= {name.replace("/", f"{suffix}/", 1) if "/" in name else name + suffix: row for name, row in rows_of_one.items()}
            rows.append(found | self._since_start(one(start), one(self._learner.net.params), given[0]))
        return {name: torch.stack([row[name].double() for row in rows]) for name in rows[0]}

    def _of_loss(self, params: Params, member: int, batch: Batch, extras: tuple[Any, ...]) -> dict[str, Tensor]:
        """Metrics of ONE network's loss on the latest batch."""
        learner = self._learner

        def loss(params: Params) -> Tensor:
            return learner.loss(params, batch, *extras)[0]

        draw = learner.draw(member, "curvature")
        shapes = learner.network.shapes
        begin = {name: torch.randn(shapes[name], generator=draw).to(learner.device) for name in params}
        values = curvature.hessian_eigenvalues(loss, params, begin, EIGENVALUES).values
        found = {f"hessian_eigenvalue/{rank + 1}": value for rank, value in enumerate(values)}
        for layer in self._apart:
            rises = function.reliance(loss, params, layer, learner.network.layers)
            found |= {f"reliance_mean/{layer.name}": rises.mean(), f"reliance_max/{layer.name}": rises.max()}
        if self._separable:
            examples = {name: value for name, value in batch.items() if value.ndim}
            common = {name: value for name, value in batch.items() if not value.ndim}

            def of_example(params: Params, example: Batch) -> Tensor:
                return learner.loss(params, {name: value.unsqueeze(0) for name, value in example.items()} | common, *extras)[0]

            gradients = curvature.example_gradients(of_example, params, examples)
            cosines = curvature.cosines(gradients)
            found["gradient_rank"] = curvature.gradient_rank(cosines)
            found["gradient_interference"] = curvature.interference(cosines)
            found["gradient_covariance_rank"] = curvature.covariance_rank(gradients)
            ready = curvature.readiness(loss(params), gradients)
            found |= {"gradient_strength": ready.strength, "gradient_reliability": ready.reliability, "readiness": ready.readiness}
        return found

    def _of_outputs(self, params: Params, held: Tensor, task: Tensor) -> dict[str, Tensor]:
        """Metrics of ONE network's outputs on the reference batch."""
        kernel = curvature.ntk(lambda params, inputs: self._logits(params, inputs, task), params, held, EXAMPLES)
        found = {"ntk_rank": curvature.ntk_rank(kernel), "ntk_condition_number": curvature.condition_number(kernel)}
        found["jacobian_norm"] = norms.jacobian_norm(lambda inputs: self._logits(params, inputs, task), held[:EXAMPLES])
        return found

    def _since_start(self, start: Params, params: Params, held: Tensor) -> dict[str, Tensor]:
        """PWCCA of ONE network's features with the visit's start, for layers with fewer units than samples: elsewhere it is always 1."""
        then, now = (self._learner.network.apply(each, held)[1] for each in (start, params))
        large = [top for top in self._tops if len(now[top]) > now[top].shape[1]]
        return {f"pwcca_to_start/{top}": function.pwcca(then[top], now[top]) for top in large}
