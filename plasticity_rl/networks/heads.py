"""Layers that read the torso: last hidden layers and heads, with dueling streams, quantile embedding, injection and heads per task."""

from math import pi
from typing import NamedTuple

import torch
from torch import Tensor

from plasticity_rl.networks.builder import Builder
from plasticity_rl.networks.layers import GATE, HeadSpec, Layer, Params
from plasticity_rl.networks.steps import LayerFunctions


def midpoints(count: int, like: Tensor) -> Tensor:
    """Midpoints of `count` equal parts of [0, 1], the default quantile fractions."""
    return (torch.arange(count, device=like.device) + 0.5) / count


def stream_names(last: str, heads: HeadSpec) -> tuple[str, ...]:
    """The last hidden layer that each head reads; `last` is the name of the stage."""
    return tuple(f"{last}_{name}" if heads.streams else last for name, _ in heads.heads)


def torso_readers(streams: tuple[str, ...], injection: bool) -> tuple[str, ...]:
    """The layers that read the torso."""
    penultimate = tuple(dict.fromkeys(streams))
    return (*penultimate, *(f"{name}_injected" for name in penultimate)) if injection else penultimate


class Head(NamedTuple):
    """Last hidden layers and the heads that read them."""

    penultimate: list[Layer]
    heads: list[Layer]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (*self.penultimate, *self.heads)


class Query(NamedTuple):
    """Arguments of one forward pass besides its inputs; see `Network.apply`."""

    batch: int
    noise: Tensor | None
    fractions: Tensor | None
    task: Tensor | None
    raw: bool


class Heads:
    """All that reads the torso of one network."""

    def __init__(
        self, spec: HeadSpec, builder: Builder, streams: tuple[str, ...], inputs: int, units: int, prefix: str = "", gate: str = GATE
    ) -> None:
        """`inputs`: outputs of the torso; `units`: width of the last hidden layers; `prefix` of the embedding's name; `gate`: name of the
        parameter that switches injected copies on."""
        self._spec, self._builder = spec, builder
        penultimate, injection = tuple(dict.fromkeys(streams)), builder.spec.injection
        self._feeds = [penultimate.index(stream) for stream in streams]
        readers = torso_readers(streams, injection)
        self._embedding = builder.layer(f"{prefix}quantiles", (inputs, spec.cosines), readers, gates=True) if spec.cosines else None
        self._plain = self._head(streams, inputs, units, "")
        self._injected = self._head(streams, inputs, units, "_injected") if injection else None
        embedding = () if self._embedding is None else (self._embedding,)
        injected = () if self._injected is None else self._injected.layers
        self.layers: tuple[Layer, ...] = (*embedding, *self._plain.layers, *injected)
        self.gate = gate if injection else None
        if self.gate is not None:
            for layer in injected:
                builder.shapes |= {copy: builder.shapes[name] for name, copy in layer.subtracted.items()}
            builder.shapes[self.gate] = (1,)

    def _head(self, streams: tuple[str, ...], inputs: int, units: int, suffix: str) -> Head:
        """Add the last hidden layers and the heads; with a suffix, the injected copies."""

        def layer(name: str, outputs: int, inputs: int, readers: tuple[str, ...]) -> Layer:
            made = self._builder.layer(name + suffix, (outputs, inputs), tuple(reader + suffix for reader in readers), noisy=True)
            return made._replace(beside=name if suffix else None)

        feeds = list(zip(self._spec.heads, streams, strict=True))
        penultimate = [
            layer(name, units, inputs, tuple(head for (head, _), stream in feeds if stream == name)) for name in dict.fromkeys(streams)
        ]
        wide = units * self._builder.copies
        return Head(penultimate, [layer(name, outputs * self._spec.tasks, wide, ()) for name, outputs in self._spec.heads])

    def apply(self, functions: LayerFunctions, params: Params, x: Tensor, query: Query, features: Params) -> Tensor:
        """Concatenated outputs of the heads for the torso's output `x` (batch, units)."""
        if self._embedding is not None:
            x = self._embed(functions, params, self._embedding, x, query, features)
        rows = len(x) // query.batch  # fractions of an example
        noise, task = query.noise, query.task
        if noise is not None and len(noise) > 1:
            noise = noise.repeat_interleave(rows, 0)
        task = None if task is None else task.expand(query.batch).repeat_interleave(rows, 0)

        def read(head: Head, params: Params, x: Tensor, features: Params) -> Tensor:
            penultimate = [
                functions.activate(params, layer, functions.linear(params, layer, x, noise), features, query.raw)
                for layer in head.penultimate
            ]
            pairs = zip(head.heads, self._feeds, strict=True)
            outputs = [self._of_task(functions.linear(params, layer, penultimate[feed], noise), task) for layer, feed in pairs]
            return torch.cat(outputs, -1)

        if self._injected is None or self.gate is None:
            result = read(self._plain, params, x, features)
        else:
            on, layers = params[self.gate] > 0, self._injected.layers
            names, added = ([n for each in part for n in (*each.own, *each.singular)] for part in (self._plain.layers, layers))
            learned = {name: torch.where(on, params[name].detach(), params[name]) for name in names}
            new = {name: torch.where(on, params[name], params[name].detach()) for name in added}
            initial = {name: params[copy].detach() for layer in layers for name, copy in layer.subtracted.items()}
            heard = torch.where(on, x, x.detach())
            result = read(self._plain, learned, x, features)
            change = read(self._injected, new, heard, features) - read(self._injected, initial, heard, {})
            result = torch.where(on, result + change, result)
        return result if self._embedding is None else result.view(query.batch, rows, -1)

    def _embed(self, functions: LayerFunctions, params: Params, embedding: Layer, x: Tensor, query: Query, features: Params) -> Tensor:
        """Multiply each example's units (batch, units) by the embedding of each of its fractions: (batch x K, units)."""
        fractions = midpoints(8, x).expand(len(x), -1) if query.fractions is None else query.fractions
        cosines = torch.cos(pi * torch.arange(self._spec.cosines, device=x.device) * fractions.reshape(-1, 1))
        embedded = functions.activate(params, embedding, functions.linear(params, embedding, cosines), features, query.raw)
        return x.repeat_interleave(fractions.shape[1], 0) * embedded

    def _of_task(self, outputs: Tensor, task: Tensor | None) -> Tensor:
        """Select the outputs of each row's task from (rows, tasks x outputs)."""
        if self._spec.tasks == 1:
            return outputs
        each = outputs.view(len(outputs), self._spec.tasks, -1)
        chosen = torch.zeros_like(outputs[:, 0], dtype=torch.int64) if task is None else task
        return each.gather(1, chosen.view(-1, 1, 1).expand(-1, 1, each.shape[2]))[:, 0]
