"""User modules as networks: compared with the project's networks of the same layers and initial weights."""

import dataclasses
import json
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from launch.config.parse import experiment
from plasticity_rl import plugins
from plasticity_rl.checks import Interval, UsageError
from plasticity_rl.experiment import Experiment, word
from plasticity_rl.interventions import Churn, Intervention, LayerNorm, assemble
from plasticity_rl.networks.layers import HeadSpec, Params
from plasticity_rl.networks.modules import ModuleNetwork, ModuleSpec, adapted
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.records.events import Metric, Score
from plasticity_rl.training.learner import Learner
from tests.learners import MEMBERS, RATE, batches, due, generator, loss
from tests.plasticity_rl.training.test_compiled import needs_compiler, of_torch_itself
from tests.training import CARTPOLE, COSTS, LABELS, PENDULUM


class Hidden(nn.Module):
    """Linear layer with a bias or a norm, with the parameters' names of the project's layers."""

    def __init__(self, fan_in: int, units: int, norm: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(units, fan_in))
        self.norm = norm
        if norm == "layer":
            self.scale, self.offset = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))
        else:
            self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        if self.norm == "layer":
            return F.layer_norm(F.linear(x, self.weight), self.scale.shape, self.scale, self.offset)
        return F.linear(x, self.weight, self.bias)


class Plain(nn.Module):
    """Dense layers of equal width.

    They are the project's `mlp`.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: int,
        width: Annotated[int, Interval("[1, 100]")] = 12,
        depth: int = 2,
        norm: Literal["none", "layer"] = "none",
    ) -> None:
        super().__init__()
        self.depth = depth
        for i in range(depth):
            self.add_module(f"hidden{i}", Hidden(width if i else prod(inputs), width, norm))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for i in range(self.depth):
            x = F.relu(self.get_submodule(f"hidden{i}")(x))
        return self.head(x)


def sequential(inputs: tuple[int, ...], outputs: int, width: int = 8, slope: float = 0.2) -> nn.Module:
    """Two layers, leaky."""
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(inputs), width), nn.LeakyReLU(slope, inplace=True), nn.Linear(width, outputs))


@dataclass(frozen=True)
class Convolving:
    """Two convolutions."""

    channels: int = 4
    """of each"""

    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        torso = nn.Sequential(nn.Conv2d(inputs[0], self.channels, 3), nn.GroupNorm(1, self.channels), nn.GELU(approximate="tanh"))
        side = inputs[1] - 2
        return nn.Sequential(torso, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(self.channels * (side // 2) ** 2, outputs))


def spec(made: Any, **fields: Any) -> ModuleSpec:
    found = adapted(made)
    assert found is not None
    return found(**fields)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow this module as a plugin, with the project's initial weights."""
    monkeypatch.setattr(plugins, "_allowed", [__name__])

    def init(self: ModuleNetwork, draw: torch.Generator) -> Params:
        hidden = [layer for layer in self.layers if layer.readers]
        norm: Any = "layer" if hidden[0].scale else "none"
        return Network(MLP(width=hidden[0].units, depth=len(hidden), norm=norm), self.inputs, self.heads).init(draw)

    monkeypatch.setattr(ModuleNetwork, "init", init)


def rows(words: dict[str, Any], compile: bool = False) -> tuple[list[Score], list[Metric]]:
    made = experiment(words)
    events = list(made.agent.train(made, "cpu", compile, None))
    metrics = [each for each in events if isinstance(each, Metric) and each.name not in COSTS]
    return [each for each in events if isinstance(each, Score)], metrics


