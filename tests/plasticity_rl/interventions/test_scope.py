"""Methods that are limited to one of an agent's networks.

The loss is a sum over networks, so that each learns as if it were alone: the limited network as a lone one under the method, the others as
without it, bit for bit.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F

from agents.actor_critic import frozen
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import word
from plasticity_rl.interventions import (
    L2,
    BornAgain,
    Churn,
    CReLU,
    FanIn,
    Intervention,
    LayerNorm,
    LowRank,
    NoisyUpdates,
    Orthogonal,
    PlasticityInjection,
    ReDo,
    Refresh,
    RefreshContext,
    Reset,
    RMSNorm,
    SafeAdam,
    SpectralNorm,
    WeightClipping,
    WeightDecay,
    assemble,
    scope,
)
from plasticity_rl.interventions.base import State, UpdateContext
from plasticity_rl.interventions.chain import metric_names, purpose_of
from plasticity_rl.networks.layers import GATE, HeadSpec, Layers, Params
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.lion import Lion
from plasticity_rl.optim.optimizers import LARS, SGD, UPGD, Adam, Muon, Net, Optimizer
from plasticity_rl.optim.schedule_free import ScheduleFree
from plasticity_rl.optim.soap import SOAP
from plasticity_rl.training import learner as learners
from plasticity_rl.training import update as updates
from plasticity_rl.training.learner import Learner
from tests.learners import BATCH, MEMBERS, RATE, copies, due, generator, random_like

pytestmark = pytest.mark.usefixtures("double")

SPEC, INPUTS = MLP(width=8, depth=2), 5
OUTPUTS = {"policy": 2, "value": 1}


def heads(*names: str) -> HeadSpec:
    return HeadSpec(tuple((name, OUTPUTS.get(name.rstrip("0123456789"), 1)) for name in names), separate=True)


def learn(
    chain: tuple[Intervention, ...],
    names: Sequence[str] = ("policy", "value"),
    optimizer: Optimizer | None = None,
    compile: bool = False,
) -> Learner:
    """One member with these networks, whose loss is a sum of one for each."""
    network, optimizer = assemble(SPEC, optimizer or Adam(), chain, (INPUTS,), heads(*names))

    def loss(params: Params, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        outputs = network.apply(params, batch["inputs"])[0]
        found = dict(zip(names, outputs.split([OUTPUTS[name] for name in names], -1), strict=True))
        terms = [F.mse_loss(found["value"], batch["targets"])] if "value" in found else []
        terms += [F.cross_entropy(found["policy"], batch["labels"])] if "policy" in found else []
        return torch.stack(terms).sum(), {}

    return Learner(network, loss, optimizer, chain, 1, 0, compile=compile)


def batches(count: int) -> list[dict[str, torch.Tensor]]:
    draw = generator(3)
    return [
        {
            "inputs": torch.randn(1, BATCH, INPUTS, generator=draw),
            "targets": torch.randn(1, BATCH, 1, generator=draw),
            "labels": torch.randint(2, (1, BATCH), generator=draw),
        }
        for _ in range(count)
    ]


def of(network: str, tensors: Params) -> Params:
    """The parameters and optimizer state in a checkpoint that are one network's."""
    whose = (f"/{network}.", f"/{network}_injected.")
    return {name: each for name, each in tensors.items() if name.startswith(("params", "slots")) and any(part in name for part in whose)}


def numbers(name: str, shape: Sequence[int]) -> torch.Tensor:
    """Normal numbers that depend on a name alone, of the size of weights."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return 0.4 * torch.randn(*shape, generator=generator(seed))


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw new networks and noise by the parameters' names, and a method's state as without a limit: alike in networks of any parts."""

    def fresh(learner: Learner, *purpose: int | str) -> Params:
        return {name: numbers(f"{purpose}{name}", shape).unsqueeze(0) for name, shape in learner.network.shapes.items()}

    def plainly(chain: tuple[Intervention, ...], index: int) -> tuple[str, int]:
        return type(chain[index]).__name__, 0

    monkeypatch.setattr(Learner, "fresh", fresh)
    monkeypatch.setattr(learners, "purpose_of", plainly)
    monkeypatch.setattr(updates, "normals", lambda key, shapes: {name: numbers(name, shape) for name, shape in shapes.items()})


