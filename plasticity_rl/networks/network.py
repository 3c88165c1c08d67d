"""One network: three pure things, init, apply and layers, which a spec fixes (see networks.py).

Parameters are a `dict[str, Tensor]` of ONE network. Nothing about them is guessed from a name or a rank: `Network.layers` is the wiring.
"""

from itertools import pairwise
from math import pi, prod
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from plasticity_rl.networks.activations import activation, gain
from plasticity_rl.networks.attention import attended
from plasticity_rl.networks.builder import Builder, entries
from plasticity_rl.networks.layers import GATE, Dense, HeadSpec, Layer, Params, Step
from plasticity_rl.networks.weights import drawn, over_singular_value, powered, singular_vectors, stored

if TYPE_CHECKING:
    from plasticity_rl.networks.specs import NetworkSpec

EPSILON = 1e-5  # of the norms; PyTorch's default


def midpoints(count: int, like: Tensor) -> Tensor:
    """The middles of `count` equal parts of [0, 1]: the quantile fractions that are asked at where none are drawn."""
    return (torch.arange(count, device=like.device) + 0.5) / count


class Head(NamedTuple):
    """What reads the torso."""

    penultimate: list[Layer]
    heads: list[Layer]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (*self.penultimate, *self.heads)


class Network:
    """Pure functions of one network's parameters. Made by `NetworkSpec.build`."""

    def __init__(self, spec: "NetworkSpec", inputs: tuple[int, ...], ends: HeadSpec) -> None:
        self.spec, self.inputs, self.ends = spec, inputs, ends
        self.outputs = sum(outputs for _, outputs in ends.heads)
        builder = Builder(spec, inputs, noisy=ends.noise is not None)
        self.shapes = builder.shapes
        self._torso = builder.steps
        *stages, last = spec.stages()
        assert isinstance(last, Dense)
        names = [f"hidden{i}" for i in range(len(stages) + 1)]
        streams = [f"{names[-1]}_{name}" for name, _ in ends.heads] if ends.streams else [names[-1]] * len(ends.heads)
        penultimate = tuple(dict.fromkeys(streams))
        readers = (*penultimate, *(f"{top}_injected" for top in penultimate)) if spec.injection else penultimate
        shape = inputs
        for i, (stage, onward) in enumerate(pairwise((*stages, last))):
            shape = builder.add(names[i], stage, shape, readers if i == len(stages) - 1 else entries(names[i + 1], onward), onward)
        self._embedding: Layer | None = None
        if ends.cosines:
            self._embedding = builder.layer("quantiles", (prod(shape), ends.cosines), readers, gates=True)

        def end(suffix: str = "") -> Head:
            def layer(name: str, outputs: int, inputs: int, readers: tuple[str, ...]) -> Layer:
                made = builder.layer(name + suffix, (outputs, inputs), tuple(reader + suffix for reader in readers), noisy=True)
                return made._replace(beside=name if suffix else None)

            feeds = list(zip(ends.heads, streams, strict=True))
            hidden = [
                layer(top, last.units, prod(shape), tuple(head for (head, _), stream in feeds if stream == top)) for top in penultimate
            ]
            return Head(hidden, [layer(name, outputs * ends.tasks, last.units * builder.copies, ()) for name, outputs in ends.heads])

        self._end, self._injected = end(), end("_injected") if spec.injection else None
        if self._injected is not None:
            for layer in self._injected.layers:
                self.shapes |= {copy: self.shapes[name] for name, copy in layer.subtracted.items()}
            self.shapes[GATE] = (1,)
        self._feeds = [penultimate.index(stream) for stream in streams]
        embedding = () if self._embedding is None else (self._embedding,)
        injected = () if self._injected is None else self._injected.layers
        self.layers: tuple[Layer, ...] = (*(step.layer for step in self._torso), *embedding, *self._end.layers, *injected)
        copies = (copy for layer in self.layers for copy in layer.subtracted.values())
        self.held = frozenset({*copies, *(name for layer in self.layers for name in layer.singular), *({GATE} if spec.injection else ())})
        """the parameters that nothing is learned of: interventions alone write them"""
        depth = sum(step.layer.activation is not None for step in self._torso) + 1
        self._activations = {
            name: activation(name, spec.slope, spec.eta, depth) for name in {layer.activation for layer in self.layers} if name is not None
        }
        self.noise = 0
        """how many normal numbers a noisy network takes for one example; 0 for others"""
        self._numbers: dict[str, slice] = {}
        for layer in self.layers:
            if layer.beside in self._numbers:
                self._numbers[layer.name] = self._numbers[layer.beside]
            elif layer.weight_noise is not None:
                start, self.noise = self.noise, self.noise + sum(self.shapes[layer.weight])
                self._numbers[layer.name] = slice(start, self.noise)

    def init(self, generator: torch.Generator) -> Params:
        """A new network's parameters, float32, drawn from `generator` alone."""
        params: Params = {}
        initial = self.spec.initial
        for layer in self.layers:
            bound = prod(self.shapes[layer.weight][1:]) ** -0.5
            for name in layer.own:
                if name == layer.scale:
                    params[name] = torch.ones(self.shapes[name])
                elif name == layer.offset or (name == layer.bias and initial in ("fan-in", "orthogonal")):
                    params[name] = torch.zeros(self.shapes[name])
                elif name in (layer.weight_noise, layer.bias_noise):
                    assert self.ends.noise is not None
                    params[name] = torch.full(self.shapes[name], self.ends.noise * bound)
                elif name == layer.bias:
                    params[name] = (torch.rand(self.shapes[name], generator=generator) * 2 - 1) * bound
                else:
                    kind = "uniform" if layer.head and initial == "low-rank" else initial
                    amplitude = 1.0 if layer.activation is None else gain(layer.activation, self.spec.slope)
                    weight = drawn(self.shapes[name], kind, amplitude, self.spec.rank, generator)
                    params[name] = weight if layer.head else stored(weight, self.spec.weights, self.spec.alpha)
            params |= dict(zip(layer.singular, singular_vectors(params[layer.weight]), strict=True)) if layer.singular else {}
            params |= {copy: params[name].clone() for name, copy in layer.subtracted.items()}
        return params | ({GATE: torch.zeros(1)} if self.spec.injection else {})

    def learned(self, params: Params) -> Params:
        """Those of `params` that have a gradient and an optimizer: all but the `held`."""
        return {name: param for name, param in params.items() if name not in self.held}

    def low(self, params: Params) -> Params:
        """Those of `params` that `apply` rounds before it multiplies with them, rounded; none in float32.

        Given these in their stead, `apply` says the same, without a conversion each time.
        """
        hidden = {name for layer in self.layers if not layer.head for name in layer.weights}
        if self.spec.weights != "plain":  # what they stand for is worked out in full precision
            hidden -= {layer.weight for layer in self.layers}
        return {name: params[name].bfloat16() for name in sorted(hidden)} if self.spec.precision == "bfloat16" else {}

    def cast(self, params: Params) -> Params:
        """Copies of `params`, with those that are `low`."""
        low = self.low(params)
        return {name: param.clone() for name, param in params.items() if name not in low} | low

    def apply(
        self,
        params: Params,
        inputs: Tensor,
        noise: Tensor | None = None,
        fractions: Tensor | None = None,
        task: Tensor | None = None,
        raw: bool = False,
    ) -> tuple[Tensor, Params]:
        """`inputs` (batch, *shape), float or uint8 (then divided by 255) -> outputs (batch, outputs), the heads side by side, and each
        hidden layer's units after the activation, or before it where they are to be `raw`, (samples, units): a sample is an example, or one
        position of one example's convolution. Where the activation makes several outputs of a unit, each is a sample more, next to the
        others: `view(-1, layer.copies, layer.units)`.

        `noise` (batch or 1, self.noise) are normal numbers; without them a noisy network is its mean. `fractions` (batch, K) in (0, 1) are
        for a network with cosines, whose outputs are (batch, K, outputs); without them, the middles of 8 equal parts. `task` (batch,) or ()
        says whose heads answer; without it, task 0's.
        """
        x = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
        if x.ndim == 4:  # channels last in memory, as compiled convolutions want it: else all that follows is kept in both orders
            x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        total, asked = x, []  # of a residual stream; queries, keys and values
        features: Params = {}
        for step in self._torso:
            layer = step.layer
            if step.stride and x.ndim == 2:
                x = x[:, None, :, None]
            if step.places:
                places = self._linear(params, layer, torch.eye(self.shapes[layer.weight][1], dtype=x.dtype, device=x.device))
                y = (x.flatten(2).mT + places).flatten(0, 1)
            else:
                y = self._linear(params, layer, x, step=step)
            if step.heads:
                asked.append(y)
                if len(asked) == 3:
                    x, asked = attended(*asked, batch=len(inputs), heads=step.heads), []
                continue
            if step.pool:
                y = F.max_pool2d(y, 3, 2, padding=1)
            y = total + y if step.adds else y
            if layer.shared:
                total = y
            if not step.passes:
                x = self._activate(params, layer, y, features, raw)
            if step.averages:
                x = x.mean((2, 3)) if x.ndim == 4 else x.unflatten(0, (len(inputs), -1)).mean(1)
        x, batch = x.flatten(1), len(inputs)
        if self._embedding is not None:
            x = self._embed(params, x, fractions, features, raw)
        rows = len(x) // batch  # of one example: its fractions
        if noise is not None and len(noise) > 1:
            noise = noise.repeat_interleave(rows, 0)
        task = None if task is None else task.expand(batch).repeat_interleave(rows, 0)

        def read(end: Head, params: Params, x: Tensor, features: Params) -> Tensor:
            penultimate = [self._activate(params, layer, self._linear(params, layer, x, noise), features, raw) for layer in end.penultimate]
            pairs = zip(end.heads, self._feeds, strict=True)
            return torch.cat([self._of_task(self._linear(params, layer, penultimate[top], noise), task) for layer, top in pairs], -1)

        if self._injected is None:
            result = read(self._end, params, x, features)
        else:
            on, layers = params[GATE] > 0, self._injected.layers
            names, added = ([n for each in part for n in (*each.own, *each.singular)] for part in (self._end.layers, layers))
            learned = {name: torch.where(on, params[name].detach(), params[name]) for name in names}
            new = {name: torch.where(on, params[name], params[name].detach()) for name in added}
            born = {name: params[copy].detach() for layer in layers for name, copy in layer.subtracted.items()}
            heard = torch.where(on, x, x.detach())
            result = read(self._end, learned, x, features)
            result = torch.where(on, result + (read(self._injected, new, heard, features) - read(self._injected, born, heard, {})), result)
        return (result if self._embedding is None else result.view(batch, rows, -1)), features

    def activated(self, raw: Params) -> Params:
        """Hidden layers' units after the activation, of those before it: of what `apply` finds where units are to be `raw`."""
        named = {layer.name: layer for layer in self.layers}
        found = {name: self._activations[named[name].activation or ""](x) for name, x in raw.items()}
        return {name: x.reshape(-1, named[name].units) for name, x in found.items()}

    def _linear(self, params: Params, layer: Layer, x: Tensor, noise: Tensor | None = None, step: Step | None = None) -> Tensor:
        """The layer's weights on `x`, hidden ones in the spec's precision."""
        kind = torch.bfloat16 if self.spec.precision == "bfloat16" and not layer.head else params[layer.weight].dtype
        weight = params[layer.weight]
        if layer.powered:
            weight = powered(weight, self.spec.alpha)
        x, weight = x.to(kind), weight.to(kind)
        bias = None if layer.bias is None else params[layer.bias].to(kind)
        convolution = None if step is None or not step.stride else (step.stride, step.padding)
        if layer.singular:
            left, right = (params[name] for name in layer.singular)
            y = over_singular_value(x, weight, left, right, convolution)
            y = y if bias is None else y + bias.view(-1, *(1,) * (y.ndim - 2))
        elif convolution is not None:
            return F.conv2d(x, weight, bias, *convolution)
        else:
            y = F.linear(x.flatten(1), weight, bias)
        if noise is None or layer.weight_noise is None:
            return y
        numbers = noise[:, self._numbers[layer.name]].to(kind)
        into, out = (numbers.sign() * numbers.abs().sqrt()).split([weight.shape[1], weight.shape[0]], -1)
        bias = None if layer.bias_noise is None else params[layer.bias_noise].to(kind)
        return y + out * F.linear(x * into, params[layer.weight_noise].to(kind), bias)  # an outer product of noise, never made

    def _activate(self, params: Params, layer: Layer, x: Tensor, features: Params, raw: bool) -> Tensor:
        """Norm and activation; the units, after or before it, go into `features`."""
        if layer.scale is not None and layer.offset is not None:
            shape = (-1, *(1,) * (x.ndim - 2))
            wide = self._normalize(x.to(params[layer.scale].dtype)) * params[layer.scale].view(shape) + params[layer.offset].view(shape)
            x = wide.to(x.dtype)
            if x.ndim > 2:  # channels last, as convolutions read it: compiled, each of them would make a copy of its own
                x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        if layer.activation is None:
            return x
        before, x = x, self._activations[layer.activation](x)
        features[layer.name] = (before if raw else x).movedim(1, -1).reshape(-1, layer.units).to(params[layer.weight].dtype)
        return x

    def _normalize(self, x: Tensor) -> Tensor:
        if self.spec.norm == "layer":
            return F.layer_norm(x, x.shape[1:], eps=EPSILON)
        own, across = tuple(range(1, x.ndim)), (0, *range(2, x.ndim))  # an example's numbers, and a unit's
        if self.spec.norm == "rms":
            return x * (x.square().mean(dim=own, keepdim=True) + EPSILON).rsqrt()
        centred = x - x.mean(dim=across, keepdim=True)
        if self.spec.norm == "batch":
            return centred * (centred.square().mean(dim=across, keepdim=True) + EPSILON).rsqrt()
        return centred * (centred.var(dim=own, correction=0, keepdim=True) + EPSILON).rsqrt()

    def _embed(self, params: Params, x: Tensor, fractions: Tensor | None, features: Params, raw: bool) -> Tensor:
        """Each example's units (batch, units) times the embedding of each of its fractions: (batch x K, units)."""
        assert self._embedding is not None
        if fractions is None:
            fractions = midpoints(8, x).expand(len(x), -1)
        cosines = torch.cos(pi * torch.arange(self.ends.cosines, device=x.device) * fractions.reshape(-1, 1))
        embedded = self._activate(params, self._embedding, self._linear(params, self._embedding, cosines), features, raw)
        return x.repeat_interleave(fractions.shape[1], 0) * embedded

    def _of_task(self, outputs: Tensor, task: Tensor | None) -> Tensor:
        """Of (rows, tasks x outputs), what belongs to each row's task."""
        if self.ends.tasks == 1:
            return outputs
        each = outputs.view(len(outputs), self.ends.tasks, -1)
        chosen = torch.zeros_like(outputs[:, 0], dtype=torch.int64) if task is None else task
        return each.gather(1, chosen.view(-1, 1, 1).expand(-1, 1, each.shape[2]))[:, 0]
