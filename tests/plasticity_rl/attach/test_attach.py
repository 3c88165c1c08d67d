"""Interventions on a plain nn.Module with torch.optim, compared with the library's networks."""

import copy
import dataclasses
import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from plasticity_rl.attach.plan import Plan, attach
from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import word
from plasticity_rl.interventions import (
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
from plasticity_rl.optim import optimizers
from plasticity_rl.training.learner import Learner
from tests.learners import MEMBERS, SPECS, batches, due, generator
from tests.modules import Torso

pytestmark = pytest.mark.usefixtures("double")

RATE = 0.02
STAGES = {"mlp": [("dense", 8)] * 3, "small": [("conv", 6, 3, 2), ("dense", 8)], "residual": [("block", 4), ("block", 6), ("dense", 8)]}
SPEC = {"mlp": SPECS["mlp"], "small": (SPECS["noisy"][0], SPECS["noisy"][1], 3), "residual": SPECS["residual"]}
OPTIMIZERS = {
    "sgd": (lambda p: torch.optim.SGD(p, RATE, momentum=0.9), optimizers.SGD(momentum=0.9)),
    "adam": (lambda p: torch.optim.Adam(p, RATE), optimizers.Adam()),
    "adamw": (lambda p: torch.optim.AdamW(p, RATE, weight_decay=0.3), optimizers.Adam(weight_decay=0.3, decayed="all")),
}


@dataclasses.dataclass(frozen=True)
class Drift(Intervention):
    """Reads all inputs of `after_step`: gradients, noise, units before and after the activation, outputs, slots."""

    noisy = True

    def init(self, params, layers, generator):
        return {"sum": torch.zeros(())}

    def penalty(self, params, state, layers, seen):
        outputs, features = seen.apply(params)
        return 0.1 * outputs.square().mean() + 0.1 * torch.stack([units.square().mean() for units in features.values()]).sum()

    def after_step(self, net, state, grads, layers, seen):
        outputs, raw = seen.apply(net.params, raw=True)
        scale = outputs.abs().mean() + torch.stack([units.abs().mean() for units in raw.values()]).sum()
        moved = {name: param + 1e-3 * scale * seen.noise[name] - 0.1 * grads[name] for name, param in net.params.items()}
        return net._replace(params=moved), {"sum": state["sum"] + scale}


CHAINS = {
    "redo": (ReDo(tau=0.5, every=2),),
    "l2-init, shrink": (L2Init(strength=0.1), ShrinkAndPerturb(clock="update", every=3)),
    "nap, redo": (NormalizeAndProject(), ReDo(tau=0.7, every=3)),
    "nap at tasks": (NormalizeAndProject(scale_and_offset="toward_init", pull=0.1), Reset(part="heads"), ReDo(tau=0.6, clock="task")),
    "drift": (Drift(), ReDo(tau=0.5, every=3)),
}


class Plain(Torso):
    def forward(self, x):
        return super().forward(x)[0]


class Pair:
    """One network as a Learner's and as a module, with the same chain and fresh weights."""

    def __init__(self, kind: str, chain: tuple[Intervention, ...], optimizer: str, seed: int = 3, **how) -> None:
        theirs, ours = OPTIMIZERS[optimizer]
        spec, inputs, ends = SPEC[kind]
        self.network, ours = assemble(spec, ours, chain, inputs, ends)

        def loss(params, batch):
            return F.cross_entropy(self.network.apply(params, batch["inputs"])[0], batch["labels"]), {}

        self.learner = Learner(self.network, loss, ours, chain, 1, seed, compile=False)
        self.module = Plain(STAGES[kind], inputs, ends, self.network.spec.norm, "relu")
        self.names = dict(zip(self.learner.net.params, dict(self.module.named_parameters()), strict=True))
        self.module.load_state_dict({self.names[name]: param.clone() for name, param in self.learner.one(0).items()})
        self.optimizer = theirs(self.module.parameters())
        self.plan = attach(self.module, self.optimizer, chain, torch.randn(2, *inputs, generator=generator(4)), seed, **how)
        self.learner.fresh = lambda *purpose: self.ours(self.plan.fresh(*purpose))
        self.kind = "noisy" if kind == "small" else kind

    def ours(self, theirs):
        return {name: theirs[other][None] for name, other in self.names.items()}

    def update(self, batch) -> tuple[Refresh, ...]:
        self.learner.update(RATE, batch)
        return step(self.module, self.optimizer, self.plan, batch)

    def assert_same(self) -> None:
        for name, other in self.names.items():
            mine, expected = self.module.get_parameter(other), self.learner.net.params[name][0]
            torch.testing.assert_close(mine.detach(), expected, rtol=1e-8, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}")
        for mine, expected in zip(self.plan.states, self.learner.states, strict=True):
            for one, other in zip(mine.values(), expected.values(), strict=True):  # in the order of the layers
                torch.testing.assert_close(one, other[0], rtol=1e-8, atol=1e-10)


def step(module: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan, batch) -> tuple[Refresh, ...]:
    optimizer.zero_grad()
    (F.cross_entropy(module(batch["inputs"][0]), batch["labels"][0]) + plan.penalty()).backward()
    optimizer.step()
    return plan.after_step()


def mlp(norm: bool = False, width: int = 6) -> nn.Sequential:
    def hidden(reads: int) -> list[nn.Module]:
        return [nn.Linear(reads, width), *([nn.LayerNorm(width)] if norm else []), nn.ReLU()]

    torch.manual_seed(0)
    return nn.Sequential(*hidden(5), *hidden(width), nn.Linear(width, 3))


def adam(module: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), RATE)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("kind", STAGES)
def test_a_chain_does_to_a_module_what_it_does_to_our_network(kind, chain, optimizer):
    pair = Pair(kind, CHAINS[chain], optimizer)
    start = {name: param.detach().clone() for name, param in pair.module.named_parameters()}
    places = {name: param.data_ptr() for name, param in pair.module.named_parameters()}
    came = 0
    for number, batch in enumerate(batches(pair.kind, 1, 8)):
        came += len(pair.update(batch))
        if number == 4:
            came += len(pair.plan.task_boundary())
            pair.learner.task_boundary()
        pair.assert_same()
    assert came and all(not torch.equal(start[name], param) for name, param in pair.module.named_parameters())
    assert places == {name: param.data_ptr() for name, param in pair.module.named_parameters()}
    assert [id(param) for group in pair.optimizer.param_groups for param in group["params"]] == [*map(id, pair.module.parameters())]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_plan_goes_on_from_its_state(optimizer):
    chain, data = (L2Init(strength=0.1), NormalizeAndProject(), ReDo(tau=0.7, every=3)), batches("mlp", 1, 10)

    def born() -> tuple:
        module = mlp(norm=True)
        optimiser = OPTIMIZERS[optimizer][0](module.parameters())
        return module, optimiser, attach(module, optimiser, chain, torch.randn(2, 5))

    module, optimiser, plan = born()
    for batch in data[:4]:
        step(module, optimiser, plan, batch)
    saved = copy.deepcopy((module.state_dict(), optimiser.state_dict(), plan.state_dict()))
    assert all(isinstance(tensor, torch.Tensor) for tensor in saved[2].values())
    other, optimiser2, plan2 = born()
    for part, state in zip((other, optimiser2, plan2), saved, strict=True):
        part.load_state_dict(state)
    for batch in data[4:]:
        assert step(module, optimiser, plan, batch) == step(other, optimiser2, plan2, batch)
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(KeyError):
        plan.load_state_dict({name: tensor for name, tensor in saved[2].items() if "states/1" not in name})
    with pytest.raises(RuntimeError, match="has the shape"):
        plan.load_state_dict(saved[2] | {"states/1/0.weight": torch.zeros(2)})


