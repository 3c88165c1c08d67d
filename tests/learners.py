"""Networks, learners and batches for tests of interventions."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.experiment import word
from plasticity_rl.interventions import (
    AID,
    DASH,
    FIRE,
    GELU,
    L2,
    TRAC,
    AdamRel,
    BatchMeanNorm,
    BatchNorm,
    BornAgain,
    CalibratedPartialResets,
    Churn,
    ContinualBackprop,
    CReLU,
    DynamicSparsity,
    EffectiveRank,
    FanIn,
    FeatureNorm,
    FeatureTrustRegion,
    Fourier,
    HareAndTortoise,
    InFeR,
    Intervention,
    L2Init,
    LayerNorm,
    LayerRates,
    Layerwise,
    LeakyReLU,
    LowRank,
    NoisyUpdates,
    NormalizeAndProject,
    NormConstraint,
    Orthogonal,
    Parseval,
    PlasticityInjection,
    Powerprop,
    PReLU,
    ReDo,
    Refresh,
    RefreshContext,
    ReGraMa,
    Reset,
    RMSNorm,
    SafeAdam,
    SelectiveWeightReinitialization,
    SelfNormalizedResets,
    ShrinkAndPerturb,
    SmoothLeaky,
    SoftReset,
    Spectral,
    SpectralNorm,
    StaticSparsity,
    Tailored,
    Tanh,
    Wasserstein,
    WeightClipping,
    WeightDecay,
    WeightNormalization,
    assemble,
)
from plasticity_rl.interventions.base import UpdateContext
from plasticity_rl.networks.layers import Block, Conv, Dense, HeadSpec, Params, Stage
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, NetworkSpec
from plasticity_rl.optim.optimizers import Adam, Net
from plasticity_rl.training.learner import Learner

MEMBERS = (
    LayerNorm(),
    WeightDecay(strength=0.5),
    L2Init(strength=0.1),
    NormalizeAndProject(scale_and_offset="joint"),
    NormalizeAndProject(norm="rms", scale_and_offset="toward_init", pull=0.1),
    NormalizeAndProject(scale_and_offset="frozen"),
    NormalizeAndProject(scale_and_offset="free"),
    Reset(part="everything"),
    Reset(part="network"),
    Reset(part="hidden"),
    Reset(part="heads"),
    Reset(part="optimizer"),
    Reset(part="last", last=1),
    SafeAdam(),
    ShrinkAndPerturb(shrink=0.8, perturb=0.4),
    ReDo(tau=0.5),
    ContinualBackprop(rate=0.15, maturity=0, decay=0.5),
    SelfNormalizedResets(percentile=0.5, start=1, bins=4, renewal=2),
    TRAC(initial=0.5),
    AdamRel(),
    ReGraMa(tau=0.5),
    CalibratedPartialResets(rate=0.5, sharpness=4.0, decay=0.5),
    SelectiveWeightReinitialization(factor=0.3),
    SelectiveWeightReinitialization(utility="magnitude", factor=0.5, part="hidden"),
    HareAndTortoise(decay=0.5),
    SoftReset(gamma=0.9),
    DASH(least=0.2),
    FIRE(),
    EffectiveRank(rate=0.1),
    Layerwise(),
    LayerRates(updates=(0, 4), factors=(1.0, 0.5)),
    NoisyUpdates(sigma=0.01),
    L2(strength=0.1),
    Wasserstein(strength=0.1),
    Spectral(strength=0.1),
    Parseval(strength=0.1),
    InFeR(functions=3, beta=2.0),
    FeatureTrustRegion(coefficient=10.0, every=3),
    Churn(lag=2),
    FeatureNorm(strength=0.1, where="all"),
    BornAgain(loss="mse"),
    BornAgain(strength=2.0, loss="kl"),
    WeightClipping(kappa=0.5),
    NormConstraint(),
    WeightNormalization(),
    WeightNormalization(norm="batch"),
    StaticSparsity(sparsity=0.4),
    DynamicSparsity(sparsity=0.4, moved=0.5, grow="random"),
    DynamicSparsity(sparsity=0.4, moved=0.5),
    RMSNorm(),
    BatchNorm(),
    BatchMeanNorm(),
    CReLU(),
    LeakyReLU(slope=0.2),
    PReLU(slope=0.1),
    SmoothLeaky(),
    AID(slope=0.3),
    GELU(),
    Tanh(),
    Fourier(),
    Tailored(eta=0.3),
    Orthogonal(),
    LowRank(rank=0.3),
    FanIn(),
    SpectralNorm(iterations=3),
    Powerprop(alpha=1.5),
    PlasticityInjection(),
)
OUTPUTS, BATCH, RATE = 3, 4, 1e-2


@dataclasses.dataclass(frozen=True)
class Residual(NetworkSpec):
    """A small residual torso: its two blocks have every wiring that three have."""

    def stages(self) -> tuple[Stage, ...]:
        return (Block(4), Block(6), Dense(8))


@dataclasses.dataclass(frozen=True)
class Convolutions(NetworkSpec):
    """A small `Nature`: 4 x 4, 3 x 3 and 2 x 2 positions on images of 5 x 5."""

    def stages(self) -> tuple[Stage, ...]:
        return (Conv(6, 2, 1), Conv(8, 2, 1), Conv(8, 2, 1), Dense(8))


@dataclasses.dataclass(frozen=True)
class Small(NetworkSpec):
    """One convolution, of 2 x 2 positions on images of 5 x 5, and a dense layer."""

    def stages(self) -> tuple[Stage, ...]:
        return (Conv(6, 3, 2), Dense(8))


EVERYTHING = HeadSpec((("value", 1), ("advantage", 2)), streams=True, noise=0.5, cosines=4, tasks=2)
NUMBERS = 2 * (24 + 8) + (8 + 1 * 2) + (8 + 2 * 2)  # noise: into and out of two last hidden layers of `Small`, and of two heads
FRACTIONS = 3

SPECS: dict[str, tuple[NetworkSpec, tuple[int, ...], int | HeadSpec]] = {
    "mlp": (MLP(width=8, depth=3), (5,), OUTPUTS),
    "convolutions": (Convolutions(), (2, 5, 5), OUTPUTS),
    "residual": (Residual(), (3, 8, 8), OUTPUTS),
    "noisy": (Small(), (2, 5, 5), EVERYTHING),
    "separate": (MLP(width=8, depth=2), (5,), HeadSpec((("policy", 2), ("value", 1)), separate=True)),
}
REFUSED: dict[type | Intervention, tuple[str, ...]] = {
    BornAgain(strength=2.0, loss="kl"): ("noisy", "separate"),
}
"""method, or one with certain fields -> kinds of network that it refuses, with the reason in a separate test"""


KINDS = (("mlp", 1), ("mlp", 3), ("convolutions", 1), ("convolutions", 3), ("residual", 1), ("residual", 3), ("noisy", 2), ("separate", 2))
STRUCTURAL = (("mlp", 3), ("noisy", 2))
"""kinds and numbers of members that suffice for laws of names, storage and clocks, not of arithmetic"""


def law(test, over=MEMBERS, kinds=KINDS):
    """Parametrize a test by every method, every kind of network that it takes, and one or several members."""
    cases = [
        (each, kind, members) for each in over for kind, members in kinds if kind not in REFUSED.get(each, REFUSED.get(type(each), ()))
    ]
    ids = [f"{word(each)}-{kind}-{members}" for each, kind, members in cases]
    return pytest.mark.parametrize(("intervention", "kind", "members"), cases, ids=ids)(test)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def due(intervention: Intervention, clock: str, every: int) -> Intervention:
    """The same method with its refresh, if any, due on that clock."""
    return dataclasses.replace(intervention, clock=clock, every=every) if isinstance(intervention, Refresh) else intervention


def built(kind: str, **fields) -> Network:
    """A network of that kind, with these spec fields."""
    spec, inputs, ends = SPECS[kind]
    return Network(dataclasses.replace(spec, **fields), inputs, ends)


def learn(chain: tuple[Intervention, ...], kind: str, members: int, seed: int = 0, optimizer=None, **fields) -> Learner:
    """A learner of that kind of network, with these spec fields."""
    spec, inputs, ends = SPECS[kind]
    spec = dataclasses.replace(spec, **fields)
    network, optimizer = assemble(spec, optimizer or Adam(), chain, inputs, ends)
    return Learner(network, lambda params, batch: loss(network, params, batch), optimizer, chain, members, seed, compile=False)


def loss(network: Network, params: Params, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    drawn = {name: batch[name] for name in ("noise", "fractions", "task") if name in batch}
    if "noise" in drawn:  # pairs of outputs widen readers, which need more numbers
        drawn["noise"] = drawn["noise"].repeat(1, 2)[:, : network.noise]
    logits = network.apply(params, batch["inputs"], **drawn)[0].flatten(0, -2)
    return F.cross_entropy(logits, batch["labels"].repeat_interleave(len(logits) // BATCH)), {}


def batches(kind: str, members: int, count: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    draw, shape = generator(seed), (members, BATCH)

    def batch() -> dict[str, torch.Tensor]:
        given = {
            "inputs": torch.randn(*shape, *SPECS[kind][1], generator=draw),
            "labels": torch.randint(OUTPUTS, shape, generator=draw),
        }
        if kind == "noisy":
            given["noise"] = torch.randn(*shape, NUMBERS, generator=draw)
            given["fractions"] = torch.rand(*shape, FRACTIONS, generator=draw)
            given["task"] = torch.arange(BATCH).remainder(2).expand(shape)
        return given

    return [batch() for _ in range(count)]


def seen(network: Network, batch: dict[str, torch.Tensor] | None = None, draw: torch.Generator | None = None) -> UpdateContext:
    """The context of one network's update on its own batch or a new one of one member; noise if a generator is given."""
    inputs = torch.randn(BATCH, *network.inputs, generator=generator(8)) if batch is None else batch["inputs"]
    task = None if batch is None else batch.get("task")
    noise = {} if draw is None else {name: torch.randn(shape, generator=draw) for name, shape in network.shapes.items()}
    return UpdateContext(lambda params, raw=False: network.apply(params, inputs, task=task, raw=raw), noise)


