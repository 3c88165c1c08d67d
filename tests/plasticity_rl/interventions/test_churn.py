"""Penalties on output changes: Churn and BornAgain, beside plain training of one network."""

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import BornAgain, Churn, assemble
from plasticity_rl.optim.optimizers import SGD, Adam
from tests.learners import RATE, SPECS, assert_same, batches, built, copies, generator, learn, loss, random_net, seen

pytestmark = pytest.mark.usefixtures("double")


def step(network, params, batch, extra):
    """One step of gradient descent on the loss plus an extra term."""
    leaves = {name: param.clone().requires_grad_() for name, param in params.items()}
    total = loss(network, leaves, batch)[0] + extra(leaves)
    grads = torch.autograd.grad(total, list(leaves.values()))
    return {name: param - RATE * grad for (name, param), grad in zip(params.items(), grads, strict=True)}


@pytest.mark.parametrize("lag", [1, 2, 3])
@pytest.mark.parametrize("kind", ["mlp", "noisy"])
def test_churn_holds_the_outputs_near_those_of_the_network_some_updates_ago(kind, lag):
    learner = learn((Churn(strength=4.0, lag=lag),), kind, 1, optimizer=SGD())
    network = learner.network
    past = [{name: param.clone() for name, param in learner.one(0).items()}]
    costs = []
    for batch in batches(kind, 1, 6):
        learner.update(RATE, batch)
        mine = {name: tensor[0] for name, tensor in batch.items()}
        task, old = mine.get("task"), past[max(len(past) - 1 - lag, 0)]

        def held(leaves, mine=mine, task=task, old=old):
            return 4.0 * F.mse_loss(*(network.apply(each, mine["inputs"], task=task)[0] for each in (leaves, old)))

        costs.append(held(past[-1]).item())
        past.append(step(network, past[-1], mine, held))
        torch.testing.assert_close(learner.one(0), past[-1], rtol=1e-9, atol=1e-12)
    assert costs[0] == 0 < min(costs[1:])  # at birth there is no past
    for name, kept in learner.states[0].items():
        expected = [past[max(6 - back, 0)][name] for back in range(lag + 1)]
        torch.testing.assert_close(kept[0], torch.stack(expected), rtol=1e-9, atol=1e-12)


def kl_by_hand(students, teachers, temperature):
    """Mean over examples of KL(teacher || student), element by element."""
    total = 0.0
    for student, teacher in zip(students.tolist(), teachers.tolist(), strict=True):
        p, q = (torch.tensor(row).div(temperature).exp() for row in (teacher, student))
        p, q = (p / p.sum()).tolist(), (q / q.sum()).tolist()
        total += sum(a * (torch.tensor(a / b).log().item()) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(students)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_kl_is_the_divergence_of_the_student_from_the_teacher(temperature):
    method, network = BornAgain(strength=0.3, temperature=temperature), built("mlp")
    teacher, student = ({name: 5 * param for name, param in random_net(network, seed).params.items()} for seed in (0, 9))
    state = method.init(teacher, network.layers, generator()) | {"has_teacher": torch.ones(())}
    around = seen(network)
    penalty = method.penalty(student, state, network.layers, around)
    expected = 0.3 * kl_by_hand(around.apply(student)[0], around.apply(teacher)[0], temperature)
    assert penalty.item() == pytest.approx(expected, rel=1e-8) and expected > 1e-3
    wrong = 0.3 * kl_by_hand(around.apply(teacher)[0], around.apply(student)[0], temperature)
    assert wrong != pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("kind", list(SPECS))
def test_mse_is_the_mean_squared_difference(kind):
    method, network = BornAgain(strength=0.3, loss="mse"), built(kind)
    teacher, student = (random_net(network, seed).params for seed in (0, 9))
    state = method.init(teacher, network.layers, generator()) | {"has_teacher": torch.ones(())}
    around = seen(network)
    pairs = zip(*(around.apply(each)[0].flatten().tolist() for each in (student, teacher)), strict=True)
    squares = [(a - b) ** 2 for a, b in pairs]
    assert method.penalty(student, state, network.layers, around).item() == pytest.approx(0.3 * sum(squares) / len(squares), rel=1e-9)


def test_a_born_again_network_is_new_and_taught_by_the_old_one():
    learner = learn((BornAgain(strength=2.0),), "mlp", 2, optimizer=SGD(momentum=0.9))
    plain = learn((), "mlp", 2, optimizer=SGD(momentum=0.9))
    first, second, third = batches("mlp", 2, 3)
    for each in (learner, plain):  # a zero without a teacher
        each.update(RATE, first)
        each.update(RATE, second)
    assert_same({name: tensor for name, tensor in copies(learner).items() if not name.startswith("states/")}, copies(plain))
    teachers = [{name: param.clone() for name, param in learner.one(m).items()} for m in range(2)]
    learner.task_boundary()
    assert_same(learner.net.params, learner.fresh("BornAgain", 0, "task", 1))
    assert not any(optimizer_state.any() for optimizer_state in learner.net.slots["velocity"].values())
    students = [{name: param.clone() for name, param in learner.one(m).items()} for m in range(2)]
    learner.update(RATE, third)
    for m in range(2):
        mine = {name: tensor[m] for name, tensor in third.items()}
        targets = learner.network.apply(teachers[m], mine["inputs"])[0].softmax(-1)

        def taught(leaves, mine=mine, targets=targets):  # but for the teacher's entropy, which no gradient sees
            return 2.0 * F.cross_entropy(learner.network.apply(leaves, mine["inputs"])[0], targets)

        torch.testing.assert_close(learner.one(m), step(learner.network, students[m], mine, taught), rtol=1e-9, atol=1e-12)
        kept = {name: tensor[m] for name, tensor in learner.states[0].items() if name != "has_teacher"}
        assert_same(kept, teachers[m])
    assert learner.states[0]["has_teacher"].tolist() == [1.0, 1.0]
    learner.task_boundary()
    for m in range(2):
        kept = {name: tensor[m] for name, tensor in learner.states[0].items() if name != "has_teacher"}
        assert any(not torch.equal(kept[name], teachers[m][name]) for name in kept)  # the student has become the teacher


def test_logits_of_several_heads_are_refused():
    spec, inputs, ends = SPECS["noisy"]
    with pytest.raises(UsageError) as raised:
        assemble(spec, Adam(), (BornAgain(),), inputs, ends)
    assert str(raised.value) == "BornAgain: loss=kl reads all outputs as one head's logits, and the network has value, advantage; take mse"
    assemble(spec, Adam(), (BornAgain(loss="mse"),), inputs, ends)


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (Churn, {"strength": 0.0}, "strength must lie in (0, inf), not 0.0"),
        (Churn, {"lag": 0}, "lag must lie in [1, 100], not 0"),
        (Churn, {"lag": 1.0}, "lag must be a whole number, not 1.0"),
        (BornAgain, {"strength": 0.0}, "strength must lie in (0, inf), not 0.0"),
        (BornAgain, {"temperature": 0.0}, "temperature must lie in (0, inf), not 0.0"),
        (BornAgain, {"loss": "ml"}, "loss cannot be 'ml'; one of: kl, mse"),
        (BornAgain, {"every": 0}, "every must lie in [1, inf), not 0"),
        (BornAgain, {"clock": "update"}, "clock=update needs every, the number of updates between two refreshes"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(method, fields, message):
    with pytest.raises(UsageError) as raised:
        method(**fields)
    assert str(raised.value) == f"{method.__name__}: {message}"
