"""Measurements of one network on given inputs: name -> layer -> number, with the name "" for the whole network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.func import grad

from plasticity_rl.checkup.network import Args, Examined
from plasticity_rl.metrics import curvature, function, norms, units
from plasticity_rl.metrics.ranks import effective_rank
from plasticity_rl.networks.layers import Params

Measured = dict[str, dict[str, float]]
WHOLE = ""
"""key of a number that is of the whole network"""
NTK_EXAMPLES, NTK_NUMBERS, FEWEST = 64, 2e7, 16
"""examples of the tangent kernel, fewer where their gradients would hold more numbers than this, and at least"""
LARGEST = 2e7
"""parameters of a network whose gradients of single examples are held"""
BATCHES, BATCH = 16, 4
"""mini-batches of readiness, and their size"""

Loss = Callable[[Params, slice], Tensor]
"""loss of a network at some parameters, on some of the examples"""
SAMPLES = 4096
"""most samples of a layer's rank: of convolutions, whose positions are samples, evenly spaced ones are taken"""


class Measure(NamedTuple):
    """A measurement in the table, and when it stands out: beyond all twins, and by so much. These amounts are ours."""

    title: str
    worse: Literal["higher", "lower"]
    by: float
    """difference from the twins' mean, or factor if `relative`; infinite for what is only shown"""
    relative: bool


MEASURES = {
    "dormant_fraction": Measure("dormant units", "higher", 0.25, False),
    "dead_fraction": Measure("dead units", "higher", 0.25, False),
    "saturated_fraction": Measure("saturated outputs", "higher", 0.25, False),
    "preactivation_bias": Measure("pre-activation bias", "higher", 0.25, False),
    "effective_rank": Measure("effective rank", "lower", 0.5, True),
    "weight_norm": Measure("weight norm", "higher", 3.0, True),
    "head_norm": Measure("weight norm", "higher", inf, True),  # heads begin small and are meant to grow
    "gradient_dormant_fraction": Measure("idle units, GraMa", "higher", 0.25, False),
    "gradient_l2": Measure("gradient norm", "lower", 0.1, True),
    "readiness": Measure("readiness", "lower", 0.1, True),
    "ntk_rank": Measure("tangent kernel rank", "lower", 0.5, True),
    "output_scale": Measure("scale of outputs", "higher", inf, True),
    "policy_entropy": Measure("entropy, nats", "lower", 0.02, True),
    "smallest_probability": Measure("least likely action", "lower", 0.02, True),
    "logit_scale": Measure("scale of logits", "higher", 10.0, False),
}
"""name -> what the table says of it"""


@dataclass(frozen=True)
class Compared:
    """One number beside the twins'."""

    name: str
    layer: str
    """empty for one of the whole network"""
    own: float
    twins: tuple[float, ...]

    @property
    def fresh(self) -> float:
        """Mean over twins."""
        return sum(self.twins) / len(self.twins)

    @property
    def stands_out(self) -> bool:
        """True if it is worse than in every twin, and by as much as MEASURES says."""
        _, worse, by, relative = MEASURES[self.name]
        if worse == "higher":
            return self.own > max(self.twins) and self.own >= (by * self.fresh if relative else self.fresh + by)
        return self.own < min(self.twins) and self.own <= by * self.fresh


