"""One network: pure functions of its parameters, `dict[str, Tensor]`, as fixed by a spec (see specs.py).

Nothing is inferred from a parameter's name or number of dimensions: `Network.layers` lists each layer's parameters and readers.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plasticity_rl.networks.activations import RANDOM, gain
from plasticity_rl.networks.builder import Builder, entries
from plasticity_rl.networks.heads import Heads, Query, stream_names, torso_readers
from plasticity_rl.networks.layers import GATE, Dense, HeadSpec, Layer, Layers, Params, Shape, Step, network_of
from plasticity_rl.networks.specs import NetworkSpec
from plasticity_rl.networks.steps import LayerFunctions, attention, averaged, channels_last
from plasticity_rl.networks.weights import drawn, singular_vectors, stored


class Subnetwork(NamedTuple):
    """A torso and the heads that read it."""

    spec: NetworkSpec
    torso: list[Step]
    heads: Heads
    functions: LayerFunctions

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (*(step.layer for step in self.torso), *self.heads.layers)


def inputs_of(observed: Shape, heads: HeadSpec) -> Shape:
    """Shape of one input of a network: an observation, and for critics the numbers of an action after it."""
    return (observed[0] + heads.actions,) if heads.actions else observed


class Network:
    """Pure functions of one network's parameters. An agent's separate networks, such as a policy's and a value's, are parts of one."""

    def __init__(
        self, spec: NetworkSpec, inputs: tuple[int, ...], heads: int | HeadSpec, own: Mapping[str, NetworkSpec] | None = None
    ) -> None:
        """The network for one observation of shape `inputs`; a number of outputs stands for one plain head of that name. `own`: specs of
        some of several separate networks, by name, in place of `spec`.

        Raises UsageError if the torso does not fit the inputs.
        """
        heads = HeadSpec((("head", heads),)) if isinstance(heads, int) else heads
        self.spec, self.heads, self._observed, self.own = spec, heads, inputs, dict(own or {})
        self.inputs = inputs_of(inputs, heads)
        self.outputs = sum(outputs for _, outputs in heads.heads)
        self.shapes: dict[str, Shape] = {}
        self.noise = 0
        """normal numbers that a noisy network takes for one example; 0 for others"""
        self._parts = {prefix.removesuffix("."): self._part(prefix, part) for prefix, part in heads.networks()}
        self.shapes |= {name: (size,) for name, size, _ in heads.constants}
        layers = [layer for part in self._parts.values() for layer in part.layers]
        self.layers: tuple[Layer, ...] = tuple(sorted(layers, key=lambda layer: layer.beside is not None))  # injected ones are drawn last
        copies = (copy for layer in self.layers for copy in layer.subtracted.values())
        gates = (part.heads.gate for part in self._parts.values() if part.heads.gate is not None)
        self.non_trainable = frozenset({*copies, *(name for layer in self.layers for name in layer.singular), *gates})
        """parameters without a gradient: interventions alone write them"""
        self._common = Network(spec, inputs, heads) if self.own else None

    def _part(self, prefix: str, heads: HeadSpec) -> Subnetwork:
        """Add a torso and the heads that read it; `prefix` begins the names of the torso's layers."""
        name = prefix.removesuffix(".")
        spec, inputs = self.own.get(name, self.spec), self.inputs if name in heads.critics else self._observed
        gate = GATE if self.spec.injection else f"{prefix}{GATE}"  # a network's own, if it alone has injected copies
        builder = Builder(spec, inputs, noisy=heads.noise is not None)
        *stages, last = spec.stages()
        assert isinstance(last, Dense)
        names = [f"{prefix}hidden{i}" for i in range(len(stages) + 1)]
        streams = stream_names(names[-1], heads)
        readers, shape = torso_readers(streams, spec.injection), inputs
        for i, (stage, onward) in enumerate(pairwise((*stages, last))):
            shape = builder.add(names[i], stage, shape, readers if i == len(stages) - 1 else entries(names[i + 1], onward), onward)
        ends = Heads(heads, builder, streams, prod(shape), last.units, prefix, gate)
        depth = sum(step.layer.activation is not None for step in builder.steps) + 1
        functions = LayerFunctions(spec, (*(step.layer for step in builder.steps), *ends.layers), builder.shapes, depth, self.noise)
        self.noise = functions.noise
        self.shapes |= builder.shapes
        return Subnetwork(spec, builder.steps, ends, functions)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the separate networks, and of single parameters beside them; none if there is one network."""
        return tuple(dict.fromkeys(network_of(name) for name in self.shapes if name != GATE)) if self.heads.separate else ()

    @property
    def convolves(self) -> bool:
        """True if it convolves images."""
        return self.spec.convolves

    @property
    def draws(self) -> bool:
        """True if its activations take random numbers in losses, from KEY beside the parameters."""
        return any(layer.activation in RANDOM for layer in self.layers)

    @property
    def parameters(self) -> int:
        """The number of its parameters, each weight counted."""
        return sum(prod(shape) for shape in self.shapes.values())

    def check_built(self, method: str, fields: dict[str, Any], layers: Layers) -> None:
        """Raise UsageError if these layers are not what a method has built; no check here, as they are built from the spec."""

    def init(self, generator: torch.Generator) -> Params:
        """A new network's parameters, float32, drawn from `generator` alone. Networks of the common spec begin the same whatever `own`
        says of others."""
        if self._common is None:
            constants = {name: torch.full((size,), value) for name, size, value in self.heads.constants}
            return self._drawn(self._parts.values(), generator) | constants
        common = self._common.init(generator)
        own = self._drawn([part for name, part in self._parts.items() if name in self.own], generator)
        return {name: own[name] if name in own else common[name] for name in self.shapes}

    def _drawn(self, parts: Iterable[Subnetwork], generator: torch.Generator) -> Params:
        parts, params = list(parts), Params()
        specs = {layer.name: part.spec for part in parts for layer in part.layers}
        for layer in (layer for layer in self.layers if layer.name in specs):
            spec = specs[layer.name]
            initial = spec.initial
            bound = prod(self.shapes[layer.weight][1:]) ** -0.5
            for name in layer.own:
                if name == layer.scale:
                    params[name] = torch.ones(self.shapes[name])
                elif name == layer.slope:
                    params[name] = torch.full(self.shapes[name], spec.slope)
                elif name == layer.offset or (name == layer.bias and initial in ("fan-in", "orthogonal")):
                    params[name] = torch.zeros(self.shapes[name])
                elif name in (layer.weight_noise, layer.bias_noise):
                    assert self.heads.noise is not None
                    params[name] = torch.full(self.shapes[name], self.heads.noise * bound)
                elif name == layer.bias:
                    params[name] = (torch.rand(self.shapes[name], generator=generator) * 2 - 1) * bound
                else:
                    kind = "uniform" if layer.head and initial == "low-rank" else initial
                    amplitude = 1.0 if layer.activation is None else gain(layer.activation, spec.slope)
                    weight = drawn(self.shapes[name], kind, amplitude, spec.rank, generator)
                    params[name] = weight if layer.head else stored(weight, spec.weights, spec.alpha)
            params |= dict(zip(layer.singular, singular_vectors(params[layer.weight]), strict=True)) if layer.singular else {}
            params |= {copy: params[name].clone() for name, copy in layer.subtracted.items()}
        return params | {part.heads.gate: torch.zeros(1) for part in parts if part.heads.gate is not None}

    def learned(self, params: Params) -> Params:
        """The trainable parameters: all but the `non_trainable`."""
        return {name: param for name, param in params.items() if name not in self.non_trainable}

    def low_precision(self, params: Params) -> Params:
        """Rounded copies of the parameters that `apply` rounds before multiplying with them; none in float32.

        `apply` gives the same outputs for them, without a conversion each time.
        """
        hidden = {
            name
            for part in self._parts.values()
            if part.spec.precision == "bfloat16"
            for layer in part.layers
            if not layer.head
            for name in layer.weights
            if part.spec.weights == "plain" or name != layer.weight  # other effective weights are computed in full precision
        }
        return {name: params[name].bfloat16() for name in sorted(hidden)}

    def cast(self, params: Params) -> Params:
        """Copies of `params`, those of `low_precision` rounded."""
        low = self.low_precision(params)
        return {name: param.clone() for name, param in params.items() if name not in low} | low

    def apply(
        self,
        params: Params,
        inputs: Tensor,
        noise: Tensor | None = None,
        fractions: Tensor | None = None,
        task: Tensor | None = None,
        raw: bool = False,
        only: tuple[str, ...] = (),
    ) -> tuple[Tensor, Params]:
        """Outputs of all heads, concatenated, (batch, outputs), for `inputs` (batch, *shape), float or uint8 (then divided by 255); and the
        units of each hidden layer, (samples, units).

        Units are taken after the activation, or before it if `raw`. A sample is an example, or one position of one example's convolution.
        Where the activation has several outputs per unit, each is a sample: `view(-1, layer.copies, layer.units)`.

        `noise` (batch or 1, self.noise): standard normal numbers; without them a noisy network uses its mean weights. `fractions` (batch,
        K) in (0, 1): for a network with cosines, whose outputs are (batch, K, outputs); by default the midpoints of 8 equal parts. `task`
        (batch,) or (): the task whose heads are used; by default task 0. `only`: the heads to compute, of those with a network each; by
        default all. Without critics among them, the inputs may lack the action.
        """
        x, batch = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs, len(inputs)
        x = channels_last(x) if x.ndim == 4 else x
        query = Query(batch, noise, fractions, task, raw)
        features: Params = {}
        outputs = []
        for name, part in self._parts.items():
            if not only or name in only:
                seen = x[:, : self._observed[0]] if self.heads.actions and name not in self.heads.critics else x
                read = self._read(params, part, seen, features, query).flatten(1)
                outputs.append(part.heads.apply(part.functions, params, read, query, features))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1), features

    def limited(
        self, params: Params, inputs: Tensor, task: Tensor | None, raw: bool, only: tuple[str, ...] | None
    ) -> tuple[Tensor, Params]:
        """`apply` of the networks `only`, outputs and units, on whole inputs; of all if it is None."""
        return self.apply(params, inputs, task=task, raw=raw, only=only or ())

    def _read(self, params: Params, part: Subnetwork, x: Tensor, features: Params, query: Query) -> Tensor:
        """The torso's outputs for inputs `x`; stores its units in `features`."""
        total, attended = x, []  # the residual stream; queries, keys and values
        for step in part.torso:
            y = part.functions.step(params, step, x)
            if step.heads:
                attended.append(y)
                if len(attended) == 3:
                    x, attended = attention(*attended, batch=query.batch, heads=step.heads), []
                continue
            y = total + y if step.adds else y
            if step.layer.shared:
                total = y
            if not step.passes:
                x = part.functions.activate(params, step.layer, y, features, query.raw)
            if step.averages:
                x = averaged(x, query.batch)
        return x

    def activated(self, params: Params, raw: Params) -> Params:
        """Hidden layers' units after the activation, from those before it (`apply(..., raw=True)`)."""
        named = {layer.name: (layer, part.functions) for part in self._parts.values() for layer in part.layers}
        found = {name: named[name][1].outputs(params, named[name][0], x) for name, x in raw.items()}
        return {name: x.reshape(-1, named[name][0].units) for name, x in found.items()}
