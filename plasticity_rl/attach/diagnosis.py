"""Metrics of an nn.Module while anyone's loop trains it, under the names of metrics.csv (docs/metrics.md)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from plasticity_rl.attach.module_params import bare_layers, check_reinitialisable, reinitialised, unwrapped
from plasticity_rl.checks import UsageError
from plasticity_rl.metrics import measures
from plasticity_rl.metrics.catalogue import metric_of
from plasticity_rl.metrics.norms import GRADIENT
from plasticity_rl.networks.calls import LayerGraph, Watch, named_params, run
from plasticity_rl.networks.layers import Params, penultimate
from plasticity_rl.networks.trace import trace
from plasticity_rl.seeds import derive


class Diagnosis:
    """Metrics of one module, beside those of a newly initialised copy (`dormant_fraction_fresh`).

    The layer graph is traced on the first batch. Where it cannot be, `note` says why, and metrics of units are left out. `fresh()` makes a
    new module; by default a copy's `reset_parameters()` are called, and without these there is no copy to compare with.
    """

    def __init__(self, module: nn.Module, fresh: Callable[[], nn.Module] | None = None, seed: int = 0) -> None:
        self.module, self.note = unwrapped(module), ""
        self._graph: LayerGraph | None = None
        self._birth = {name: param.detach().clone() for name, param in named_params(self.module).items()}
        self._fresh = self._new(fresh, seed)

    @torch.no_grad()
    def measure(self, args: tuple, kwargs: dict[str, Any] | None = None) -> dict[str, float]:
        """Metrics on one batch, the module's arguments: `name/layer` -> number, and `name` for the whole network, as metrics.csv joins
        layers. Gradients are those that the last backward pass left. Changes neither the module nor the random numbers of its training."""
        graph = self._graph = self._graph or self._traced(args, kwargs)
        params = named_params(self.module)
        now = {name: param.detach() for name, param in params.items()}
        found = self._of(graph, now, args, kwargs or {}) | measures.of_way(self._birth, now, graph.layers)
        owned = [name for layer in graph.layers for name in layer.own]
        if all(params[name].grad is not None for name in owned):
            gradients = {name: params[name].grad for name in owned}
            for name, of_gradient in GRADIENT.items():
                found |= {f"{name}/{layer}": value for layer, value in of_gradient(gradients, graph.layers).items()}
        if self._fresh is not None:
            untrained = self._of(graph, self._fresh, args, kwargs or {})
            found |= {name.replace("/", "_fresh/", 1): value for name, value in untrained.items()}
        return _joined({name: float(value) for name, value in found.items()})

    def _of(self, graph: LayerGraph, params: Params, args: tuple, kwargs: dict[str, Any]) -> measures.Found:
        found = measures.of_lengths(params, graph.layers)
        if not graph.units:
            return found
        watch = Watch(dict(graph.units.values()), True, graph.in_place)
        devices = sorted({param.device.index or 0 for param in params.values() if param.is_cuda})
        with torch.random.fork_rng(devices=devices):  # dropout
            run(self.module, params, args, kwargs, watch)
        raw: Params = {name: seen.float() for name, seen in watch.features(graph).items()}
        features = {name: graph.functions[name](seen) for name, seen in raw.items()}
        bounded = tuple(layer.name for layer in graph.layers if layer.activation == "tanh")
        tops = tuple(layer.name for layer in penultimate(graph.layers) if layer.name in features)
        return found | measures.of_features(features, raw, bounded, tops)

    def _traced(self, args: tuple, kwargs: dict[str, Any] | None) -> LayerGraph:
        try:
            return trace(self.module, args, kwargs)
        except UsageError as error:
            self.note = str(error)
            return LayerGraph(bare_layers(self.module), {}, {}, True)

    def _new(self, fresh: Callable[[], nn.Module] | None, seed: int) -> Params | None:
        if fresh is None:
            try:
                check_reinitialisable(self.module, named_params(self.module))
            except UsageError:
                return None
        devices = sorted({param.device.index or 0 for param in self._birth.values() if param.is_cuda})
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            torch.manual_seed(derive(seed, 0, "network", "reference"))
            made = reinitialised(self.module) if fresh is None else unwrapped(fresh())
        return {name: param.detach().to(self._birth[name]) for name, param in named_params(made).items()}


def _joined(found: dict[str, float]) -> dict[str, float]:
    """Values by layer, and one for the network: their mean, or the length of all as one vector."""
    kinds: dict[str, list[float]] = {}
    for name, value in found.items():
        kinds.setdefault(name.partition("/")[0], []).append(value)
    whole = {}
    for name, values in kinds.items():
        all_of_it = torch.tensor(values, dtype=torch.float64)
        whole[name] = float(all_of_it.norm() if metric_of(name).join == "norm" else all_of_it.mean())
    return found | whole


def of_network(found: dict[str, float]) -> dict[str, float]:
    """The values of the whole network alone."""
    return {name: value for name, value in found.items() if "/" not in name}
