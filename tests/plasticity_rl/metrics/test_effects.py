"""Evidence that a chain acted: effects of penalties, steps, projections and refreshes, by hand and by a second reading."""

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.interventions import L2, NormalizeAndProject, ReDo, Reset, SoftReset, WeightClipping
from plasticity_rl.metrics import effects
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from tests.learners import BATCH, OUTPUTS, generator, learn

BEFORE = {"hidden0.weight": torch.tensor([[3.0, 0.0], [0.0, 4.0]]), "head.weight": torch.tensor([[12.0, 0.0]])}
AFTER = BEFORE | {"hidden0.weight": torch.tensor([[3.0, 0.0], [0.0, 0.0]])}
"""Lengths: 13 before, sqrt(153) after, 4 between; of changes, 5 before and 3 after"""


def batch(members: int) -> dict[str, torch.Tensor]:
    inputs = torch.randn(members, BATCH, 5, generator=generator(3))
    return {"inputs": inputs, "labels": torch.arange(members * BATCH).view(members, BATCH) % OUTPUTS}


def test_changes_and_factors_by_hand() -> None:
    assert effects.change(BEFORE, AFTER).item() == pytest.approx(4 / 13)
    assert effects.factor(BEFORE, AFTER).item() == pytest.approx(3 / 5)
    assert (effects.change(BEFORE, BEFORE).item(), effects.factor(BEFORE, BEFORE).item()) == (0.0, 1.0)
    zeros = {name: torch.zeros_like(param) for name, param in BEFORE.items()}
    assert (effects.change(zeros, AFTER).item(), effects.factor(zeros, AFTER).item()) == (0.0, 1.0)


@pytest.mark.parametrize(("penalty", "loss", "expected"), [(1.0, 4.0, 0.25), (1.0, -4.0, 0.25), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0)])
def test_penalty_over_loss_by_hand(penalty: float, loss: float, expected: float) -> None:
    assert effects.penalty_over_loss(torch.tensor(penalty), torch.tensor(loss)).item() == expected


def test_refreshed_weights_and_units_by_hand() -> None:
    layers = Network(MLP(width=2, depth=1), (2,), 1).layers
    after = {"hidden0.weight": torch.tensor([[1.0, 1.0], [0.0, 5.0]]), "head.weight": torch.tensor([[1.0, 1.0]])}
    # Both of the first unit's weights are new, one of the second's, and the head's two, which has no units.
    assert {name: count.item() for name, count in effects.refreshed(BEFORE, after, layers).items()} == {
        "weights_refreshed": 5.0,
        "units_recycled": 1.0,
    }


def test_a_learner_adds_up_what_its_refreshes_did() -> None:
    chain = (ReDo(tau=0.9, every=2), Reset(clock="update", every=3, part="heads"), Reset(clock="task", part="hidden"))
    learner = learn(chain, "mlp", 2)
    assert list(learner.refresh_counts) == [
        f"{kind}/{name}" for name in ("ReDo", "Reset", "Reset-2") for kind in ("weights_refreshed", "units_recycled")
    ]
    assert all(count.tolist() == [0, 0] for count in learner.refresh_counts.values())
    learner.task_boundary()
    for _ in range(6):
        learner.update(1e-2, batch(2))
    counts = {name: count.tolist() for name, count in learner.refresh_counts.items()}
    hidden, head = 5 * 8 + 8 * 8 + 8 * 8 + 3 * 8, 8 * 3 + 3
    assert counts["weights_refreshed/Reset-2"] == [hidden, hidden] and counts["units_recycled/Reset-2"] == [24, 24]
    assert counts["weights_refreshed/Reset"] == [2 * head, 2 * head] and counts["units_recycled/Reset"] == [0, 0]
    assert all(0 < units < 3 * 24 for units in counts["units_recycled/ReDo"])


def test_units_that_redo_recycled_are_those_that_were_dormant() -> None:
    learner, given = learn((ReDo(tau=0.5, every=1),), "mlp", 1), batch(1)
    twin = learn((), "mlp", 1)
    twin.update(1e-2, given)
    learner.update(1e-2, given)
    dormant = 0
    for units in twin.features(twin.net.params, given["inputs"]).values():
        response = units[0].abs().mean(0)
        dormant += int((response <= 0.5 * response.mean()).sum())
    assert learner.refresh_counts["units_recycled/ReDo"].tolist() == [dormant] and dormant > 0


def test_gradients_and_penalties_are_those_of_a_plain_backward_pass() -> None:
    learner, given = learn((L2(strength=0.5),), "mlp", 2), batch(2)
    expected = []
    for member in range(2):
        params = {name: param.clone().requires_grad_() for name, param in learner.one(member).items()}
        x = given["inputs"][member]
        for layer in ("hidden0", "hidden1", "hidden2"):
            x = F.relu(F.linear(x, params[f"{layer}.weight"], params[f"{layer}.bias"]))
        loss = F.cross_entropy(F.linear(x, params["head.weight"], params["head.bias"]), given["labels"][member])
        penalty = learner.chain[0].penalty(params, {}, learner.network.layers, None)  # type: ignore[arg-type]
        (loss + penalty).backward()
        gradient = torch.cat([params["hidden1.weight"].grad.flatten(), params["hidden1.bias"].grad])  # type: ignore[union-attr]
        found = {"gradient_l0": (gradient != 0).float().mean(), "gradient_l1": gradient.abs().sum(), "gradient_l2": gradient.norm()}
        sizes = {f"{name}/hidden1": value.item() for name, value in found.items()}
        expected.append(sizes | {"penalty_over_loss/L2": (penalty / loss).item()})
    reported = learner.update(1e-2, given, measure=True)
    for member in range(2):
        assert {name: reported[name][member].item() for name in expected[member]} == pytest.approx(expected[member], rel=1e-4)


def test_projections_and_steps_of_methods_that_act_and_of_one_that_does_not() -> None:
    given = batch(1)
    found = learn((WeightClipping(kappa=1e6),), "mlp", 1).update(1e-2, given, measure=True)
    assert (found["projection_change/WeightClipping"].item(), found["projection_factor/WeightClipping"].item()) == (0.0, 1.0)
    found = learn((WeightClipping(kappa=1e-3),), "mlp", 1).update(1e-2, given, measure=True)
    assert found["projection_factor/WeightClipping"].item() < 0.1 and found["projection_change/WeightClipping"].item() > 0.5
    free, held = learn((), "mlp", 1, norm="layer"), learn((NormalizeAndProject(),), "mlp", 1)
    free.update(1e-2, given)
    found = held.update(1e-2, given, measure=True)
    before, after = ({name: param for name, param in each.one(0).items() if not name.startswith("head")} for each in (free, held))
    lengths = [sum(param.square().sum().item() for param in net.values()) ** 0.5 for net in (before, after)]
    assert found["projection_factor/NormalizeAndProject"].item() == pytest.approx(lengths[1] / lengths[0], rel=1e-5)
    moved = learn((SoftReset(gamma=0.9),), "mlp", 1).update(1e-2, given, measure=True)
    assert moved["step_change/SoftReset"].item() > 0
