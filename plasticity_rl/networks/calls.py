"""A module's forward pass as the torch functions that it calls: recorded once, then watched for the units of its layers."""

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.layers import Layer, Params

BY_HAND = "state the layer graph yourself, as attach's docstring shows: attach(..., layers=(Layer(...), ...), units={...})"


@dataclass
class Call:
    """One torch function call of a forward pass."""

    name: str
    inputs: tuple[int | None, ...]
    """for each tensor argument, in order, the call that made it; None if no call did"""
    params: tuple[str | None, ...]
    """for each tensor argument, the parameter that it is"""
    shapes: tuple[torch.Size, ...]
    shape: torch.Size
    arguments: dict[str, Any]
    """arguments that are not tensors: position (as text) or keyword -> value"""
    function: Callable[..., Any]
    users: list[int] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The function's name, without the trailing underscore of in-place functions."""
        return self.name if self.name.startswith("__") else self.name.removesuffix("_")

    def of(self, x: Tensor) -> Tensor:
        """The function of another tensor, with the same other arguments and not in place."""
        others = [value for where, value in self.arguments.items() if where.isdigit()]
        named = {where: where != "inplace" and value for where, value in self.arguments.items() if not where.isdigit()}
        return self.function(x.clone() if self.name != self.kind else x, *others, **named)


@dataclass
class LayerGraph:
    layers: tuple[Layer, ...]
    norms: dict[str, str]
    """layer -> the kind of its norm"""
    units: dict[str, tuple[int, str]]
    """layer -> the call of its activation, and that function's name"""
    in_place: bool
    """True if the forward pass overwrites tensors"""
    axes: dict[str, int] = field(default_factory=dict)
    """layer -> the dimension of its activation's output that holds the units, where it is not dimension 1"""
    statistics: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """layer -> the buffers with its norm's running mean and variance"""
    functions: dict[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    """layer -> its activation"""
    random: str = ""
    """name of a function that draws random numbers; empty if none does"""


class Record(TorchFunctionMode):
    """Record the calls of a forward pass."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._names, self._made, self._kept = names, {}, []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        call = Call(
            _name(func),
            tuple(self._made.get(id(tensor)) for tensor in taken),
            tuple(self._names.get(id(tensor)) for tensor in taken),
            tuple(tensor.shape for tensor in taken),
            torch.Size(),
            {str(where): value for where, value in (*enumerate(args), *kwargs.items()) if not isinstance(value, Tensor)},
            func,
        )
        out, made = _called(func, args, kwargs)
        if made:
            for source in {source for source in call.inputs if source is not None}:
                self.calls[source].users.append(len(self.calls))
            for tensor in made:
                self._made[id(tensor)] = len(self.calls)
            self._kept += [*taken, *made]  # an id is unique only while its tensor lives
            call.shape = made[0].shape
            self.calls.append(call)
        return out


class Watch(TorchFunctionMode):
    """Capture the input or output tensors of some calls of a forward pass."""

    def __init__(self, watched: dict[int, str], raw: bool, copies: bool) -> None:
        super().__init__()
        self.seen: dict[int, Tensor] = {}
        self._watched, self._raw, self._copies, self._count = watched, raw, copies, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        expected = self._watched.get(self._count)
        before = next((leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)), None) if expected else None
        if before is not None and self._raw and self._copies:
            before = before.clone()
        out, made = _called(func, args, kwargs)
        if not made:
            return out
        if expected:
            if _name(func) != expected or before is None:
                raise UsageError(f"the module computes {_name(func)}, but computed {expected} when it was attached; {BY_HAND}")
            after = out.clone() if self._copies else out
            self.seen[self._count] = before if self._raw else after
        self._count += 1
        return out

    def features(self, graph: LayerGraph) -> Params:
        """Layer name -> its units, (samples, units)."""
        found = {layer.name: (layer, self.seen[graph.units[layer.name][0]]) for layer in graph.layers if layer.name in graph.units}
        return {name: flat(seen.movedim(graph.axes.get(name, 1), 1), layer.units) for name, (layer, seen) in found.items()}


def flat(units: Tensor, number: int, copies: int = 1) -> Tensor:
    """Reshape (batch, copies x units, ...), or the same flattened, to (samples, units)."""
    return units.reshape(len(units), copies, number, -1).permute(0, 3, 1, 2).reshape(-1, number)


def run(module: nn.Module, params: Mapping[str, Tensor], args: tuple, kwargs: dict[str, Any], watch: Watch) -> Any:
    """Run a forward pass with these parameters, uncompiled, leaving the module's buffers unchanged."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}  # before `watch`, which counts calls
    with uncompiled(), watch:
        return functional_call(module, {**buffers, **params}, args, kwargs)


def uncompiled() -> AbstractContextManager[None]:
    """Within it, what torch.compile made runs as written, so that its calls are seen."""
    compiles = "torch._dynamo" in sys.modules  # its import takes a second, and nothing is compiled without it
    return torch.compiler.set_stance("force_eager") if compiles else nullcontext()


def named_params(module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by name. One that stands in two modules has two names; a module that stands in two places has its first."""
    own = {path: each.named_parameters(recurse=False, remove_duplicate=False) for path, each in module.named_modules()}
    return {f"{path}.{name}".removeprefix("."): param for path, params in own.items() for name, param in params}


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", str(function))


def _called(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> tuple[Any, list[Tensor]]:
    """Call a function: its result, and the tensors in it that can hold units, as whole numbers only count."""
    out = function(*args, **kwargs)
    if _name(function) == "__iter__":
        parts = list(out)
        out, made = iter(parts), parts
    else:
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    return out, [tensor for tensor in made if tensor.is_floating_point()]
