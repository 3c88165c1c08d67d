"""One network: pure functions of its parameters, `dict[str, Tensor]`, as fixed by a spec (see specs.py).

Nothing is inferred from a parameter's name or number of dimensions: `Network.layers` lists each layer's parameters and readers.
"""

from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plasticity_rl.networks.activations import gain
from plasticity_rl.networks.builder import Builder, entries
from plasticity_rl.networks.heads import Heads, Query, stream_names, torso_readers
from plasticity_rl.networks.layers import GATE, Dense, HeadSpec, Layer, Params, Shape, Step
from plasticity_rl.networks.specs import NetworkSpec
from plasticity_rl.networks.steps import LayerFunctions, attention, averaged, channels_last
from plasticity_rl.networks.weights import drawn, singular_vectors, stored


class Subnetwork(NamedTuple):
    """A torso and the heads that read it."""

    torso: list[Step]
    heads: Heads

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (*(step.layer for step in self.torso), *self.heads.layers)


def inputs_of(observed: Shape, heads: HeadSpec) -> Shape:
    """Shape of one input of a network: an observation, and for critics the numbers of an action after it."""
    return (observed[0] + heads.actions,) if heads.actions else observed


class Network:
    """Pure functions of one network's parameters. An agent's separate networks, such as a policy's and a value's, are parts of one."""

    def __init__(self, spec: NetworkSpec, inputs: tuple[int, ...], heads: int | HeadSpec) -> None:
        """The network for one observation of shape `inputs`; a number of outputs stands for one plain head of that name.

        Raises UsageError if the torso does not fit the inputs.
        """
        heads = HeadSpec((("head", heads),)) if isinstance(heads, int) else heads
        self.spec, self.heads, self._observed = spec, heads, inputs
        self.inputs = inputs_of(inputs, heads)
        self.outputs = sum(outputs for _, outputs in heads.heads)
        self.shapes: dict[str, Shape] = {}
        self._parts = {prefix.removesuffix("."): self._part(prefix, part) for prefix, part in heads.networks()}
        self.shapes |= {name: (size,) for name, size, _ in heads.constants}
        layers = [layer for part in self._parts.values() for layer in part.layers]
        self.layers: tuple[Layer, ...] = tuple(sorted(layers, key=lambda layer: layer.beside is not None))  # injected ones are drawn last
        copies = (copy for layer in self.layers for copy in layer.subtracted.values())
        gate = {GATE} if spec.injection else set[str]()
        self.non_trainable = frozenset({*copies, *(name for layer in self.layers for name in layer.singular), *gate})
        """parameters without a gradient: interventions alone write them"""
        depth = sum(step.layer.activation is not None for step in next(iter(self._parts.values())).torso) + 1
        self._functions = LayerFunctions(spec, self.layers, self.shapes, depth)
        self.noise = self._functions.noise
        """normal numbers that a noisy network takes for one example; 0 for others"""

    def _part(self, prefix: str, heads: HeadSpec) -> Subnetwork:
        """Add a torso and the heads that read it; `prefix` begins the names of the torso's layers."""
        inputs = self.inputs if prefix.removesuffix(".") in heads.critics else self._observed
        builder = Builder(self.spec, inputs, noisy=heads.noise is not None)
        *stages, last = self.spec.stages()
        assert isinstance(last, Dense)
        names = [f"{prefix}hidden{i}" for i in range(len(stages) + 1)]
        streams = stream_names(names[-1], heads)
        readers, shape = torso_readers(streams, self.spec.injection), inputs
        for i, (stage, onward) in enumerate(pairwise((*stages, last))):
            shape = builder.add(names[i], stage, shape, readers if i == len(stages) - 1 else entries(names[i + 1], onward), onward)
        part = Subnetwork(builder.steps, Heads(heads, builder, streams, prod(shape), last.units, prefix))
        self.shapes |= builder.shapes
        return part

    @property
    def convolves(self) -> bool:
        """True if it convolves images."""
        return self.spec.convolves

    @property
    def parameters(self) -> int:
        """The number of its parameters, each weight counted."""
        return sum(prod(shape) for shape in self.shapes.values())

    def check_built(self, method: str, fields: dict[str, Any]) -> None:
        """Raise UsageError if the network is not what a method has it build; no check here, as it is built from the spec."""

    def init(self, generator: torch.Generator) -> Params:
        """A new network's parameters, float32, drawn from `generator` alone."""
        params: Params = {}
        initial = self.spec.initial
        for layer in self.layers:
            bound = prod(self.shapes[layer.weight][1:]) ** -0.5
            for name in layer.own:
                if name == layer.scale:
                    params[name] = torch.ones(self.shapes[name])
                elif name == layer.slope:
                    params[name] = torch.full(self.shapes[name], self.spec.slope)
                elif name == layer.offset or (name == layer.bias and initial in ("fan-in", "orthogonal")):
                    params[name] = torch.zeros(self.shapes[name])
                elif name in (layer.weight_noise, layer.bias_noise):
                    assert self.heads.noise is not None
                    params[name] = torch.full(self.shapes[name], self.heads.noise * bound)
                elif name == layer.bias:
                    params[name] = (torch.rand(self.shapes[name], generator=generator) * 2 - 1) * bound
                else:
                    kind = "uniform" if layer.head and initial == "low-rank" else initial
                    amplitude = 1.0 if layer.activation is None else gain(layer.activation, self.spec.slope)
                    weight = drawn(self.shapes[name], kind, amplitude, self.spec.rank, generator)
                    params[name] = weight if layer.head else stored(weight, self.spec.weights, self.spec.alpha)
            params |= dict(zip(layer.singular, singular_vectors(params[layer.weight]), strict=True)) if layer.singular else {}
            params |= {copy: params[name].clone() for name, copy in layer.subtracted.items()}
        params |= {name: torch.full((size,), value) for name, size, value in self.heads.constants}
        return params | ({GATE: torch.zeros(1)} if self.spec.injection else {})

    def learned(self, params: Params) -> Params:
        """The trainable parameters: all but the `non_trainable`."""
        return {name: param for name, param in params.items() if name not in self.non_trainable}

    def low_precision(self, params: Params) -> Params:
        """Rounded copies of the parameters that `apply` rounds before multiplying with them; none in float32.

        `apply` gives the same outputs for them, without a conversion each time.
        """
        hidden = {name for layer in self.layers if not layer.head for name in layer.weights}
        if self.spec.weights != "plain":  # the effective weights are computed in full precision
            hidden -= {layer.weight for layer in self.layers}
        return {name: params[name].bfloat16() for name in sorted(hidden)} if self.spec.precision == "bfloat16" else {}

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
        for name, (torso, heads) in self._parts.items():
            if not only or name in only:
                seen = x[:, : self._observed[0]] if self.heads.actions and name not in self.heads.critics else x
                read = self._read(params, torso, seen, features, query).flatten(1)
                outputs.append(heads.apply(self._functions, params, read, query, features))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1), features

    def _read(self, params: Params, torso: list[Step], x: Tensor, features: Params, query: Query) -> Tensor:
        """The torso's outputs for inputs `x`; stores its units in `features`."""
        total, attended = x, []  # the residual stream; queries, keys and values
        for step in torso:
            y = self._functions.step(params, step, x)
            if step.heads:
                attended.append(y)
                if len(attended) == 3:
                    x, attended = attention(*attended, batch=query.batch, heads=step.heads), []
                continue
            y = total + y if step.adds else y
            if step.layer.shared:
                total = y
            if not step.passes:
                x = self._functions.activate(params, step.layer, y, features, query.raw)
            if step.averages:
                x = averaged(x, query.batch)
        return x

    def activated(self, params: Params, raw: Params) -> Params:
        """Hidden layers' units after the activation, from those before it (`apply(..., raw=True)`)."""
        named = {layer.name: layer for layer in self.layers}
        found = {name: self._functions.outputs(params, named[name], x) for name, x in raw.items()}
        return {name: x.reshape(-1, named[name].units) for name, x in found.items()}
