"""The layer graph of any nn.Module: the units of each layer and their readers, from one recorded forward pass."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.layers import Layer, Params

ACTIVATIONS = {name: name.replace("_", "-") for name in ("relu", "leaky_relu", "tanh", "gelu", "silu", "elu", "sigmoid")}
NORMS = {"layer_norm": "layer", "group_norm": "group", "rms_norm": "rms"}
LINEAR = ("linear", "conv1d", "conv2d", "conv3d")
SUMS = ("add", "__add__", "__radd__", "__iadd__")
UNIT_BY_UNIT = (
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "pad", "contiguous", "clone", "detach"),
    *("to", "float", "double", "half", "bfloat16", "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d"),
)
SHAPES = ("flatten", "view", "reshape", "squeeze")
RANDOM = ("dropout", "rand", "normal_", "uniform_", "bernoulli", "multinomial", "rrelu")
"""parts of the names of functions that draw random numbers"""
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
        out = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
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
        out = func(*args, **kwargs)
        if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(out)):
            return out
        if expected:
            if _name(func) != expected or before is None:
                raise UsageError(f"the module computes {_name(func)}, but computed {expected} when it was attached; {BY_HAND}")
            after = out.clone() if self._copies else out
            self.seen[self._count] = before if self._raw else after
        self._count += 1
        return out

    def features(self, layers: tuple[Layer, ...], units: dict[str, tuple[int, str]]) -> Params:
        """Layer name -> its units, (samples, units)."""
        return {layer.name: flat(self.seen[units[layer.name][0]], layer.units) for layer in layers if layer.name in units}


def flat(units: Tensor, number: int, copies: int = 1) -> Tensor:
    """Reshape (batch, copies x units, ...), or the same flattened, to (samples, units)."""
    return units.reshape(len(units), copies, number, -1).permute(0, 3, 1, 2).reshape(-1, number)


def run(module: nn.Module, params: Mapping[str, Tensor], args: tuple, kwargs: dict[str, Any] | None = None) -> Any:
    """Run a forward pass with these parameters, leaving the module's buffers unchanged."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    return functional_call(module, {**buffers, **params}, args, kwargs)


def trace(module: nn.Module, args: tuple) -> LayerGraph:
    """Trace the layer graph of a module in one forward pass on `args`. Supports linear layers and convolutions, an optional norm before the
    activation, pooling, flattening, several heads and sums of units. Raises UsageError for any other operation between two layers."""
    params = dict(module.named_parameters(remove_duplicate=False))
    names = {id(param): name for name, param in params.items()}
    with torch.no_grad(), torch.random.fork_rng(devices=_devices(params)), Record(names) as record:
        run(module, params, args)
    return _Reading(record.calls).layer_graph(params)