def copies(learner: Learner) -> dict[str, torch.Tensor]:
    """All state except the batch; an age per tensor is expanded to its elements."""
    params = learner.net.params

    def copied(name: str, tensor: torch.Tensor) -> torch.Tensor:
        kind, _, rest = name.partition("/")
        one = kind == "slots" and tensor[0].numel() == 1
        return (tensor.expand_as(params[rest.partition("/")[2]]) if one else tensor).clone()

    return {name: copied(name, tensor) for name, tensor in learner.tensors().items() if name != "inputs"}


def random_like(params: Params, seed: int) -> Params:
    draw = generator(seed)
    return {name: torch.randn(param.shape, generator=draw) for name, param in params.items()}


def random_net(network: Network, seed: int = 0) -> Net:
    """Weights of about initial length, all else moved from its start, and an optimizer with state."""
    start = network.init(generator(seed))
    params = {name: param * 1.1 + 0.1 * torch.randn(param.shape, generator=generator(seed + 1)) for name, param in start.items()}
    return Net(params, {slot: random_like(params, seed + 2 + i) for i, slot in enumerate(Adam().slots)})


def deaden(network: Network, params: Params, units: dict[str, tuple[int, ...]]) -> Params:
    """The same network with some ReLU units silent on all given inputs."""
    params = {name: param.clone() for name, param in params.items()}
    for layer in network.layers:
        for unit in units.get(layer.name, ()):
            if layer.scale is not None:
                params[layer.scale][unit] = 0.1
            shift = layer.bias or layer.offset
            assert shift is not None
            params[shift][unit] = -100
    return params


def evidence_for(network: Network, net: Net, seed: int = 9) -> RefreshContext:
    x = torch.randn(BATCH, *network.inputs, generator=generator(seed))
    apply = lambda params, raw=False: network.apply(params, x, raw=raw)  # noqa: E731
    return RefreshContext(network.init(generator(seed + 1)), apply(net.params)[1], apply)


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def length(params: Params, layer: str) -> torch.Tensor:
    """Length of each member's (S, ...) weight, with any standard deviations."""
    names = (f"{layer}.weight", f"{layer}.weight_noise")
    return torch.cat([params[name].flatten(1) for name in names if name in params], 1).norm(dim=1)