LIMITED = [each for each in MEMBERS if getattr(each, "part", "") != "everything"]


@pytest.mark.usefixtures("by_name")
@pytest.mark.parametrize("method", LIMITED, ids=word)
def test_the_limited_network_learns_as_if_alone_and_the_other_as_without_the_method(method: Intervention) -> None:
    method = due(method, "update", 2)
    mine, other = ("policy", "value") if isinstance(method, BornAgain) else ("value", "policy")  # BornAgain's kl is 0 for a single output
    limited, plain = learn((dataclasses.replace(method, only=mine),)), learn(())
    alone = learn((method,), (mine,))
    different = limited.network.shapes != plain.network.shapes
    for batch in batches(3):
        for each in (limited, plain, alone):
            each.update(RATE, batch)
        found, without = copies(limited), copies(plain)
        expected = of(mine, copies(alone))
        assert of(other, found).keys() == of(other, without).keys()
        for name, tensor in of(other, without).items():
            assert torch.equal(found[name], tensor), name
        assert of(mine, found).keys() - expected.keys() <= {f"params/{mine}.{GATE}"}
        torch.testing.assert_close({name: found[name] for name in expected}, expected, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(limited.states[0], alone.states[0], rtol=1e-12, atol=1e-15)
        different |= any(not torch.equal(found[name], each) for name, each in of(mine, without).items() if name in found)
    assert different or "initial" in method.build()  # births are drawn by name here


@dataclasses.dataclass(frozen=True)
class Witness(Refresh):
    """A method that sees nothing of other networks than `value`."""

    noisy: ClassVar[bool] = True
    calls: ClassVar[list[str]] = []

    def look(self, hook: str, layers: Layers, *given: Params) -> None:
        self.calls.append(hook)
        assert [layer.name for layer in layers] == ["value.hidden0", "value.hidden1", "value"]
        assert all(each and all(name.startswith("value.") for name in each) for each in given)

    def init(self, params: Params, layers: Layers, generator: torch.Generator) -> State:
        self.look("init", layers, params)
        return {}

    def penalty(self, params: Params, state: State, layers: Layers, context: UpdateContext) -> torch.Tensor:
        outputs, features = context.apply(params)
        assert outputs.shape == (BATCH, 1)
        self.look("penalty", layers, params, features)
        return outputs.mean()

    def after_step(self, net: Net, state: State, grads: Params, layers: Layers, context: UpdateContext) -> tuple[Net, State]:
        self.look("after_step", layers, net.params, *net.slots.values(), grads, context.noise, context.apply(net.params, raw=True)[1])
        return net, state

    def refresh(self, net: Net, state: State, context: RefreshContext, layers: Layers) -> tuple[Net, State]:
        self.look("refresh", layers, net.params, *net.slots.values(), context.fresh, context.features)
        return net, state

    def project(self, params: Params, state: State, layers: Layers) -> tuple[Params, State]:
        self.look("project", layers, params)
        return params, state


def test_every_hook_sees_its_network_alone() -> None:
    Witness.calls.clear()
    learner = learn((Witness(every=1, only="value"),))
    learner.update(RATE, batches(1)[0])
    assert Witness.calls == ["init", "penalty", "after_step", "project", "refresh", "project"]


def test_a_network_under_the_method_leaves_the_birth_of_the_others() -> None:
    common = Network(SPEC, (INPUTS,), heads("policy", "value"))
    before = common.init(generator(1))
    for method in (LayerNorm(), CReLU(), FanIn(), Orthogonal(), LowRank(), SpectralNorm(), PlasticityInjection()):
        for mine, other in (("policy", "value"), ("value", "policy")):
            network, _ = assemble(SPEC, Adam(), (dataclasses.replace(method, only=mine),), (INPUTS,), heads("policy", "value"))
            after = network.init(generator(1))
            assert after.keys() == network.shapes.keys() and all(after[name].shape == shape for name, shape in network.shapes.items())
            names = [name for name in before if name.startswith(f"{other}.")]
            assert names and all(torch.equal(after[name], before[name]) for name in names)
            own = dataclasses.replace(SPEC, **method.build())
            assert network.spec == SPEC and network.own == {mine: own}
            alone = {f"{mine}.{GATE}" if name == GATE else name for name in Network(own, (INPUTS,), heads(mine)).shapes}
            assert {name for name in after if name not in names} == alone


def test_networks_with_their_own_specs_compute_what_each_would_alone() -> None:
    chain = (LayerNorm(only="policy"), CReLU(only="value"), PlasticityInjection(only="value"))
    network, _ = assemble(SPEC, Adam(), chain, (INPUTS,), heads("policy", "value"))
    params, x = network.init(generator(2)), torch.randn(6, INPUTS, generator=generator(3))
    outputs, features = network.apply(params, x)
    for part, columns, fields in (("policy", slice(0, 2), {"norm": "layer"}), ("value", slice(2, 3), {"activation": "crelu"})):
        lone = Network(dataclasses.replace(SPEC, **fields), (INPUTS,), heads(part))
        own, units = lone.apply({name: params[name] for name in lone.shapes}, x)
        torch.testing.assert_close(outputs[:, columns], own)
        assert units.keys() <= features.keys() and all(torch.equal(features[name], each) for name, each in units.items())
        mine = network.apply(params, x, only=(part,))
        assert torch.equal(mine[0], outputs[:, columns]) and mine[1].keys() == {name for name in features if name.startswith(part)}


def sees(only: str, names: Sequence[str], method: Intervention | None = None, beside: Sequence[str] = ()) -> scope.Scope:
    network = Network(SPEC, (INPUTS,), heads(*names))
    network.shapes |= {name: (1,) for name in beside}
    return scope.scope_of(dataclasses.replace(method or ReDo(), only=only), network)


CRITICS = ("actor", "critic0", "critic1", "critic12")


def test_a_name_without_digits_is_all_networks_of_it() -> None:
    for only, parts in (("critic", CRITICS[1:]), ("critic1", ("critic1",)), ("actor", ("actor",))):
        found = sees(only, CRITICS)
        assert found.parts == parts
        assert {layer.name.partition(".")[0] for layer in found.layers} == set(parts) and len(found.layers) == 3 * len(parts)
    assert sees("", CRITICS) == scope.Scope(Network(SPEC, (INPUTS,), heads(*CRITICS)).layers)


@pytest.mark.parametrize(
    ("only", "names", "message"),
    [
        ("polcy", ("policy", "value"), "polcy.ReDo: there is no network 'polcy' (there are policy, value); did you mean policy?"),
        ("critc", CRITICS, "critc.ReDo: there is no network 'critc' (there are actor, critic0, critic1, critic12); did you mean critic?"),
        ("critic2", ("policy", "value"), "critic2.ReDo: there is no network 'critic2'; one of: policy, value"),
        ("temperature", (*CRITICS[:2], "temperature"), "temperature.ReDo acts on layers, and temperature is a parameter of none"),
        ("head", (), "head.ReDo is limited to one of several networks, and here all heads are of one network: leave out 'head'"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_in_one_line(only: str, names: Sequence[str], message: str) -> None:
    networks = [name for name in names if name != "temperature"]
    network = Network(SPEC, (INPUTS,), heads(*networks) if names else 2)
    network.shapes |= {name: (1,) for name in names if name == "temperature"}
    with pytest.raises(UsageError) as raised:
        scope.scope_of(ReDo(only=only), network)
    assert str(raised.value) == message


def test_parameters_of_no_layer_belong_to_their_network_and_are_reset_with_it() -> None:
    beside = ("temperature", "policy.log_std", f"value.{GATE}")
    network = Network(SPEC, (INPUTS,), heads("policy", "value"))
    network.shapes |= {name: (1,) for name in beside}
    params = random_like({name: torch.zeros(shape) for name, shape in network.shapes.items()}, 1)
    slots = random_like({name: params[name] for name in params if not name.endswith(GATE)}, 2)
    fresh = random_like(params, 3)
    assert network.parts == ("policy", "value", "temperature")
    for only, named in (
        ("", {name for name in params if not name.endswith(GATE)}),
        ("policy", {name for name in params if name.startswith("policy.")}),
        ("temperature", {"temperature"}),
    ):
        method = Reset(part="network", only=only)
        net, _ = scope.refresh(method, scope.scope_of(method, network), Net(params, {"mean": slots}), {}, RefreshContext(fresh, {}))
        assert net.params.keys() == params.keys() and net.slots["mean"].keys() == slots.keys()
        for name in params:
            assert torch.equal(net.params[name], (fresh if name in named else params)[name]), name
        for name in slots:
            assert torch.equal(net.slots["mean"][name], torch.zeros_like(slots[name]) if name in named else slots[name]), name
    assert not torch.equal(fresh["temperature"], params["temperature"]) and "policy.log_std" in fresh


def test_two_injections_have_a_switch_each() -> None:
    chain = (PlasticityInjection(only="policy"), PlasticityInjection(only="value", every=2))
    learner = learn(chain)
    data, switches = batches(4), []
    x = data[0]["inputs"][0]
    for batch in data[:3]:
        learner.update(RATE, batch)
        before = learner.network.apply(learner.one(0), x)[0]
        switches.append([learner.net.params[f"{part}.{GATE}"].item() for part in ("policy", "value")])
        learner.task_boundary()
        torch.testing.assert_close(learner.network.apply(learner.one(0), x)[0], before)
    learner.update(RATE, data[3])
    assert switches == [[0, 0], [1, 0], [1, 1]] and GATE not in learner.net.params


OPTIMIZERS = (Adam(), SGD(momentum=0.5), LARS(), Muon(), Lion(), ScheduleFree(), SOAP(every=2, largest=5, epsilon=1e-3))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=word)
def test_an_optimizers_settings_for_one_network_are_those_of_an_optimizer_of_its_own(optimizer: Optimizer) -> None:
    chain = (WeightDecay(strength=0.5, only="policy"), WeightDecay(strength=2.0, decayed="all", only="value"))
    both = learn(chain, optimizer=optimizer)
    apart = [learn((dataclasses.replace(each, only=""),), (part,), optimizer) for each, part in zip(chain, OUTPUTS, strict=True)]
    for each, part in zip(apart, OUTPUTS, strict=True):
        for name, param in each.net.params.items():
            param.copy_(both.net.params[name])
        assert all(name.startswith(f"{part}.") for name in each.net.params)
    for batch in batches(3):
        for each in (both, *apart):
            each.update(0.1, batch)
    found, expected = both.tensors(), {name: tensor for each in apart for name, tensor in each.tensors().items() if name != "inputs"}
    torch.testing.assert_close({name: found[name] for name in expected}, expected, rtol=1e-12, atol=1e-15)


def test_the_gradient_is_clipped_over_all_networks_before() -> None:
    clipped = learn((WeightDecay(strength=1e-9, only="value"),), optimizer=SGD(clip_norm=0.1))
    before, (batch,) = clipped.one(0), batches(1)
    before = {name: param.clone() for name, param in before.items()}
    clipped.update(1.0, batch)
    moved = torch.cat([(param - before[name]).flatten() for name, param in clipped.one(0).items()])
    assert moved.norm().item() == pytest.approx(0.1, rel=1e-4)


@dataclasses.dataclass(frozen=True)
class Clipped(Intervention):
    """A method that sets the bound of the gradient."""

    def optimizer(self) -> dict[str, float]:
        return {"clip_norm": 1.0}


@pytest.mark.parametrize(
    ("chain", "optimizer", "message"),
    [
        ((WeightDecay(only="value"),), UPGD(), "UPGD compares the parameters of all networks: its settings cannot be limited to value"),
        ((Clipped(only="value"),), Adam(), "clip_norm is of the gradient of all networks together and cannot be limited to value"),
        ((SafeAdam(only="value"),), SGD(), "value.SafeAdam sets beta2, and SGD has no such field"),
        (
            (LayerNorm(), RMSNorm(only="value")),
            Adam(),
            "LayerNorm and value.RMSNorm cannot be combined: norm would be both 'layer' and 'rms'",
        ),
        (
            (WeightDecay(strength=0.1), WeightDecay(strength=0.2, only="value")),
            Adam(),
            "with WeightDecay and value.WeightDecay, a method is twice in the chain, and only one of its settings can act: name it once",
        ),
    ],
)
def test_what_cannot_be_limited_or_combined_is_refused(chain: tuple[Intervention, ...], optimizer: Optimizer, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        assemble(SPEC, optimizer, chain, (INPUTS,), heads("policy", "value"))
    assert str(raised.value) == message


def test_a_new_agent_cannot_be_limited() -> None:
    with pytest.raises(UsageError, match="part=everything makes a new agent and cannot be limited to policy; take part=network"):
        Reset(only="policy")


@pytest.mark.parametrize(
    ("one", "other", "refused"),
    [
        ("", "critic", True),
        ("critic", "critic1", True),
        ("critic1", "critic", True),
        ("critic1", "critic1", True),
        ("critic0", "critic1", False),
    ],
)
def test_a_method_that_acts_once_may_stand_for_each_network_once(one: str, other: str, refused: bool) -> None:
    chain = (WeightClipping(only=one), WeightClipping(kappa=3.0, only=other))
    if refused:
        with pytest.raises(UsageError, match="is twice in the chain"):
            assemble(SPEC, Adam(), chain, (INPUTS,), heads(*CRITICS))
    else:
        assemble(SPEC, Adam(), chain, (INPUTS,), heads(*CRITICS))


def test_methods_of_other_networks_have_their_own_names_and_streams() -> None:
    chain = (ReDo(only="value"), ReDo(), ReDo(only="policy"), ReDo(only="value", tau=0.5), ReDo(tau=0.5))
    assert metric_names(chain) == ("value.ReDo", "ReDo", "policy.ReDo", "value.ReDo-2", "ReDo-2")
    assert [purpose_of(chain, i) for i in range(5)] == [("value.ReDo", 0), ("ReDo", 0), ("policy.ReDo", 0), ("value.ReDo", 1), ("ReDo", 1)]


def test_measured_effects_are_named_by_network() -> None:
    learner = learn((L2(only="policy"), NoisyUpdates(only="value"), WeightClipping(only="value")))
    reported = learner.update(RATE, batches(1)[0], measure=True)
    assert {name for name in reported if "value." in name or "policy.L2" in name} >= {
        "penalty_over_loss/policy.L2",
        "step_change/value.NoisyUpdates",
        "projection_change/value.WeightClipping",
    }


def test_refreshes_of_one_network_are_counted_as_its_own() -> None:
    learner = learn((Reset(part="network", only="value", clock="update", every=1),))
    learner.update(RATE, batches(1)[0])
    size = sum(param.numel() for name, param in learner.one(0).items() if name.startswith("value."))
    assert learner.refresh_counts["weights_refreshed/value.Reset"].item() == size
    assert isinstance(learner.chain[0], Refresh) and learner.due("update") == learner.chain


@pytest.mark.long
def test_an_update_with_limited_methods_is_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced without a graph break; the graph runs as it was traced, which spares the compiler."""
    monkeypatch.setattr(learners, "compiled", lambda step: torch.compile(step, fullgraph=True, backend="eager"))
    chain = (LayerNorm(only="policy"), Churn(only="policy"), L2(only="value"), NoisyUpdates(only="value"), WeightClipping(only="value"))
    chain += (WeightDecay(only="policy"), PlasticityInjection(only="value"))
    both = learn(chain, compile=True), learn(chain)
    torch.compiler.reset()
    for batch in batches(2):
        for each in both:
            each.update(RATE, batch)
            each.task_boundary()
    torch.testing.assert_close(*map(copies, both), rtol=1e-12, atol=1e-15)


def test_injected_heads_are_held_and_frozen_with_their_network() -> None:
    learner = learn((PlasticityInjection(),))
    (batch,) = batches(1)
    learner.task_boundary()
    before = copies(learner)
    learner.update(RATE, batch | {f"{updates.HELD}value": torch.tensor([True])})
    after = copies(learner)
    for name, each in of("value", before).items():
        assert torch.equal(after[name], each), name
    assert not torch.equal(after["params/policy_injected.weight"], before["params/policy_injected.weight"])
    params = {name: param.requires_grad_() for name, param in learner.one(0).items()}
    learned = {name for name, param in frozen(params, ("value",)).items() if param.requires_grad}
    assert learned == {name for name in params if not name.startswith(("value.", "value_injected."))}
