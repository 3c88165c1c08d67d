"""Networks as PyTorch users write them, of torch.nn modules: references for ours."""

import torch
from torch import Tensor, nn

from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network

ACTIVATIONS = {"relu": nn.ReLU, "leaky-relu": nn.LeakyReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
NORMS = ("none", "layer", "rms")
NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
IMPALA = (16, 32, 32)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_params(network: Network) -> Params:
    """Move every parameter from its start, so that none can be left out unnoticed."""
    draw = generator(1)
    return {name: torch.randn(shape, generator=draw) * 0.1 + name.endswith("scale") for name, shape in network.shapes.items()}


def count(network: Network) -> int:
    return sum(torch.Size(shape).numel() for shape in network.shapes.values())


class RMS(nn.Module):
    """x over its root mean square, all axes but the batch's; scale and offset per unit."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(len(x), -1)
        normed = torch.stack([row / torch.sqrt((row * row).sum() / row.numel() + 1e-5) for row in rows]).view_as(x)
        return torch.stack([normed[:, u] * self.weight[u] + self.bias[u] for u in range(x.shape[1])], dim=1)


def norm_of(norm: str, units: int, convolution: bool) -> nn.Module:
    if norm == "layer":
        return nn.GroupNorm(1, units) if convolution else nn.LayerNorm(units)
    return RMS(units) if norm == "rms" else nn.Identity()


class Residual(nn.Module):
    """Convolution, pooling, two branches; `last` normalises and activates the sum, as before anything but another block."""

    def __init__(self, channels: int, units: int, norm: str, activation: str, last: bool) -> None:
        super().__init__()
        bias = norm == "none"

        def square(bias: bool) -> nn.Module:
            return nn.Conv2d(units, units, 3, padding=1, bias=bias)

        # In the order of our layers, each with its own output's norm.
        self.conv, self.norm1 = nn.Conv2d(channels, units, 3, padding=1, bias=bias), norm_of(norm, units, True)
        self.conv1a, self.norm1b = square(bias), norm_of(norm, units, True)
        self.conv1b, self.norm2 = square(bias), norm_of(norm, units, True)
        self.conv2a, self.norm2b = square(bias), norm_of(norm, units, True)
        self.conv2b, self.after = square(bias or not last), norm_of(norm, units, True) if last else None
        self.pool, self.activation = nn.MaxPool2d(3, 2, padding=1), ACTIVATIONS[activation]()

    def forward(self, x: Tensor, seen: list[Tensor]) -> Tensor:
        x = self.pool(self.conv(x))
        for norm_a, conv_a, norm_b, conv_b in (
            (self.norm1, self.conv1a, self.norm1b, self.conv1b),
            (self.norm2, self.conv2a, self.norm2b, self.conv2b),
        ):
            first = self.activation(norm_a(x))
            second = self.activation(norm_b(conv_a(first)))
            x = x + conv_b(second)
            seen += [first, second]
        if self.after is not None:
            x = self.activation(self.after(x))
            seen.append(x)
        return x


class Torso(nn.Module):
    """Stages and a linear head: ("conv", units, kernel, stride), ("block", units) or ("dense", units)."""

    def __init__(self, stages: list[tuple], inputs: tuple[int, ...], outputs: int, norm: str, activation: str) -> None:
        super().__init__()
        self.steps, x = nn.ModuleList(), torch.zeros(1, *inputs)
        for i, (kind, units, *how) in enumerate(stages):
            last = kind == "block" and stages[i + 1][0] != "block"
            if kind == "block":
                self.steps.append(Residual(x.shape[1], units, norm, activation, last))
                x = self.steps[-1](x, [])
                continue
            if kind == "dense":
                x = x.flatten(1)
                step: list[nn.Module] = [nn.Flatten(), nn.Linear(x.shape[1], units, bias=norm == "none")]
            else:
                step = [nn.Conv2d(x.shape[1], units, *how, bias=norm == "none")]
            self.steps.append(nn.Sequential(*step, norm_of(norm, units, kind == "conv"), ACTIVATIONS[activation]()))
            x = self.steps[-1](x)
        self.head = nn.Linear(x.shape[1], outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The outputs and every activation's output, in order."""
        seen: list[Tensor] = []
        for step in self.steps:
            if isinstance(step, Residual):
                x = step(x, seen)
            else:
                x = step(x)
                seen.append(x)
        return self.head(x), seen


def assert_equal_to_torch(network: Network, stages: list[tuple]) -> None:
    """Given equal weights, the network and the modules have equal outputs and features; in float64, where summation order matters least."""
    reference = Torso(stages, network.inputs, network.outputs, network.spec.norm, network.spec.activation).double()
    params = {name: param.double() for name, param in random_params(network).items()}
    assert len(params) == len(list(reference.parameters()))
    reference.load_state_dict(dict(zip(reference.state_dict(), params.values(), strict=True)))  # in order: weight, bias; scale, offset
    x = torch.randn(5, *network.inputs, generator=generator(2)).double()
    outputs, features = network.apply(params, x)
    expected, activated = reference(x)
    torch.testing.assert_close(outputs, expected, rtol=1e-9, atol=1e-9)
    for units, seen in zip(features.values(), activated, strict=True):
        torch.testing.assert_close(units, seen.movedim(1, -1).flatten(0, -2), rtol=1e-9, atol=1e-9)
