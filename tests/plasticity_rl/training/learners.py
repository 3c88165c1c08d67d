"""Small classifiers for tests of the learner."""

import torch
import torch.nn.functional as F
from torch import Tensor

from plasticity_rl.interventions import (
    assemble,
)
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.training.learner import Learner

OUTPUTS = 3


def loss(network: Network, params: Params, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    logits, _ = network.apply(params, batch["inputs"])
    return F.cross_entropy(logits, batch["labels"]), {"accuracy": (logits.argmax(-1) == batch["labels"]).float().mean()}


def learn(chain=(), spec=None, inputs=(5,), members=2, seed=0, optimizer=None, compile=False) -> Learner:
    network, optimizer = assemble(spec or MLP(width=8, depth=2), optimizer or Adam(), chain, inputs, OUTPUTS)
    return Learner(network, lambda params, batch: loss(network, params, batch), optimizer, chain, members, seed, compile=compile)


def batches(learner: Learner, count: int, size: int = 6, seed: int = 0) -> list[dict[str, Tensor]]:
    draw, shape = torch.Generator().manual_seed(seed), (learner.members, size)
    return [
        {
            "inputs": torch.randn(*shape, *learner.network.inputs, generator=draw),
            "labels": torch.randint(OUTPUTS, shape, generator=draw),
        }
        for _ in range(count)
    ]


def copies(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in learner.tensors().items()}