def assert_alike(words: dict[str, Any], chain: list[str], compile: bool = False) -> None:
    words = words | {"chain": chain} | ({} if compile else {"curvature_every": 40, "probe_every": 40, "probe_updates": 4})
    ours, theirs = (rows(words | {"network": network}, compile) for network in ("mlp:width=12,depth=2", f"{__name__}.Plain:width=12"))
    assert ours[0] and [each._replace(score=0) for each in ours[0]] == [each._replace(score=0) for each in theirs[0]]
    torch.testing.assert_close([each.score for each in ours[0]], [each.score for each in theirs[0]], rtol=1e-5, atol=1e-5)
    values = [{(each.name, each.member, each.updates): each.value for each in metrics} for _, metrics in (ours, theirs)]
    assert len(values[0]) > 200
    torch.testing.assert_close(*values, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("chain", [[], ["redo:every=20", "feature-norm", "layer-norm", "churn"]])
@pytest.mark.parametrize("words", [LABELS, CARTPOLE], ids=["stream", "cartpole"])
def test_scores_and_metrics_are_those_of_the_same_layers(words: dict[str, Any], chain: list[str]) -> None:
    assert_alike(words, chain)


@pytest.mark.long
@needs_compiler
@of_torch_itself
@pytest.mark.usefixtures("here")
def test_compiled_it_is_the_same_too() -> None:
    assert_alike(LABELS, ["feature-norm", "redo:every=20"], compile=True)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("method", MEMBERS, ids=word)
def test_every_method_acts_as_on_the_same_layers_or_is_refused(method: Intervention) -> None:
    chain, made = (due(method, "update", 3),), spec(Plain, width=8, depth=3)
    if beyond := [field for field, value in method.build().items() if (field, value) != ("norm", "layer")]:
        with pytest.raises(
            UsageError, match=f"{type(method).__name__} sets {beyond[0]}, and Plain has no|norm cannot be '{method.build().get('norm')}'"
        ):
            assemble(made, Adam(), chain, (5,), 3)
        return
    learners = []
    for network in (MLP(width=8, depth=3), made):
        built, optimizer = assemble(network, Adam(), chain, (5,), 3)
        learners.append(
            Learner(built, lambda params, batch, of=built: loss(of, params, batch), optimizer, chain, members=2, seed=0, compile=False)
        )
    for batch in batches("mlp", 2, 8):
        reported = [learner.update(RATE, batch) for learner in learners]
        torch.testing.assert_close(*reported, rtol=1e-5, atol=1e-6)
    for learner in learners:
        learner.task_boundary()
    torch.testing.assert_close(learners[0].net.params, learners[1].net.params, rtol=1e-5, atol=1e-6)


def test_members_begin_as_a_function_of_seed_and_member() -> None:
    network, optimizer = assemble(spec(sequential), Adam(), (), (3,), 2)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    learners = [Learner(network, lambda *_: (torch.zeros(()), {}), optimizer, (), 2, seed, compile=False) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    one, again, other = (learner.net.params["1.weight"] for learner in learners)
    assert torch.equal(one, again) and not torch.equal(one, other) and not torch.equal(one[0], one[1])
    assert one.abs().max() <= 3**-0.5 < 1.2 * one.abs().max()  # torch's own initialiser


def test_units_and_outputs_of_convolutions_are_those_of_the_module() -> None:
    network = ModuleNetwork(spec(Convolving), (3, 6, 6), 2)
    params = network.init(generator())
    images = torch.randint(256, (5, 3, 6, 6), dtype=torch.uint8, generator=generator(1))
    x = F.conv2d(images / 255, params["0.0.weight"], params["0.0.bias"])
    raw = F.group_norm(x, 1, params["0.1.weight"], params["0.1.bias"])
    units = F.gelu(raw, approximate="tanh")
    outputs = F.linear(F.max_pool2d(units, 2).flatten(1), params["3.weight"], params["3.bias"])
    found, features = network.apply(params, images)
    torch.testing.assert_close(found, outputs)
    torch.testing.assert_close(features, {"0.0": units.movedim(1, -1).reshape(-1, 4)})
    before = network.apply(params, images, raw=True)[1]
    torch.testing.assert_close(before, {"0.0": raw.movedim(1, -1).reshape(-1, 4)})
    torch.testing.assert_close(network.activated(params, before), features)
    (hidden, head) = network.layers
    assert (hidden.units, hidden.columns, hidden.scale, hidden.readers, head.name) == (4, 4, "0.1.weight", ("3",), "3")
    assert network.convolves and not ModuleNetwork(spec(sequential), (3,), 2).convolves


def test_an_activation_in_place_is_seen_before_and_after() -> None:
    network = ModuleNetwork(spec(sequential, slope=0.5), (3,), 2)
    params, x = network.init(generator()), torch.randn(4, 3, generator=generator(1))
    raw = F.linear(x, params["1.weight"], params["1.bias"])
    torch.testing.assert_close(network.apply(params, x, raw=True)[1], {"1": raw})
    torch.testing.assert_close(network.activated(params, {"1": raw}), {"1": torch.where(raw > 0, raw, raw / 2)})
    torch.testing.assert_close(network.apply(params, x)[1], {"1": torch.where(raw > 0, raw, raw / 2)})


def test_heads_of_each_task_and_networks_of_each_head() -> None:
    x, task = torch.randn(4, 3, generator=generator(1)), torch.tensor([0, 2, 1, 2])
    heads = HeadSpec((("policy", 2), ("value", 1)), tasks=3)
    shared, separate = (ModuleNetwork(spec(sequential), (3,), dataclasses.replace(heads, separate=each)) for each in (False, True))
    params = shared.init(generator())
    every = F.linear(F.leaky_relu(F.linear(x, params["1.weight"], params["1.bias"]), 0.2), params["3.weight"], params["3.bias"])
    assert every.shape == (4, 9)
    wanted = torch.stack([every[row, 3 * which : 3 * which + 3] for row, which in enumerate(task.tolist())])
    torch.testing.assert_close(shared.apply(params, x, task=task)[0], wanted)
    torch.testing.assert_close(shared.apply(params, x)[0], every[:, :3])
    assert separate.outputs == 3 and {layer.name for layer in separate.layers} == {"policy.1", "policy.3", "value.1", "value.3"}
    params = separate.init(generator())
    assert params["policy.3.weight"].shape == (6, 8) and params["value.3.weight"].shape == (3, 8)
    values = F.leaky_relu(F.linear(x, params["value.1.weight"], params["value.1.bias"]), 0.2)
    values = F.linear(values, params["value.3.weight"], params["value.3.bias"])
    torch.testing.assert_close(separate.apply(params, x, task=task)[0][:, 2], values[range(4), task.tolist()])


def test_a_factory_is_a_part_of_an_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_allowed", [__name__])
    known = {path.rpartition(".")[2] for path in plugins.known("network")}
    assert {"Convolving", "Plain", "sequential"} <= known and not {"Hidden", "Odd", "spec", "layered", "MLP"} & known
    for text in ("Plain:width=3,norm=layer", "sequential:slope=0.5", "Convolving:channels=2"):
        made = experiment({"network": f"{__name__}.{text}"})
        assert word(made.network) == f"{__name__}.{text}"
        assert Experiment.from_json(json.loads(json.dumps(made.to_json()))) == made
        assert pickle.loads(pickle.dumps(made.network)) == made.network
    assert experiment({"network": f"{__name__}.Plain"}).network.__doc__.startswith("Dense layers of equal width.")
    for text, said in (
        ("Plain:width=0", r"Plain: width must lie in \[1, 100\], not 0"),
        ("Plain:norm=rms", "Plain: norm cannot be 'rms'; one of: layer, none"),
        ("Hidden", "Hidden is not a valid network: it must derive from .* whose parameters begin with \\(inputs, outputs\\)"),
    ):
        with pytest.raises(UsageError, match=said):
            experiment({"network": f"{__name__}.{text}"})


def test_a_field_that_no_experiment_can_hold_is_named() -> None:
    def listed(inputs: tuple[int, ...], outputs: int, widths: list[int] = [3]) -> nn.Module:  # noqa: B006
        return nn.Linear(3, outputs)

    with pytest.raises(UsageError, match=r"listed: mutable default <class 'list'> for field widths is not allowed"):
        adapted(listed)


def recurrent(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    return nn.Sequential(nn.LSTM(inputs[0], 4), nn.Linear(4, outputs))


def layered(*layers: nn.Module) -> Callable[[tuple[int, ...], int], nn.Module]:
    return lambda inputs, outputs: nn.Sequential(nn.Linear(3, 4), *layers, nn.Linear(4, outputs))


class Odd(nn.Module):
    """A layer, with a test's own forward."""

    def __init__(self, of: Callable[["Odd", Tensor], Any], outputs: int) -> None:
        super().__init__()
        self.of, self.hidden, self.head = of, nn.Linear(3, 4), nn.Linear(4, outputs)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        return self.of(self, F.relu(self.hidden(x)))


def odd(of: Callable[[Odd, Tensor], Any]) -> Callable[[tuple[int, ...], int], nn.Module]:
    return lambda inputs, outputs: Odd(of, outputs)


def tied(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(3, outputs))


def frozen(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4).requires_grad_(False), nn.ReLU(), nn.Linear(4, outputs))


def unseeded(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    made = nn.Linear(3, outputs)
    made.bias.data += random.random()
    return made


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (recurrent, r"0 \(LSTM\) is recurrent"),
        (layered(nn.BatchNorm1d(4), nn.ReLU()), r"1 \(BatchNorm1d\) has running statistics.*take LayerNorm or GroupNorm"),
        (layered(nn.ReLU(), nn.Dropout(0.1)), r"2 \(Dropout\) draws random numbers in the forward pass"),
        (odd(lambda self, x: self.head(F.dropout(x, 0.5, training=True))), "dropout draws random numbers"),
        (odd(lambda self, x: self.head(x + torch.randn(2, 4))), "randn draws random numbers"),
        (layered(nn.Softmax(-1)), "softmax.* is not supported$"),
        (layered(), "0 is read by 1 without an activation in between$"),
        (layered(nn.ReLU(), nn.LazyLinear(4), nn.ReLU()), "2.weight has no shape"),
        (layered(nn.ReLU(), nn.Linear(5, 4)), r"fails for inputs of shape \(2, 3\): RuntimeError"),
        (lambda inputs, outputs: nn.Linear(inputs[1], outputs), r"cannot be built for inputs of shape \(3,\): IndexError: tuple index out"),
        (tied, "several layers share"),
        (frozen, "0.weight must be a float32 parameter that is trained"),
        (lambda inputs, outputs: nn.Linear(3, outputs).double(), "weight must be a float32 parameter"),
        (unseeded, "bias differs between two modules of one seed"),
        (odd(lambda self, x: (self.head(x), x)), r"a tensor of shape \(2, 2\), not tuple"),
        (odd(lambda self, x: self.head(x)[:, :1]), r"a tensor of shape \(2, 2\), not \(2, 1\)"),
        (odd(lambda self, x: self.head(x) if x.sum() > 0 else self.head(-x)), r"side by side \(torch.func.vmap\)"),
        (odd(lambda self, x: (self.get_buffer("count").add_(1), self.head(x))[1]), "buffers change in the forward pass"),
        (odd(lambda self, x: x[:, :2]), "head.weight is not used in the forward pass: remove it$"),
        (lambda inputs, outputs: 3, "must make an nn.Module, not 3"),
    ],
)
def test_what_cannot_be_a_network_is_said_in_one_line(factory: Any, said: str) -> None:
    @dataclass(frozen=True)
    class Given(ModuleSpec):
        def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
            return factory(inputs, outputs)

    with pytest.raises(UsageError, match=said) as error:
        ModuleNetwork(Given(), (3,), 2)
    assert "\n" not in str(error.value) and "attach" not in str(error.value)


@pytest.mark.parametrize(("fields", "said"), [({"streams": True}, "dueling"), ({"noise": 0.5}, "noisy"), ({"cosines": 8}, "quantile")])
def test_heads_that_the_module_would_have_to_build_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"sequential builds its last layers itself.*{said}"):
        ModuleNetwork(spec(sequential), (3,), HeadSpec((("value", 1), ("advantage", 2)), **fields))


