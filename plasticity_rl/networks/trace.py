"""The layer graph of any nn.Module: the units of each layer and their readers, from one recorded forward pass."""

from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from torch.func import functional_call

from plasticity_rl.checks import UsageError
from plasticity_rl.networks.calls import BY_HAND, Call, LayerGraph, Record, named_params, uncompiled
from plasticity_rl.networks.layers import Layer

ACTIVATIONS = {name: name.replace("_", "-") for name in ("relu", "leaky_relu", "tanh", "gelu", "silu", "elu", "sigmoid")}
NORMS = {"layer_norm": "layer", "group_norm": "group", "rms_norm": "rms", "batch_norm": "batch"}
LAST = ("layer_norm", "rms_norm")
"""norms of the last dimension; the others are of dimension 1"""
LINEAR = ("linear", "conv1d", "conv2d", "conv3d")
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
ATTENTION = "multi_head_attention_forward"
PRODUCTS = ("matmul", "__matmul__", "bmm", "baddbmm", "einsum")
MIXERS = ("scaled_dot_product_attention", *PRODUCTS)
"""functions of several layers' units together, after which no unit is one layer's alone"""
SUMS = ("add", "__add__", "__radd__", "__iadd__")
BESIDE = ("cat", "concat", "concatenate")
"""units beside others', of which a layer's `columns` cannot tell"""
UNIT_BY_UNIT = ("dropout", "alpha_dropout", "contiguous", "clone", "detach", "to", "float", "double", "half", "bfloat16")
CHANNEL_BY_CHANNEL = (
    *("dropout1d", "dropout2d", "dropout3d", "feature_dropout", "pad"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d"),
)
"""of dimension 1, before others"""
MOVES = (
    *("flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze", "transpose", "swapaxes", "permute", "movedim", "moveaxis"),
    *("__getitem__", "select", "narrow", "unbind", "__iter__", "expand", "mean", "amax"),
)
"""rearrangements and means, of which a trial shows where each unit goes"""
FREE = (*SUMS, *BESIDE, "embedding", "expand", "repeat")
"""first uses of a parameter that layers read but that is none's, such as an embedding's table"""
RANDOM = ("dropout", "rand", "normal_", "uniform_", "bernoulli", "multinomial", "rrelu")
"""parts of the names of functions that draw random numbers"""


def trace(module: nn.Module, args: tuple, kwargs: dict[str, Any] | None = None) -> LayerGraph:
    """Trace the layer graph of a module in one forward pass on these arguments.

    Supports linear layers, also on sequences, and convolutions, each with an optional norm before the activation; pooling, rearranging,
    several heads and sums of units; recurrent layers and attention, whose own units are `shared`. Raises UsageError for any other operation
    between two layers.
    """
    params = named_params(module)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    names = {id(tensor): name for name, tensor in {**buffers, **params}.items()}
    with torch.no_grad(), torch.random.fork_rng(devices=_devices(params)), uncompiled(), Record(names) as record:
        functional_call(module, {**buffers, **params}, args, kwargs)
    return _Reading(record.calls, params).layer_graph()


class _Walk(NamedTuple):
    """The ways of a layer's units to those that read them."""

    readers: dict[str, int]
    """reader -> number of its columns per unit"""
    shared: bool
    """True if the units are added to others"""
    axes: dict[int, int]
    """call on the way -> the dimension of its output that holds the units"""


class _Reading:
    """Derives layers from the recorded calls of a forward pass."""

    def __init__(self, calls: list[Call], params: dict[str, nn.Parameter]) -> None:
        self.calls, self.params = calls, params
        self.linear: dict[int, str] = {}
        self.several: dict[int, list[str]] = {}
        """recurrent or attention call -> its weights"""
        for i, call in enumerate(calls):
            own = [name for name in call.params if name in params]
            if call.name in LINEAR and len(call.params) > 1 and call.params[1] in params:
                self.linear[i] = str(call.params[1])
            elif call.name in RECURRENT or call.name == ATTENTION:
                self.several[i] = [name for name in own if params[name].ndim == 2]
        self.leads = [False] * len(calls)  # True for a layer, and for calls whose result a layer reads
        for i in reversed(range(len(calls))):
            self.leads[i] = i in self.linear or i in self.several or any(self.leads[user] for user in calls[i].users)
        self.claimed: set[int] = set()

    def layer_graph(self) -> LayerGraph:
        layers: dict[str, Layer] = {}
        norms, units, axes, statistics = {}, {}, {}, {}
        for i in sorted([*self.linear, *self.several]):
            last = self._last(i)
            for name, weight, bias in self._weights(i):
                if name in layers and weight in last:
                    raise UsageError(f"{name} is used more than once in a forward pass; {BY_HAND}")
                layer = Layer(name, weight, bias, None, None, len(self.params[weight]), (), 1, None)
                if weight not in last:
                    readers = {*layers[name].readers} if name in layers else set()
                    outward = {_named(each) for each in last} or self._reached(i)
                    layers[name] = layer._replace(shared=True, readers=tuple(sorted(readers | outward)))
                    continue
                if self._argument(i, "groups", 6, 1) != 1 and i in self.linear:
                    raise UsageError(f"{name} is a convolution of several groups, which is not supported; {BY_HAND}")
                mixed = self._mixed(i)
                walk = _Walk(dict.fromkeys(sorted(self._reached(i)), 1), True, {}) if mixed else self._walk(i, layer)
                if walk.readers:
                    scale, offset, stats, norm, activation = self._stage(i, layer, walk.shared)
                    if activation is None and not walk.shared:
                        raise UsageError(f"{name} is read by {next(iter(walk.readers))} without an activation in between; {BY_HAND}")
                    columns = set(walk.readers.values())
                    if len(columns) > 1 and not walk.shared:
                        raise UsageError(f"{name} is read both flattened and not; {BY_HAND}")
                    width = 1 if walk.shared else max(columns)
                    layer = layer._replace(scale=scale, offset=offset, readers=tuple(walk.readers), columns=width, shared=walk.shared)
                    if norm is not None:
                        norms[name] = norm
                    if stats:
                        statistics[name] = stats
                    if activation in walk.axes:
                        units[name] = (activation, self.calls[activation].name)
                        layer = layer._replace(activation=ACTIVATIONS[self.calls[activation].kind])
                        axes |= {name: walk.axes[activation]} if walk.axes[activation] != 1 else {}
                layers[name] = layer
        made = self._with_others([*layers.values()])
        in_place = any(self._in_place(call) for call in self.calls)
        functions = {name: self.calls[i].of for name, (i, _) in units.items()}
        random = next((call.name for call in self.calls if any(part in call.name for part in RANDOM)), "")
        return LayerGraph(made, norms, units, in_place, axes, statistics, functions, random)

    def _weights(self, i: int) -> Iterator[tuple[str, str, str | None]]:
        """Name, weight and bias of each layer of a call."""
        call = self.calls[i]
        if i in self.linear:
            biases = [param for param in call.params[2:] if param is not None]
            yield _module_of(self.linear[i]), self.linear[i], biases[0] if biases else None
            return
        for weight in self.several[i]:
            bias = "bias".join(weight.rsplit("weight", 1))
            yield _named(weight), weight, bias if bias in call.params else None

    def _last(self, i: int) -> list[str]:
        """The weight whose outputs are a call's own: none of a recurrent layer, whose units are its gates'."""
        if i in self.linear:
            return [self.linear[i]]
        if self.calls[i].name != ATTENTION:
            return []
        if len(self.several[i]) != 2:
            raise UsageError(f"{_named(self.several[i][0])} is attention with separate weights, which is not supported; {BY_HAND}")
        return self.several[i][1:]

    def _users(self, i: int) -> Iterator[int]:
        return (user for user in self.calls[i].users if self.leads[user])

    def _next_layers(self, i: int) -> tuple[set[int], set[int]]:
        """Calls that read a call's result, whatever comes between: those of layers, and others on the way."""
        front, between, found = [i], set(), set()
        while front:
            for user in self._users(front.pop()):
                if user in self.linear or user in self.several:
                    found.add(user)
                elif user not in between:
                    between.add(user)
                    front.append(user)
        return found, between

    def _reached(self, i: int) -> set[str]:
        """Names of the layers that read a call's result, whatever comes between."""
        own = {name for name, _, _ in self._weights(i)} if i in self.linear or i in self.several else set()
        return {name for user in self._next_layers(i)[0] for name in self._inputs(user)} - own

    def _inputs(self, i: int) -> list[str]:
        """Names of a call's layers that read its input."""
        if i in self.linear:
            return [_module_of(self.linear[i])]
        if self.calls[i].name == ATTENTION:
            return [_named(name) for name in self.several[i][:-1]]
        cell = self.calls[i].name.endswith("_cell")
        return [_named(name) for name in self.several[i] if "weight_ih" in name and (cell or "weight_ih_l0" in name)]

    def _mixed(self, i: int) -> bool:
        """True if attention or another product takes the units before a layer does."""
        found, between = self._next_layers(i)
        taken = any(self.calls[user].kind in MIXERS for user in between)
        cross = any(self.calls[user].name == ATTENTION and len(set(self.calls[user].inputs[:3])) > 1 for user in found)
        return taken or cross

    def _walk(self, i: int, layer: Layer) -> _Walk:
        """Follow the units of a call to all that read them."""
        readers: dict[str, int] = {}
        start = 1 if self.calls[i].name.startswith("conv") else len(self.calls[i].shape) - 1
        shared, front, axes, after = False, [(i, 1, start, False)], {i: start}, None
        while front:
            value, columns, axis, activated = front.pop(0)
            for user in self._users(value):
                call, shape, kind = self.calls[user], self.calls[value].shape, self.calls[user].kind
                if user in self.linear or user in self.several:
                    dense = not call.name.startswith("conv")
                    if call.inputs[0] != value or axis != (len(shape) - 1 if dense else 1) or (not dense and len(shape) != len(call.shape)):
                        self._refuse(user, layer)
                    readers |= dict.fromkeys(self._inputs(user), columns)
                    continue
                if kind in BESIDE:
                    shared = True
                    readers |= dict.fromkeys(self._reached(user), columns)
                    continue
                if kind in SUMS:
                    if len(call.inputs) != 2 or call.shape != shape:
                        self._refuse(user, layer)
                    shared = True
                elif kind in MOVES and (call.shape != shape or kind not in ("view", "reshape")):
                    moved = self._moved(call, shape, axis, layer.units * columns)
                    if moved is None or (moved[1] > 1 and columns > 1):
                        self._refuse(user, layer)
                    axis_then, columns_then = moved[0], columns * moved[1]
                    if user not in axes:
                        axes[user] = axis_then
                        front.append((user, columns_then, axis_then, activated))
                    continue
                elif kind in NORMS:
                    if axis != (len(shape) - 1 if kind in LAST else 1):
                        self._refuse(user, layer)
                    after = user if activated else after
                elif not (
                    kind in UNIT_BY_UNIT
                    or kind in ACTIVATIONS
                    or kind in MOVES
                    or (kind in CHANNEL_BY_CHANNEL and axis == 1 < len(shape) - 1)
                ):
                    self._refuse(user, layer)
                if user not in axes:
                    axes[user] = axis
                    front.append((user, columns, axis, activated or kind in ACTIVATIONS))
        if after is not None and not shared:
            raise UsageError(f"{self.calls[after].kind} after the activation of {layer.name} is not supported: put it before; or {BY_HAND}")
        return _Walk(readers, shared, axes)

    def _moved(self, call: Call, shape: torch.Size, axis: int, size: int) -> tuple[int, int] | None:
        """Where a rearrangement puts units: their dimension, and how many adjacent places hold each. None if they do not stay whole.

        Tried on a tensor that holds, at every place, the number of its unit.
        """
        if len(call.inputs) != 1:
            return None
        numbers = torch.arange(size, dtype=torch.float64)
        made = call.of(numbers.view(-1, *(1,) * (len(shape) - axis - 1)).expand(shape).contiguous())
        tried = made if isinstance(made, Tensor) else next(iter(made))
        for place in (axis, *reversed(range(tried.ndim))):
            length = tried.shape[place] if place < tried.ndim else 0
            if length and length % size == 0:
                expected = numbers.repeat_interleave(length // size).view(-1, *(1,) * (tried.ndim - place - 1))
                if torch.allclose(tried, expected.expand(tried.shape), rtol=0, atol=1e-6):
                    return place, length // size
        return None

    def _stage(self, i: int, layer: Layer, shared: bool) -> tuple[str | None, str | None, tuple[str, ...], str | None, int | None]:
        """The norm (scale, offset, running statistics, kind) and the activation between a layer and its readers. Those after a sum belong
        to the first layer that writes it."""
        scale = offset = norm = None
        stats: tuple[str, ...] = ()
        name, value = layer.name, i
        while True:
            users = list(self._users(value))
            onward = [user for user in users if self.calls[user].kind not in SUMS] or users[:1]
            kinds = {self.calls[user].kind for user in onward}
            if any(user in self.linear or user in self.several or self.calls[user].kind in (*MIXERS, *BESIDE) for user in onward):
                return scale, offset, stats, norm, None
            if len(onward) > 1 and not (len(kinds) == 1 and kinds <= ACTIVATIONS.keys()):
                if shared:
                    return scale, offset, stats, norm, None
                raise UsageError(f"{name} goes to {' and '.join(sorted(kinds))} at once, before its activation; {BY_HAND}")
            value, kind = onward[0], kinds.pop()
            if kind in (*ACTIVATIONS, *NORMS):
                if value in self.claimed or (norm is not None and kind in NORMS and shared):
                    return scale, offset, stats, norm, None
                self.claimed.add(value)
            if kind in ACTIVATIONS:
                return scale, offset, stats, norm, value
            if kind in NORMS:
                call = self.calls[value]
                held = [param for param in call.params[1:] if param in self.params]
                if norm is not None or any(shape != (layer.units,) for shape in call.shapes[1:]):
                    raise UsageError(f"{kind} after {name} is not a norm with one scale and one offset per unit; {BY_HAND}")
                norm = "layer" if kind == "group_norm" and self._argument(value, "num_groups", 1, 0) == 1 else NORMS[kind]
                scale, offset = [*held, None, None][:2]
                stats = tuple(each for each in call.params[1:] if each is not None and each not in self.params)

    def _with_others(self, layers: list[Layer]) -> tuple[Layer, ...]:
        """The layers, the parameters that are in none beside the first hidden layer if layers read them, else beside the last head.

        Raises UsageError for a parameter that is not used, or used as a layer of an unknown kind would be.
        """
        owned, others = {name for layer in layers for name in layer.own}, {True: [], False: []}
        uses: dict[str, list[int]] = {}
        for i, call in enumerate(self.calls):
            for name in call.params:
                if name in self.params:
                    uses.setdefault(str(name), []).append(i)
        for name in self.params:
            if name not in uses:
                raise UsageError(f"{name} is not used in the forward pass: remove it from the module, or {BY_HAND}")
            if name not in owned:
                read = any(self.leads[i] for i in uses[name])
                kinds = {self.calls[i].kind for i in uses[name]}
                free = (*FREE, *NORMS, *RECURRENT, ATTENTION) if read else (*kinds - {*PRODUCTS, *LINEAR},)
                if not layers or not kinds <= {*free}:
                    known = "linear or convolution, then a norm or none, then an activation"
                    raise UsageError(f"{name} is in no recognised layer ({known}); {BY_HAND}")
                others[read].append(name)
        hidden = next((i for i, layer in enumerate(layers) if not layer.head), 0)
        head = max((i for i, layer in enumerate(layers) if layer.head), default=0)
        for place, names in ((hidden, others[True]), (head, others[False])):
            if names:
                layers[place] = layers[place]._replace(others=(*layers[place].others, *names))
        return tuple(layers)

    def _refuse(self, i: int, layer: Layer) -> NoReturn:
        call = self.calls[i]
        where = _module_of(self.linear[i]) if i in self.linear else f"{call.name} (call {i} of the forward pass)"
        raise UsageError(f"{where}, which reads units of {layer.name}, is not supported; {BY_HAND}")

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


def _named(weight: str) -> str:
    """A layer's name, which is no parameter's: `lstm.ih_l0` of `lstm.weight_ih_l0`."""
    path, dot, name = weight.removesuffix(".weight").rpartition(".")
    return f"{path}{dot}{name.removeprefix('weight_').removesuffix('_weight')}"


def _devices(params: dict[str, nn.Parameter]) -> list[int]:
    return sorted({param.device.index or 0 for param in params.values() if param.is_cuda})
