"""Learners, batches and plain readings for tests of interventions. A plain reading knows one network and loops over its units."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.experiment import word
from plasticity_rl.interventions import (
    Evidence,
    Intervention,
    L2Init,
    LayerNorm,
    NormalizeAndProject,
    ReDo,
    Refresh,
    Reset,
    ShrinkAndPerturb,
    WeightDecay,
    assemble,
)
from plasticity_rl.learner import Learner
from plasticity_rl.networks import MLP, Nature, Network, Params
from plasticity_rl.optimizers import Adam, Net

MEMBERS = (
    LayerNorm(),
    WeightDecay(strength=0.5),
    L2Init(strength=0.1),
    NormalizeAndProject(scale_and_offset="joint"),
    NormalizeAndProject(norm="rms", scale_and_offset="toward_init", pull=0.1),
    NormalizeAndProject(scale_and_offset="frozen"),
    Reset(part="everything"),
    Reset(part="network"),
    Reset(part="hidden"),
    Reset(part="heads"),
    Reset(part="optimizer"),
    ShrinkAndPerturb(shrink=0.8, perturb=0.4),
    ReDo(tau=0.5),
)
SPECS = {"mlp": (MLP(width=8, depth=3), (5,)), "nature": (Nature(width=16), (4, 44, 44))}
OUTPUTS, BATCH, RATE = 3, 4, 1e-2


def law(test, over=MEMBERS):
    """A test of every member of the table of contents, on a dense and a convolutional network, alone and side by side."""
    for name, values in (("members", [1, 3]), ("kind", list(SPECS))):
        test = pytest.mark.parametrize(name, values)(test)
    return pytest.mark.parametrize("intervention", over, ids=word)(test)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def due(intervention: Intervention, clock: str, every: int) -> Intervention:
    """The same with its refresh, if it has one, due on that clock."""
    return dataclasses.replace(intervention, clock=clock, every=every) if isinstance(intervention, Refresh) else intervention


def learn(chain: tuple[Intervention, ...], kind: str, members: int, seed: int = 0, optimizer=None) -> Learner:
    spec, inputs = SPECS[kind]
    network, optimizer = assemble(spec, optimizer or Adam(), chain, inputs, OUTPUTS)
    return Learner(network, lambda params, batch: loss(network, params, batch), optimizer, chain, members, seed, compile=False)


def loss(network: Network, params: Params, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return F.cross_entropy(network.apply(params, batch["inputs"])[0], batch["labels"]), {}


def batches(kind: str, members: int, count: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    draw, shape = generator(seed), (members, BATCH, *SPECS[kind][1])
    return [
        {"inputs": torch.randn(shape, generator=draw), "labels": torch.randint(OUTPUTS, shape[:2], generator=draw)} for _ in range(count)
    ]


def copies(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learner.tensors().items() if name != "inputs"}


def random_like(params: Params, seed: int) -> Params:
    draw = generator(seed)
    return {name: torch.randn(param.shape, generator=draw) for name, param in params.items()}


def random_net(network: Network, seed: int = 0) -> Net:
    """Weights about as long as at the start, everything else away from where it starts, and an optimizer that remembers."""
    start = network.init(generator(seed))
    params = {name: param * 1.1 + 0.1 * torch.randn(param.shape, generator=generator(seed + 1)) for name, param in start.items()}
    return Net(params, {slot: random_like(params, seed + 2 + i) for i, slot in enumerate(Adam().slots)})


def deaden(network: Network, params: Params, units: dict[str, tuple[int, ...]]) -> Params:
    """The same network with some ReLU units silent on all inputs at hand."""
    params = {name: param.clone() for name, param in params.items()}
    for layer in network.layers:
        for unit in units.get(layer.name, ()):
            if layer.scale is not None:
                params[layer.scale][unit] = 0.1
            params[layer.bias or layer.offset][unit] = -100
    return params


def evidence_for(network: Network, net: Net, seed: int = 9) -> Evidence:
    x = torch.randn(BATCH, *network.inputs, generator=generator(seed))
    return Evidence(network.init(generator(seed + 1)), network.apply(net.params, x)[1])


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def named(intervention: Intervention, net: Net, features: Params, network: Network) -> tuple[Params, Params]:
    """Which elements of the parameters, and of the optimizer's memory, a refresh may touch: the methods' own words, read plainly."""
    params, memory = ({name: torch.zeros(p.shape, dtype=torch.bool) for name, p in net.params.items()} for _ in range(2))
    if isinstance(intervention, Reset):
        words = {"everything": ("hidden", "head"), "network": ("hidden", "head"), "hidden": ("hidden",), "heads": ("head",)}
        for name in params:
            params[name][...] = name.startswith(words.get(intervention.part, ()))
            memory[name][...] = params[name] | (intervention.part == "optimizer")
    elif isinstance(intervention, ShrinkAndPerturb):
        params = {name: torch.ones_like(mask) for name, mask in params.items()}
    elif isinstance(intervention, ReDo):
        for layer, units in dormant_by_loops(network, features, intervention.tau).items():
            for unit in units:
                for name in params:
                    if name.startswith(f"{layer}."):
                        params[name][unit] = True
                for reader, columns in columns_by_hand(network, layer, unit).items():
                    params[reader][:, columns] = True
        memory = params
    return params, memory


def dormant_by_loops(network: Network, features: Params, tau: float) -> dict[str, list[int]]:
    marked = {}
    for layer, outputs in features.items():
        samples, units = outputs.shape
        response = [sum(abs(outputs[s, u].item()) for s in range(samples)) / samples for u in range(units)]
        marked[layer] = [u for u in range(units) if response[u] <= tau * sum(response) / units]
    return marked


def columns_by_hand(network: Network, layer: str, unit: int) -> dict[str, list[int]]:
    """Who reads a unit, and in which columns: the next layer; a flattened image is channel, row, column."""
    names = [each.name for each in network.layers]
    after = names[names.index(layer) + 1]
    positions = 2 * 2 if (layer, len(network.inputs)) == ("hidden2", 3) else 1
    return {f"{after}.weight": [unit * positions + position for position in range(positions)]}