def measure(network: Examined, params: Params, args: Args, losses: Sequence[Loss], actions: Sequence[int]) -> Measured:
    """All measurements of the network at `params`. `losses` give the gradients, whose norms are averaged over them; `actions` are the
    numbers of actions whose logits the outputs are, empty for outputs that are none."""
    found: Measured = {name: {} for name in MEASURES}
    with torch.no_grad():
        outputs = network.outputs(params, args)
        features, raw = (network.units(params, args, before) for before in (False, True))
    for layer in network.layers:
        found["head_norm" if layer.head and features else "weight_norm"][layer.name] = float(params[layer.weight].norm())
        if layer.name in features:
            of = _of_units(features[layer.name], raw[layer.name], layer.activation)
            for name, value in of.items():
                found[name][layer.name] = float(value)
    small = sum(param.numel() for param in params.values()) <= LARGEST and not network.batch_statistics
    for loss in losses:
        gradients = grad(loss)(params, slice(None))
        for name, of_gradient in (("gradient_l2", norms.gradient_l2), ("gradient_dormant_fraction", norms.gradient_dormant_fraction)):
            for layer, value in of_gradient(gradients, network.layers).items():
                found[name][layer] = found[name].get(layer, 0.0) + float(value) / len(losses)
        if small:
            found["readiness"][WHOLE] = found["readiness"].get(WHOLE, 0.0) + float(_readiness(params, loss)) / len(losses)
    if small:  # the kernel is of examples one by one
        found["ntk_rank"][WHOLE] = float(curvature.ntk_rank(_kernel(network, params, args)))
    if not actions:
        found["output_scale"][WHOLE] = float(outputs.std(0, correction=0).mean())
    else:
        for name, of_logits in (
            ("policy_entropy", function.policy_entropy),
            ("smallest_probability", function.smallest_probability),
            ("logit_scale", function.logit_scale),
        ):
            parts = [float(of_logits(logits)) for logits in outputs.split(list(actions), -1)]
            found[name][WHOLE] = sum(parts) if name == "policy_entropy" else sum(parts) / len(parts)
    return found


def compared(own: Measured, twins: Sequence[Measured]) -> tuple[Compared, ...]:
    """Each number beside the twins', in the order of MEASURES."""
    return tuple(
        Compared(name, layer, value, tuple(twin[name][layer] for twin in twins)) for name, of in own.items() for layer, value in of.items()
    )


def preactivation_bias(raw: Tensor) -> Tensor:
    """|mean| / root mean square of each unit before the activation, (samples, units), averaged over units: a scalar in [0, 1].

    1 for units that are constant, 0 for those centred at 0; 0 too for a unit of zeros. Far from 0, a ReLU is dead or linear on nearly all
    samples and a tanh saturated. The measure is ours, of the moments that Lyle et al. 2024 (arXiv 2402.18762) plot; it has no scale.
    """
    mean, variance = units.moments(raw)
    length = (mean.square() + variance).sqrt()
    return torch.where(length > 0, mean.abs() / length, 0.0).mean()


def _of_units(features: Tensor, raw: Tensor, activation: str | None) -> dict[str, Tensor]:
    found = {
        "dormant_fraction": units.dormant_fraction(features),
        "preactivation_bias": preactivation_bias(raw),
        "effective_rank": effective_rank(features[:: -(-len(features) // SAMPLES)]),
    }
    if activation == "relu":  # others let a gradient through where they are negative
        found["dead_fraction"] = units.dead_fraction(raw)
    if activation in ("tanh", "sigmoid"):
        found["saturated_fraction"] = units.saturated_fraction(features if activation == "tanh" else 2 * features - 1)
    return found


def _readiness(params: Params, loss: Loss) -> Tensor:
    """Optimization readiness from the gradients of mini-batches."""
    parts = [slice(start, start + BATCH) for start in range(0, BATCHES * BATCH, BATCH)]
    gradients = torch.stack([_flat(grad(loss)(params, part)) for part in parts])
    with torch.no_grad():
        return curvature.readiness(loss(params, slice(0, BATCHES * BATCH)), gradients, size=1).readiness


def _kernel(network: Examined, params: Params, args: Args) -> Tensor:
    """The tangent kernel of the outputs' sum."""
    numbers = sum(param.numel() for param in params.values())
    examples = min(NTK_EXAMPLES, len(args[0]), max(FEWEST, int(NTK_NUMBERS / numbers)))
    rows = []
    for example in range(examples):
        one = tuple(arg[example : example + 1] for arg in args)
        rows.append(_flat(grad(lambda each, one=one: network.outputs(each, one).sum())(params)))
    gradients = torch.stack(rows).double()
    return gradients @ gradients.T


def _flat(gradients: Params) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients.values()])