def test_hooked_to_the_optimizer_it_is_the_three_lines():
    chain, data = (L2Init(strength=0.2), NormalizeAndProject(), ReDo(tau=0.6, every=2)), batches("mlp", 1, 6)
    module, other = mlp(norm=True), mlp(norm=True)
    optimizer, optimizer2 = adam(module), adam(other)
    plan, hooked = attach(module, optimizer, chain, torch.randn(2, 5)), attach(other, optimizer2, chain, torch.randn(2, 5))
    hooked.hook()
    for batch in data:
        step(module, optimizer, plan, batch)
        optimizer2.zero_grad()
        F.cross_entropy(other(batch["inputs"][0]), batch["labels"][0]).backward()
        optimizer2.step()
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)
    hooked.detach()
    ticks = dict(hooked.ticks)
    optimizer2.step()
    assert hooked.ticks == ticks and not other._forward_pre_hooks


def test_the_batch_is_the_last_one_that_is_learned_from():
    module = mlp()
    plan = attach(module, adam(module), (ReDo(tau=0.5),), torch.randn(2, 5))
    assert plan.batch is None and plan.task_boundary() == ()
    learned = torch.randn(4, 5)
    module(learned)
    target = copy.deepcopy(module)
    target(torch.randn(4, 5))
    with torch.no_grad():
        module(torch.randn(4, 5))
    module.eval()
    module(torch.randn(4, 5))
    assert plan.batch is not None and torch.equal(plan.batch[0][0], learned)


