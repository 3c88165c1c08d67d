"""One network as a check sees it: functions of its parameters, its layers, and parameters of newly initialised twins."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, replace_all_batch_norm_modules_
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from plasticity_rl.attach.module_params import bare_layers, check_reinitialisable, reinitialised, unwrapped
from plasticity_rl.checks import UsageError
from plasticity_rl.networks.calls import BY_HAND, LayerGraph, Watch
from plasticity_rl.networks.layers import Layers, Params
from plasticity_rl.networks.trace import trace
from plasticity_rl.seeds import derive

Args = tuple[Tensor, ...]
"""arguments of a forward pass; dimension 0 of each is the examples"""
DEFAULT_INITIALISER = (
    "twins are initialised by each layer's reset_parameters(), PyTorch's default: if your code initialises otherwise (orthogonal weights, "
    "small heads), give a function that makes a new network"
)
BATCH_STATISTICS = "batch norms use each batch's own statistics, in the network and in its twins"


@dataclass(frozen=True)
class Examined:
    """ONE network as functions of its parameters."""

    params: Params
    """those of the checkpoint"""
    outputs: Callable[[Params, Args], Tensor]
    """outputs of all heads side by side, (examples, outputs)"""
    units: Callable[[Params, Args, bool], Params]
    """hidden layer -> its units, (samples, units), after the activation, or before it if True; empty if the layers were not traced"""
    twin: Callable[[int | str], Params]
    """parameters of a newly initialised network, a function of the number or word alone"""
    layers: Layers
    batch_statistics: bool = False
    """True if an output depends on the other examples of its batch"""
    notes: tuple[str, ...] = ()
    """assumptions that a reader of the results must know, a line each"""


class KnownLayers(nn.Module):
    """A module whose layers need not be traced.

    With `raw`, `forward` returns the units of each hidden layer, (samples, units), instead of its outputs: before the activation if True.
    """

    layers: Layers


def examined(module: nn.Module, args: Args, fresh: Callable[[], nn.Module] | None, seed: int) -> Examined:
    """A module on these inputs. `fresh()` makes a new, untrained module; by default a copy's `reset_parameters()` are called.

    Raises UsageError if the module fails on the inputs, or cannot be initialised anew.
    """
    for name, param in module.named_parameters():
        if is_lazy(param):
            raise UsageError(f"{name} has no shape yet: send a batch through the module first")
    made, notes = _plain(module), []
    normed = any(isinstance(each, _BatchNorm) for each in module.modules())
    if normed:
        notes.append(BATCH_STATISTICS)
    params = {name: param.detach() for name, param in made.named_parameters()}
    if not params:
        raise UsageError(f"{type(module).__name__} has no parameters")

    def called(params: Params, args: Args, **kwargs: Any) -> Any:
        return functional_call(made, {**dict(made.named_buffers()), **params}, args, kwargs)

    def outputs(params: Params, args: Args) -> Tensor:
        found = [leaf for leaf in tree_leaves(called(params, args)) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
        if not found or any(leaf.ndim == 0 or len(leaf) != len(args[0]) for leaf in found):
            shapes = [tuple(leaf.shape) for leaf in found]
            raise UsageError(f"outputs for {len(args[0])} examples must have as many rows, not the shapes {shapes}")
        return torch.cat([leaf.reshape(len(leaf), -1) for leaf in found], -1)

    few = tuple(each[:2] for each in args)
    try:
        with torch.no_grad():
            outputs(params, few)
    except UsageError:
        raise
    except Exception as error:  # a user's module may fail in any way
        raise UsageError(f"{type(module).__name__} fails on inputs of shape {_shapes(args)}: {_reason(error)}") from error
    graph = LayerGraph(made.layers, {}, {}, True) if isinstance(made, KnownLayers) else _traced(made, few, notes)

    def units(params: Params, args: Args, raw: bool) -> Params:
        if isinstance(made, KnownLayers):
            return called(params, args, raw=raw)
        if not graph.units:
            return {}
        with Watch(dict(graph.units.values()), raw, graph.in_place) as watch:
            called(params, args)
        return watch.features(graph)

    if fresh is None:
        try:
            check_reinitialisable(made, dict(made.named_parameters()))
        except UsageError as error:
            raise UsageError(str(error).replace("give attach(..., fresh=)", "give a function that makes a new network")) from error
        notes.append(DEFAULT_INITIALISER)

    def twin(which: int | str) -> Params:
        devices = sorted({param.device.index or 0 for param in params.values() if param.is_cuda})
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(derive(seed, "twin", which))
            new = dict((reinitialised(made) if fresh is None else _plain(fresh())).named_parameters())
        for name, param in params.items():
            if name not in new or new[name].shape != param.shape:
                there = f"{tuple(new[name].shape)} there" if name in new else "missing there"
                raise UsageError(f"the new network is of another architecture: {name} is {tuple(param.shape)} here, and {there}")
        return {name: new[name].detach().to(param) for name, param in params.items()}

    first, second = twin("one"), twin("other")
    if all(torch.equal(first[name], second[name]) for name in params):
        raise UsageError("two new networks have the same weights: the function must make a new, untrained one at every call")
    return Examined(params, outputs, units, twin, graph.layers, normed, tuple(notes))


def _plain(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode and single precision, whose batch norms use the batch's statistics."""
    made = copy.deepcopy(unwrapped(module)).float().eval()
    replace_all_batch_norm_modules_(made)
    return made


def _traced(module: nn.Module, args: Args, notes: list[str]) -> LayerGraph:
    """The layer graph; where it cannot be traced, layers without units, and a note that says why."""
    try:
        graph = trace(module, args)
        if not graph.units and not all(layer.head for layer in graph.layers):
            notes.append("units are not measured: no layer has units of its own")
        return graph
    except UsageError as error:
        reason = str(error).replace(f"; {BY_HAND}", "").replace(f", or {BY_HAND}", "")
        notes.append(f"units are not measured: {reason}")
        return LayerGraph(bare_layers(module), {}, {}, True)


def _shapes(args: Args) -> str:
    return ", ".join(str(tuple(each.shape)) for each in args)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