def ignoring(inputs: tuple[int, ...], outputs: int, norm: str = "none") -> nn.Module:
    return sequential(inputs, outputs)


def test_a_build_is_handed_on_and_looked_after() -> None:
    network, _ = assemble(spec(Plain), Adam(), (LayerNorm(),), (3,), 2)
    assert network.layers[0].scale == "hidden0.scale" and network.layers[0].bias is None
    with pytest.raises(UsageError, match=r"LayerNorm builds norm=layer, and 1 of .*ignoring has None"):
        assemble(spec(ignoring), Adam(), (LayerNorm(),), (3,), 2)
    with pytest.raises(UsageError, match="LayerNorm sets norm, and sequential has no such field"):
        assemble(spec(sequential), Adam(), (LayerNorm(),), (3,), 2)


def test_a_chain_for_each_of_several_modules() -> None:
    heads = HeadSpec((("policy", 2), ("value", 1)), separate=True)
    network, _ = assemble(spec(Plain), Adam(), (LayerNorm(only="policy"), Churn(only="value")), (3,), heads)
    common = ModuleNetwork(spec(Plain), (3,), heads)
    assert network.parts == ("policy", "value") and network.own == {"policy": spec(Plain, norm="layer")}
    assert {layer.name: layer.scale is not None for layer in network.layers if not layer.head} == {
        f"{part}.hidden{i}": part == "policy" for part in network.parts for i in (0, 1)
    }
    params, before, x = network.init(generator()), common.init(generator()), torch.randn(4, 3)
    assert all(torch.equal(params[name], before[name]) for name in before if name.startswith("value."))
    outputs, features = network.apply(params, x)
    for part, columns in (("policy", slice(0, 2)), ("value", slice(2, 3))):
        own, units = network.limited(params, x, None, False, (part,))
        assert torch.equal(own, outputs[:, columns]) and units.keys() == {f"{part}.hidden0", f"{part}.hidden1"}
        assert all(torch.equal(units[name], features[name]) for name in units)
    with pytest.raises(UsageError, match=r"policy.LayerNorm builds norm=layer, and policy.1 of .*ignoring has None"):
        assemble(spec(ignoring), Adam(), (LayerNorm(only="policy"),), (3,), heads)