def test_a_refresh_leaves_everybody_s_random_numbers_and_buffers_alone():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()
            self.register_buffer("passes", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.passes += 1
            return self.body(x)

    module = Counting()
    optimizer = adam(module)
    plan = attach(module, optimizer, (ReDo(tau=0.9, every=1), Drift()), torch.randn(2, 5))
    module(torch.randn(4, 5)).sum().backward()
    optimizer.step()
    state = torch.get_rng_state()
    assert plan.after_step()
    assert torch.equal(state, torch.get_rng_state()) and module.passes == 1
    again = plan.fresh("ReDo", 0, "update", 1)
    assert all(torch.equal(again[name], tensor) for name, tensor in plan.fresh("ReDo", 0, "update", 1).items())
    assert not torch.equal(again["body.0.weight"], plan.fresh("ReDo", 0, "update", 2)["body.0.weight"])


def test_fresh_weights_come_from_whoever_makes_the_module():
    def made() -> nn.Module:
        new = mlp()
        nn.init.orthogonal_(new[0].weight, 3.0)
        return new

    module = made()
    plan = attach(module, adam(module), (Reset(part="network"),), torch.randn(2, 5), fresh=made)
    expected = plan.fresh("Reset", 0, "task", 1)["0.weight"]
    assert plan.task_boundary()
    assert torch.equal(module[0].weight, expected)
    torch.testing.assert_close(module[0].weight.T @ module[0].weight, 9 * torch.eye(5))
    other = attach(module, adam(module), (Reset(),), torch.randn(2, 5), fresh=lambda: mlp(width=7))
    with pytest.raises(UsageError, match=r"0.weight is not of the shape \(6, 5\)"):
        other.task_boundary()


def test_what_cannot_be_done_to_a_finished_module_is_refused():
    plain, normed, x = mlp(), mlp(norm=True), torch.randn(2, 5)
    tied = mlp()
    tied[2].bias = tied[0].bias
    frozen = mlp()
    frozen[0].weight.requires_grad_(False)
    cases = [
        (plain, (LayerNorm(),), None, r"LayerNorm only builds \(norm\), but the module is built"),
        (plain, (WeightDecay(),), None, "WeightDecay sets weight_decay, decayed of the optimizer"),
        (plain, (ReDo(only="actor"),), None, "actor.ReDo is limited to one of an agent's networks"),
        (plain, (NormalizeAndProject(norm="given"),), None, "needs a norm before every activation, and layer '0' has none"),
        (plain, (NormalizeAndProject(),), None, "needs a norm before every activation, and layer '0' has none"),
        (normed, (NormalizeAndProject(norm="rms"),), None, "builds norm=rms, but 0 has layer"),
        (plain, (ReDo,), None, "a chain is a tuple of interventions"),
        (plain, (ReDo(),), adam(normed), "the optimizer does not hold 0.weight"),
        (
            plain,
            (ReDo(),),
            torch.optim.Adagrad(plain.parameters()),
            "ReDo needs an optimizer whose state is known: torch.optim's Adam, AdamW, RMSprop, SGD themselves, not Adagrad",
        ),
        (plain, (ReDo(),), torch.optim.SGD(plain.parameters(), momentum=0.9, dampening=0.5), "SGD with dampening"),
        (plain, (ReDo(),), type("Adam", (torch.optim.Adam,), {})(plain.parameters()), "not a subclass of Adam"),
        (tied, (ReDo(),), None, "0.bias and 2.bias are one parameter: untie them, or take methods that need parameters alone"),
        (frozen, (Reset(),), None, "0.weight is frozen, and a refresh would overwrite it"),
    ]
    for module, chain, optimizer, message in cases:
        with pytest.raises(UsageError, match=message):
            attach(module, optimizer or adam(module), chain, x)
    for chain, module in (((NormalizeAndProject(norm="given"),), normed), ((NormalizeAndProject(),), normed), ((L2Init(),), plain)):
        attach(module, torch.optim.Adagrad(module.parameters()), chain, x).after_step()  # no slots are touched: any optimizer works


@pytest.mark.parametrize("hooked", [False, True], ids=["called", "hooked"])
def test_no_method_moves_what_is_frozen(hooked):
    tried = set()
    for method in MEMBERS:
        module = mlp(norm=True)
        module[0].requires_grad_(False)
        try:
            plan = attach(module, optimizer := adam(module), (method,), torch.randn(2, 5))
        except UsageError:  # refreshes, and builders alone
            continue
        if hooked:
            plan.hook()
        before = {name: param.clone() for name, param in module.named_parameters()}
        for _ in range(3):
            optimizer.zero_grad()
            (module(torch.randn(4, 5)).square().mean() + (0 if hooked else plan.penalty())).backward()
            optimizer.step()
            if not hooked:
                plan.after_step()
        moved = {name for name, param in module.named_parameters() if not torch.equal(param, before[name])}
        assert moved and not any(name.startswith("0.") for name in moved), (method, moved)
        tried.add(type(method).__name__)
    assert tried >= {"L2", "L2Init", "LayerRates", "NoisyUpdates", "NormalizeAndProject", "SoftReset", "Spectral", "WeightClipping"}


def test_a_module_that_cannot_be_initialised_anew_is_refused_by_name():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.weight).relu()

    module = nn.Sequential(Own(), nn.Linear(4, 2))
    with pytest.raises(UsageError, match=r"0 has no reset_parameters\(\) to re-initialise it"):
        attach(module, adam(module), (ReDo(),), torch.randn(2, 5))
    plan = attach(module, adam(module), (L2Init(strength=0.5),), torch.randn(2, 5))
    with torch.no_grad():
        module[0].weight += 2
    torch.testing.assert_close(plan.penalty(), torch.tensor(0.5 * 4 * 20))