class _Reading:
    """Derives layers from the recorded calls of a forward pass."""

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        weights = {i: call.params[1] for i, call in enumerate(calls) if call.name in LINEAR and len(call.params) > 1}
        self.linear = {i: weight for i, weight in weights.items() if weight is not None}
        self.leads = [False] * len(calls)  # True for a layer, and for calls whose result a layer reads
        for i in reversed(range(len(calls))):
            self.leads[i] = i in self.linear or any(self.leads[user] for user in calls[i].users)
        self.claimed: set[int] = set()

    def layer_graph(self, params: dict[str, nn.Parameter]) -> LayerGraph:
        layers, norms, units = [], {}, {}
        for i, weight in self.linear.items():
            name = _module_of(weight)
            if list(self.linear.values()).count(weight) > 1:
                raise UsageError(f"{name} is used more than once in a forward pass; {BY_HAND}")
            if self._argument(i, "groups", 6, 1) != 1:
                raise UsageError(f"{name} is a convolution of several groups, which is not supported; {BY_HAND}")
            biases = [param for param in self.calls[i].params[2:] if param is not None]
            layer = Layer(name, weight, biases[0] if biases else None, None, None, len(params[weight]), (), 1, None)
            readers, shared = self._readers(i, layer)
            if readers:
                scale, offset, norm, activation = self._stage(i, name)
                if activation is None and not shared:
                    raise UsageError(f"{name} is read by {next(iter(readers))} without an activation in between; {BY_HAND}")
                columns = set(readers.values())
                if len(columns) > 1 and not shared:
                    raise UsageError(f"{name} is read both flattened and not; {BY_HAND}")
                width = 1 if shared else max(columns)
                layer = layer._replace(scale=scale, offset=offset, readers=tuple(readers), columns=width, shared=shared)
                if norm is not None:
                    norms[name] = norm
                if activation is not None:
                    units[name] = (activation, self.calls[activation].name)
                    layer = layer._replace(activation=ACTIVATIONS[self.calls[activation].kind])
            layers.append(layer)
        self._check_owned(layers, params)
        in_place = any(self._in_place(call) for call in self.calls)
        functions = {name: self.calls[i].of for name, (i, _) in units.items()}
        random = next((call.name for call in self.calls if any(part in call.name for part in RANDOM)), "")
        return LayerGraph(tuple(layers), norms, units, in_place, functions, random)

    def _users(self, i: int) -> Iterator[int]:
        return (user for user in self.calls[i].users if self.leads[user])

    def _readers(self, i: int, layer: Layer) -> tuple[dict[str, int], bool]:
        """The readers of the call's units, each with its number of columns per unit; and True if the units are added to others."""
        readers: dict[str, int] = {}
        shared, front, seen = False, [(i, 1)], set()
        while front:
            value, columns = front.pop(0)
            for user in self._users(value):
                call, shape = self.calls[user], self.calls[value].shape
                kind = call.kind
                if user in self.linear:
                    if call.inputs[0] != value or len(shape) != len(call.shape) or (call.name == "linear" and len(shape) != 2):
                        self._refuse(user, layer)
                    readers[_module_of(self.linear[user])] = columns
                    continue
                if kind in SUMS:
                    if len(call.inputs) != 2 or call.shapes[0] != call.shapes[1]:
                        self._refuse(user, layer)
                    shared = True
                elif kind in SHAPES and call.shape != shape:
                    if len(call.shape) != 2 or call.shape[0] != shape[0] or columns != 1:
                        self._refuse(user, layer)
                    columns_after = prod(shape[2:])
                    if (user, columns_after) not in seen:
                        seen.add((user, columns_after))
                        front.append((user, columns_after))
                    continue
                elif not (kind in UNIT_BY_UNIT or kind in SHAPES or kind in ACTIVATIONS or kind in NORMS or self._pools(user, shape)):
                    self._refuse(user, layer)
                if (user, columns) not in seen:
                    seen.add((user, columns))
                    front.append((user, columns))
        return readers, shared

    def _stage(self, i: int, name: str) -> tuple[str | None, str | None, str | None, int | None]:
        """The norm (scale, offset, kind) and the activation between a layer and its readers. Those after a sum belong to the first layer
        that writes it."""
        scale = offset = norm = None
        units, value = self.calls[i].shape[1], i
        while True:
            users = list(self._users(value))
            onward = [user for user in users if self.calls[user].kind not in SUMS] or users[:1]
            kinds = {self.calls[user].kind for user in onward}
            if any(user in self.linear for user in onward):
                return scale, offset, norm, None
            if len(onward) > 1 and not (len(kinds) == 1 and kinds <= ACTIVATIONS.keys()):
                raise UsageError(f"{name} goes to {' and '.join(sorted(kinds))} at once, before its activation; {BY_HAND}")
            value, kind = onward[0], kinds.pop()
            if kind in (*ACTIVATIONS, *NORMS):
                if value in self.claimed:
                    return scale, offset, norm, None
                self.claimed.add(value)
            if kind in ACTIVATIONS:
                return scale, offset, norm, value
            if kind in NORMS:
                held = [param for param in self.calls[value].params[1:] if param is not None]
                if norm is not None or any(shape != (units,) for shape in self.calls[value].shapes[1:]):
                    raise UsageError(f"{kind} after {name} is not a norm with one scale and one offset per unit; {BY_HAND}")
                norm = "layer" if kind == "group_norm" and self._argument(value, "num_groups", 1, 0) == 1 else NORMS[kind]
                scale, offset = [*held, None, None][:2]

    def _check_owned(self, layers: list[Layer], params: dict[str, nn.Parameter]) -> None:
        owned = {name for layer in layers for name in layer.own}
        used = {name for call in self.calls for name in call.params}
        for name in params:
            if name not in used:
                raise UsageError(f"{name} is not used in the forward pass: remove it from the module, or {BY_HAND}")
            if name not in owned:
                known = "linear or convolution, then a norm or none, then an activation"
                raise UsageError(f"{name} is in no recognised layer ({known}); {BY_HAND}")

    def _refuse(self, i: int, layer: Layer) -> None:
        call = self.calls[i]
        if call.name == "batch_norm":
            raise UsageError(f"batch_norm after {layer.name}: its running statistics are not parameters; use LayerNorm or GroupNorm")
        where = _module_of(self.linear[i]) if i in self.linear else f"{call.name} (call {i} of the forward pass)"
        raise UsageError(f"{where}, which reads units of {layer.name}, is not supported; {BY_HAND}")

    def _pools(self, i: int, shape: torch.Size) -> bool:
        """True if the call is a mean or maximum over positions only."""
        over = self._argument(i, "dim", 1, None)
        dims = () if over is None else over if isinstance(over, tuple | list) else (over,)
        return self.calls[i].kind in ("mean", "amax") and bool(dims) and all(dim % len(shape) >= 2 for dim in dims)

    def _argument(self, i: int, name: str, position: int, default: Any) -> Any:
        arguments = self.calls[i].arguments
        return arguments.get(name, arguments.get(str(position), default))

    @staticmethod
    def _in_place(call: Call) -> bool:
        return call.name == "__iadd__" or call.name != call.kind or call.arguments.get("inplace") is True


def check_layers(layers: tuple[Layer, ...], params: dict[str, nn.Parameter]) -> None:
    """Raise UsageError if hand-written layers do not fit the module."""
    known = {layer.name for layer in layers}
    for layer in layers:
        for name in layer.own:
            if name not in params:
                raise UsageError(f"layer {layer.name}: the module has no parameter {name!r}; it has {', '.join(params)}")
            if len(params[name]) != layer.units:
                raise UsageError(f"layer {layer.name}: {name} has {len(params[name])} rows, and the layer {layer.units} units")
        for reader in layer.readers:
            if reader not in known:
                raise UsageError(f"layer {layer.name}: its reader {reader!r} is not a layer; layers are {', '.join(sorted(known))}")
            width = next(params[each.weight].shape[1] for each in layers if each.name == reader)
            if not layer.shared and width != layer.units * layer.columns * layer.copies:
                made = f"{layer.units} units, each {layer.columns * layer.copies} times,"
                raise UsageError(
                    f"layer {layer.name}: {made} are not the {width} that {reader} reads; read beside others they are shared=True"
                )


def _module_of(parameter: str) -> str:
    return parameter.rpartition(".")[0] or parameter


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", str(function))


def _devices(params: dict[str, nn.Parameter]) -> list[int]:
    return sorted({param.device.index or 0 for param in params.values() if param.is_cuda})
