"""Forward computation of one layer (linear, norm, activation) and of a torso's steps (positions, attention, pooling, averaging)."""

from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor

from plasticity_rl.networks.activations import LEARNED, RANDOM, activation
from plasticity_rl.networks.layers import KEY, Layer, Params, Shape, Step
from plasticity_rl.networks.specs import NetworkSpec
from plasticity_rl.networks.weights import over_singular_value, powered
from plasticity_rl.noise import chances

EPSILON = 1e-5  # of the norms; PyTorch's default


class LayerFunctions:
    """Functions of one layer, for the layers of one torso and its heads."""

    def __init__(self, spec: NetworkSpec, layers: tuple[Layer, ...], shapes: dict[str, Shape], depth: int, noise: int = 0) -> None:
        """`depth`: number of activations from inputs to heads; `noise`: normal numbers taken by torsos before this one."""
        self._spec, self._shapes = spec, shapes
        names = {layer.activation for layer in layers if layer.activation is not None} - {*LEARNED}
        self.activations = {name: activation(name, spec.slope, spec.eta, depth) for name in names}
        self.noise = noise
        """normal numbers for one example that this torso and those before it take; 0 if none is noisy"""
        self._streams = {layer.name: crc32((layer.beside or layer.name).encode()) >> 1 for layer in layers}  # copies share their numbers
        self._numbers: dict[str, slice] = {}
        for layer in layers:
            if layer.beside in self._numbers:
                self._numbers[layer.name] = self._numbers[layer.beside]
            elif layer.weight_noise is not None:
                start, self.noise = self.noise, self.noise + sum(shapes[layer.weight])
                self._numbers[layer.name] = slice(start, self.noise)

    def step(self, params: Params, step: Step, x: Tensor) -> Tensor:
        """Output of a step of the torso before it is added, normalised or activated."""
        if step.places:
            positions = self.linear(params, step.layer, torch.eye(self._shapes[step.layer.weight][1], dtype=x.dtype, device=x.device))
            return (x.flatten(2).mT + positions).flatten(0, 1)
        x = x[:, None, :, None] if step.stride and x.ndim == 2 else x
        y = self.linear(params, step.layer, x, step=step)
        return F.max_pool2d(y, 3, 2, padding=1) if step.pool else y

    def linear(self, params: Params, layer: Layer, x: Tensor, noise: Tensor | None = None, step: Step | None = None) -> Tensor:
        """Weights times `x`, in the spec's precision in hidden layers."""
        kind = torch.bfloat16 if self._spec.precision == "bfloat16" and not layer.head else params[layer.weight].dtype
        weight = params[layer.weight]
        if layer.powered:
            weight = powered(weight, self._spec.alpha)
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
        return y + out * F.linear(x * into, params[layer.weight_noise].to(kind), bias)  # an outer product of noise, never materialised

    def activate(self, params: Params, layer: Layer, x: Tensor, features: Params, raw: bool) -> Tensor:
        """Norm and activation of `x`. Stores the units in `features`; if `raw`, those before the activation."""
        if layer.scale is not None and layer.offset is not None:
            shape = (-1, *(1,) * (x.ndim - 2))
            wide = self.normalise(x.to(params[layer.scale].dtype)) * params[layer.scale].view(shape) + params[layer.offset].view(shape)
            x = wide.to(x.dtype)
            if x.ndim > 2:
                x = channels_last(x)
        if layer.activation is None:
            return x
        before, x = x, self.outputs(params, layer, x)
        features[layer.name] = (before if raw else x).movedim(1, -1).reshape(-1, layer.units).to(params[layer.weight].dtype)
        return x

    def outputs(self, params: Params, layer: Layer, x: Tensor) -> Tensor:
        """The layer's activation of `x` (batch, units, ...); a random one if `params` hold a key, else its mean."""
        if layer.activation in RANDOM and KEY in params:
            low, high = params[KEY]
            own = torch.stack([low, high ^ self._streams[layer.name]])
            return torch.where(chances(own, tuple(x.shape), 1 - self._spec.slope), F.relu(x), -F.relu(-x))
        if layer.slope is None:
            assert layer.activation is not None, layer.name
            return self.activations[layer.activation](x)
        slope = params[layer.slope].to(x.dtype).view(-1, *(1,) * (x.ndim - 2))
        return torch.where(x > 0, x, slope * x)

    def normalise(self, x: Tensor) -> Tensor:
        """The spec's norm without scale and offset."""
        if self._spec.norm == "layer":
            return F.layer_norm(x, x.shape[1:], eps=EPSILON)
        own, across = tuple(range(1, x.ndim)), (0, *range(2, x.ndim))  # axes of one example, and of one unit
        if self._spec.norm == "rms":
            return x * (x.square().mean(dim=own, keepdim=True) + EPSILON).rsqrt()
        centred = x - x.mean(dim=across, keepdim=True)
        if self._spec.norm == "batch":
            return centred * (centred.square().mean(dim=across, keepdim=True) + EPSILON).rsqrt()
        return centred * (centred.var(dim=own, correction=0, keepdim=True) + EPSILON).rsqrt()


def channels_last(x: Tensor) -> Tensor:
    """The same images, channels last in memory: compiled convolutions need this layout, and each would otherwise make its own copy."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def attention(query: Tensor, key: Tensor, value: Tensor, batch: int, heads: int) -> Tensor:
    """Multi-head attention: softmax(Q K^T / sqrt(d)) V for each of `heads` parts of d units, concatenated (Vaswani et al. 2017, arXiv
    1706.03762).

    Inputs and output are (batch x tokens, units), the tokens of an example adjacent.
    """
    q, k, v = (rows.view(batch, -1, heads, rows.shape[1] // heads).transpose(1, 2) for rows in (query, key, value))
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).reshape(query.shape)


def averaged(x: Tensor, batch: int) -> Tensor:
    """Means over positions (batch, channels, height, width) or tokens (batch x tokens, units): (batch, units)."""
    return x.mean((2, 3)) if x.ndim == 4 else x.unflatten(0, (batch, -1)).mean(1)