def test_a_method_is_called_at_the_right_moment():
    module = mlp()
    optimizer = adam(module)
    plan = attach(module, optimizer, (Drift(),), torch.randn(2, 5))
    with pytest.raises(UsageError, match="no batch has passed through the module"):
        plan.penalty()
    step(module, optimizer, plan, batches("mlp", 1, 1)[0])
    optimizer.zero_grad()
    with pytest.raises(UsageError, match="call it before they are set to zero"):
        plan.after_step()


@pytest.mark.parametrize("kind", ["mlp", "small"])
@pytest.mark.parametrize("each", MEMBERS, ids=word)
def test_every_method_is_attached_as_it_is_or_refused(each, kind):
    """Methods that build, except an existing norm, or set the optimizer are refused."""
    chain = (due(each, "update", 2),)
    if each.optimizer() or (each.build() and (type(each) not in (NormalizeAndProject,) or each.build() != {"norm": "layer"})):
        module = mlp()
        with pytest.raises(UsageError, match=type(each).__name__):
            attach(module, adam(module), chain, torch.randn(2, 5))
        return
    pair = Pair(kind, chain, "adam")
    for batch in batches(pair.kind, 1, 5):
        pair.update(batch)
        pair.assert_same()


def test_the_supervised_example_runs():
    example = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "attach_supervised.py"))
    torch.set_default_dtype(torch.float32)
    for chain in ((), example["CHAIN"]):
        accuracies = example["train"](chain, 2, 60)
        assert len(accuracies) == 2 and all(0.05 < accuracy < 0.6 for accuracy in accuracies)


def test_the_example_in_one_file_runs_and_its_advantages_are_the_sums():
    example = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "attach_ppo.py"))
    rewards, values, last = torch.rand(5, 2), torch.rand(5, 2), torch.rand(2)
    ends = torch.tensor([[0, 0], [1, 0], [0, 0], [0, 1], [0, 0]], dtype=rewards.dtype)
    found = example["advantages_of"](rewards, values, ends, last)
    for env in range(2):
        for start in range(5):
            total, weight = 0.0, 1.0
            for t in range(start, 5):
                following = 0.0 if ends[t, env] else (last[env] if t == 4 else values[t + 1, env])
                total += weight * (rewards[t, env] + 0.99 * following - values[t, env])
                weight *= 0.99 * 0.95
                if ends[t, env]:
                    break
            torch.testing.assert_close(found[start, env], torch.as_tensor(total))
    torch.set_default_dtype(torch.float32)
    for chain in ((), example["CHAIN"]):
        results = example["train"](2, 2, chain)
        assert len(results) == 2 and all(9 < score < 60 and 0 <= dormant <= 1 for score, dormant in results)
