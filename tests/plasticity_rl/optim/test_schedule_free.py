"""Schedule-free AdamW beside its three sequences, written out."""

from functools import partial

import pytest
import torch
from torch import Tensor

from plasticity_rl.interventions import L2, ReDo
from plasticity_rl.optim.optimizers import Net
from plasticity_rl.optim.schedule_free import ScheduleFree
from plasticity_rl.training.lift import lift
from plasticity_rl.training.update import update
from tests.learners import batches, learn, loss

pytestmark = pytest.mark.usefixtures("double")
RATES = [0.02 * min(1.0, (update + 1) / 4) * (1.0 if update < 8 else 0.3) for update in range(12)]


class Sequences:
    """x, y and z of the paper's Algorithm 1 with Adam's divisor, each kept as it is, for one tensor."""

    def __init__(self, start: Tensor, beta1: float, beta2: float, decay: float) -> None:
        self.x, self.z, self.square, self.weights = start, start, torch.zeros_like(start), list[float]()
        self.beta1, self.beta2, self.decay, self.rates = beta1, beta2, decay, list[float]()

    @property
    def y(self) -> Tensor:
        return (1 - self.beta1) * self.z + self.beta1 * self.x

    def step(self, gradient: Tensor, rate: float) -> None:
        y = self.y
        self.rates.append(rate)
        self.weights.append(max(self.rates) ** 2)
        self.square = self.beta2 * self.square + (1 - self.beta2) * gradient**2
        divisor = (self.square / (1 - self.beta2 ** len(self.rates))).sqrt() + 1e-8
        self.z = self.z - rate * (gradient / divisor + self.decay * y)
        share = self.weights[-1] / sum(self.weights)
        self.x = (1 - share) * self.x + share * self.z


def test_three_sequences_at_rates_that_rise_and_fall() -> None:
    ours = ScheduleFree(beta1=0.8, beta2=0.9, weight_decay=0.1, decayed="all")
    start = torch.tensor([1.0, -2.0, 0.5])
    net, theirs = Net({"w": start}, ours.init({"w": start})), Sequences(start, 0.8, 0.9, 0.1)
    for rate in RATES:
        torch.testing.assert_close(ours.gradient_at(net)["w"], theirs.y, rtol=1e-12, atol=0)
        gradient = 4 * theirs.y**3 - 1  # of w^4 - w
        theirs.step(gradient, rate)
        net = ours.update(net, {"w": gradient}, torch.tensor(rate), ())
        torch.testing.assert_close(net.params["w"], theirs.x, rtol=1e-12, atol=0)
        torch.testing.assert_close(net.params["w"] + net.slots["ahead"]["w"], theirs.z, rtol=1e-12, atol=0)


@pytest.mark.parametrize("members", [1, 3])
def test_a_learner_takes_gradients_at_y_and_its_parameters_are_x(members: int) -> None:
    learner = learn((L2(strength=0.1),), "mlp", members, optimizer=ScheduleFree(beta1=0.5))
    weights = {layer.weight for layer in learner.network.layers}
    each = [{name: Sequences(param.clone(), 0.5, 0.999, 0.0) for name, param in learner.one(m).items()} for m in range(members)]
    for rate, batch in zip(RATES, batches("mlp", members, len(RATES)), strict=True):
        learner.update(rate, batch)
        for m, sequences in enumerate(each):
            at = {name: sequence.y.requires_grad_() for name, sequence in sequences.items()}
            value = loss(learner.network, at, {name: tensor[m] for name, tensor in batch.items()})[0]
            value = value + 0.1 * sum(at[name].square().sum() for name in weights)
            for name, gradient in zip(at, torch.autograd.grad(value, list(at.values())), strict=True):
                with torch.no_grad():
                    sequences[name].step(gradient, rate)
            expected = {name: sequence.x.detach() for name, sequence in sequences.items()}
            torch.testing.assert_close(learner.one(m), expected, rtol=1e-7, atol=1e-9)
            torch.testing.assert_close({name: learner.acting[name][m] for name in expected}, learner.one(m), rtol=0, atol=0)


def test_the_average_of_a_new_weight_starts_at_its_value() -> None:
    """A recycled unit's weights take one step of one learning rate; those of 100 updates' age take a hundredth of theirs into x."""
    optimizer, start = ScheduleFree(), torch.zeros(2)
    net = Net({"w": start}, optimizer.init({"w": start}))
    for _ in range(99):
        net = optimizer.update(net, {"w": torch.ones(2)}, torch.tensor(0.01), ())
    # z falls by 0.01 an update, and x is the mean of all z so far
    assert net.params["w"].tolist() == pytest.approx([-0.5, -0.5], rel=1e-6)
    forgotten = {slot: {"w": state["w"] * torch.tensor([0.0, 1.0])} for slot, state in net.slots.items()}
    net = optimizer.update(Net({"w": torch.tensor([7.0, -0.5])}, forgotten), {"w": torch.ones(2)}, torch.tensor(0.01), ())
    assert net.params["w"].tolist() == pytest.approx([7.0 - 0.01, -0.505], rel=1e-6)


def test_a_rate_of_zero_leaves_the_average_undefined_and_the_weight_where_it_is() -> None:
    optimizer, start = ScheduleFree(), {"w": torch.ones(2)}
    net = optimizer.update(Net(start, optimizer.init(start)), {"w": torch.ones(2)}, torch.tensor(0.0), ())
    assert torch.equal(net.params["w"], start["w"]) and not net.slots["total"]["w"].any()


def test_rounded_weights_are_those_at_which_the_gradient_is_taken() -> None:
    torch.set_default_dtype(torch.float32)
    learner = learn((), "mlp", 2, optimizer=ScheduleFree(), precision="bfloat16")
    assert learner.low_precision
    at_x = []
    for batch in batches("mlp", 2, 3):
        x, y = learner.net.params, learner.optimizer.gradient_at(learner.net)
        rounded = [each | learner.network.low_precision(each) for each in (x, y)]
        values = [lift(lambda params, given: loss(learner.network, params, given)[0])(each, batch) for each in rounded]
        found = learner.update(0.1, batch)["loss"]
        torch.testing.assert_close(found, values[1], rtol=1e-6, atol=0)
        at_x.append(torch.allclose(found, values[0], rtol=1e-4))
    assert at_x == [True, True, False]  # after one update, x is z


def test_an_update_is_one_graph() -> None:
    learner = learn((ReDo(every=2), L2()), "mlp", 2, optimizer=ScheduleFree())
    (batch,) = batches("mlp", 2, 1)
    given = (learner.net, learner.states, learner.low_precision, learner._hyper, {}, batch)
    eager = lift(partial(update, learner._rule))
    torch.compiler.reset()
    graph = torch.compile(eager, fullgraph=True, dynamic=False, backend="eager")
    torch.testing.assert_close(graph(*given)[0].params, eager(*given)[0].params, rtol=1e-12, atol=1e-12)
