"""bfloat16 products: near float32's, with all persistent state in float32.

bfloat16 keeps 8 bits, a rounding of up to 0.4% at every product: outputs are held to 3% of their length, a layer's gradients to a
cosine of 0.99.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from plasticity_rl.interventions import L2Init, NormalizeAndProject, ReDo, assemble
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import Impala, Nature, NetworkSpec
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.training.learner import Learner
from tests.modules import NORMS, generator

RAINBOW = HeadSpec((("value", 3), ("advantage", 6)), streams=True, noise=0.5, cosines=16)
SPECS: dict[str, tuple[type[NetworkSpec], tuple[int, ...], HeadSpec]] = {
    "nature": (Nature, (4, 44, 44), HeadSpec((("head", 6),))),
    "residual": (Impala, (4, 20, 20), HeadSpec((("head", 6),))),
    "noisy": (Nature, (4, 44, 44), RAINBOW),
}


def pair(kind: str, norm: str = "none") -> tuple[list[Network], Params, Tensor, Tensor | None]:
    """The same network in both precisions, and its inputs."""
    spec, inputs, ends = SPECS[kind]
    networks = [Network(spec(norm=norm, precision=precision), inputs, ends) for precision in ("float32", "bfloat16")]  # type: ignore[call-arg]
    params, draw = networks[0].init(generator()), generator(1)
    x = torch.randint(0, 256, (8, *inputs), generator=draw, dtype=torch.uint8)
    return networks, params, x, torch.randn(1, networks[0].noise, generator=draw) if networks[0].noise else None


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", list(SPECS))
def test_outputs_and_gradients_are_near_float32s_and_are_float32(kind, norm):
    networks, params, x, noise = pair(kind, norm)
    outputs, grads = [], []
    for network in networks:
        leaves = {name: param.clone().requires_grad_() for name, param in params.items()}
        found, features = network.apply(leaves, x, noise)
        assert {tensor.dtype for tensor in (found, *features.values())} == {torch.float32}
        outputs.append(found.detach())
        grads.append(dict(zip(leaves, torch.autograd.grad(found.logsumexp(-1).sum(), list(leaves.values())), strict=True)))
    distance = ((outputs[1] - outputs[0]).norm() / outputs[0].norm()).item()
    assert 1e-5 < distance < 0.03
    assert {grad.dtype for grad in grads[1].values()} == {torch.float32}
    for layer in networks[0].layers:
        exact, rounded = (torch.cat([each[name].flatten() for name in layer.own]) for each in grads)
        cosine = F.cosine_similarity(exact, rounded, dim=0).item()
        assert cosine > 0.99, (layer.name, cosine)


@pytest.mark.parametrize("kind", list(SPECS))
def test_heads_multiply_in_float32(kind):
    (_, network), params, x, noise = pair(kind)
    outputs, features = network.apply(params, x, noise)
    last = [layer for layer in network.layers if set(layer.readers) & {"head", "value", "advantage"}]
    by_hand = []
    for layer in last:
        (head,) = layer.readers
        units = features[layer.name]
        assert torch.equal(units, units.bfloat16().float())  # the head's input has been rounded
        y = F.linear(units, params[f"{head}.weight"], params[f"{head}.bias"])
        if noise is not None:
            start = {"value": 2 * (64 * 2 * 2 + 512), "advantage": 2 * (64 * 2 * 2 + 512) + 512 + 3}[head]
            numbers = noise[0, start : start + sum(params[f"{head}.weight"].shape)]
            into, out = (numbers.sign() * numbers.abs().sqrt()).split([512, len(y[0])])
            y = y + F.linear(units, params[f"{head}.weight_noise"] * torch.outer(out, into), params[f"{head}.bias_noise"] * out)
        by_hand.append(y)
    torch.testing.assert_close(outputs.flatten(0, -2), torch.cat(by_hand, 1), rtol=1e-5, atol=1e-6)
    assert (outputs - outputs.bfloat16().float()).any()


@pytest.mark.parametrize("kind", list(SPECS))
def test_all_that_a_learner_keeps_is_float32_and_every_parameter_trains(kind):
    spec, inputs, ends = SPECS[kind]
    chain = (NormalizeAndProject(), L2Init(), ReDo(every=1, tau=0.3))
    network, optimizer = assemble(spec(precision="bfloat16"), Adam(), chain, inputs, ends)  # type: ignore[call-arg]

    def loss(params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return network.apply(params, batch["inputs"], batch["noise"])[0].logsumexp(-1).mean(), {}

    learner = Learner(network, loss, optimizer, chain, 2, 0, compile=False)
    before = {name: tensor.clone() for name, tensor in learner.net.params.items()}
    draw = generator()
    batch = {"inputs": torch.randn(2, 3, *inputs, generator=draw), "noise": torch.randn(2, 1, network.noise, generator=draw)}
    reported = learner.update(1e-3, batch)
    assert {tensor.dtype for tensor in (*reported.values(), *learner.tensors().values())} == {torch.float32}
    assert all(not torch.equal(param, before[name]) and param.isfinite().all() for name, param in learner.net.params.items())