def test_threads_are_chosen_as_for_the_projects_networks() -> None:
    dense, convolving = (adapted(made) for made in (Plain, Convolving))
    assert dense and convolving
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert [dense().shares_well(members, (8, 8)) for members in (1, 5, 16)] == [MLP().shares_well(members) for members in (1, 5, 16)]
    assert convolving().shares_well(1, (3, 8, 8)) and torch.equal(torch.get_rng_state(), before)


# Critics beside an actor


def of_mlp(name: str) -> str:
    """The name in the project's network, whose heads are named as their networks."""
    return name.replace(".head", "")


@pytest.mark.parametrize("only", [(), ("actor",), ("critic0", "critic1")])
def test_modules_of_critics_read_the_action(only: tuple[str, ...]) -> None:
    critics = ("critic0", "critic1")
    constants = (("temperature", 1, -0.5),)
    heads = HeadSpec((("actor", 4), *((name, 1) for name in critics)), separate=True, actions=2, critics=critics, constants=constants)
    theirs, ours = ModuleNetwork(spec(Plain), (5,), heads), Network(MLP(width=12, depth=2), (5,), heads)
    params = theirs.init(generator())
    renamed = {of_mlp(name): param for name, param in params.items()}
    assert params["temperature"].tolist() == [-0.5] and theirs.inputs == ours.inputs == (7,)
    assert {name: tuple(param.shape) for name, param in renamed.items()} == ours.shapes
    x = torch.randn(3, 7, generator=generator(1))
    outputs, features = theirs.apply(params, x, only=only)
    expected, units = ours.apply(renamed, x, only=only)
    torch.testing.assert_close(outputs, expected)
    assert only or features.keys() == units.keys()
    for name, found in features.items():
        torch.testing.assert_close(found, units[name])


@pytest.mark.long
def test_sac_learns_with_modules_as_with_the_same_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_allowed", [__name__])

    def init(self: ModuleNetwork, draw: torch.Generator) -> Params:
        made = Network(MLP(width=12, depth=2), self._observed, self.heads).init(draw)
        return {name: made[of_mlp(name)] for name in self.shapes}

    monkeypatch.setattr(ModuleNetwork, "init", init)
    words = PENDULUM | {"benchmark": "envpool:ids=Pendulum-v1,frames=120", "chain": ["redo:every=7"], "members": 1}
    ours, theirs = (rows(words | {"network": network}) for network in ("mlp:width=12,depth=2", f"{__name__}.Plain"))
    torch.testing.assert_close([each.score for each in ours[0]], [each.score for each in theirs[0]], rtol=1e-5, atol=1e-4)
    values = [{(of_mlp(each.name), each.updates): each.value for each in metrics} for _, metrics in (ours, theirs)]
    assert len(values[0]) > 100
    torch.testing.assert_close(*values, rtol=1e-3, atol=1e-4)
