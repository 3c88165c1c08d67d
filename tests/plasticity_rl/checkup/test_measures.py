"""Measurements of networks whose numbers can be computed by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from plasticity_rl.checkup.measures import WHOLE, Compared, measure, preactivation_bias
from plasticity_rl.checkup.network import examined
from plasticity_rl.networks.layers import Params


def network(activation: nn.Module) -> nn.Sequential:
    """Units x, -x and -1 before the activation, whose sum and its negative are the outputs."""
    made = nn.Sequential(nn.Linear(1, 3), activation, nn.Linear(3, 2))
    with torch.no_grad():
        made[0].weight.copy_(torch.tensor([[1.0], [-1.0], [0.0]]))
        made[0].bias.copy_(torch.tensor([0.0, 0.0, -1.0]))
        made[2].weight.copy_(torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]))
        made[2].bias.zero_()
    return made


INPUTS = torch.tensor([[-3.0], [-1.0], [1.0], [3.0]]).repeat(16, 1)


def measured(module: nn.Module, actions: tuple[int, ...] = ()) -> dict[str, dict[str, float]]:
    found = examined(module, (INPUTS,), None, 0)

    def loss(params: Params, part: slice) -> Tensor:
        return found.outputs(params, (INPUTS[part],)).mean(0).sum()

    return measure(found, found.params, (INPUTS,), [loss], actions)


def test_a_relu_network_by_hand() -> None:
    found = measured(network(nn.ReLU()))
    assert found["dead_fraction"] == {"0": pytest.approx(1 / 3)}  # the unit that is always -1
    assert found["dormant_fraction"] == {"0": pytest.approx(1 / 3)}
    assert found["preactivation_bias"] == {"0": pytest.approx(1 / 3)}  # means 0, 0 and -1; lengths sqrt(5), sqrt(5) and 1
    assert found["effective_rank"] == {"0": pytest.approx(2.0)}  # two orthogonal columns of one length
    assert found["weight_norm"] == {"0": pytest.approx(math.sqrt(2))} and found["head_norm"] == {"2": pytest.approx(math.sqrt(6))}
    assert found["gradient_l2"]["2"] == pytest.approx(math.sqrt(6))  # of each output: bias 1; weights 1, 1 and 0, the units' means
    assert found["gradient_l2"]["0"] == 0.0  # the two outputs cancel
    assert found["gradient_dormant_fraction"] == {"0": 1.0}  # a layer without any gradient
    assert found["readiness"][WHOLE] == 0.0  # the loss is 0
    assert found["saturated_fraction"] == {} and found["policy_entropy"] == {}
    assert found["output_scale"][WHOLE] == pytest.approx(1.0)  # |x| is 1 or 3


def test_a_tanh_saturates_and_does_not_die() -> None:
    found = measured(network(nn.Tanh()))
    assert found["dead_fraction"] == {}
    assert found["saturated_fraction"] == {"0": pytest.approx(4 / 12)}  # tanh(3) is 0.995, tanh(1) 0.76
    assert measured(network(nn.Sigmoid()))["saturated_fraction"] == {"0": 0.0}  # 2 sigmoid(3) - 1 is 0.905


def test_a_policy_by_hand() -> None:
    found = measured(network(nn.ReLU()), actions=(2,))
    odds = [1 / (1 + math.exp(-2 * x)) for x in (3, 1, 1, 3)]  # logits |x| and -|x|
    entropies = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in odds]
    assert found["policy_entropy"][WHOLE] == pytest.approx(sum(entropies) / 4)
    assert found["smallest_probability"][WHOLE] == pytest.approx(sum(1 - p for p in odds) / 4)
    assert found["logit_scale"][WHOLE] == pytest.approx(math.sqrt(5))


def test_the_tangent_kernel_of_a_linear_network() -> None:
    found = examined(nn.Linear(2, 1), (torch.eye(2),), None, 0)  # gradients (x, 1): kernel [[2, 1], [1, 2]], eigenvalues 3 and 1
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    rank = measure(found, found.params, (torch.eye(2),), [], ())["ntk_rank"][WHOLE]
    assert rank == pytest.approx(math.exp(entropy))


def test_readiness_of_mini_batches() -> None:
    """Linear: x w, loss w x, whose gradient is x: 1 in even mini-batches of 4, and 3 in odd ones."""
    inputs = torch.tensor([1.0, 3.0]).repeat_interleave(4).repeat(8)[:, None]
    found = examined(nn.Linear(1, 1, bias=False), (inputs,), None, 0)
    params = {"weight": torch.tensor([[0.5]])}
    one = measure(found, params, (inputs,), [lambda params, part: found.outputs(params, (inputs[part],)).mean()], ())
    assert one["readiness"][WHOLE] == pytest.approx((2**2 / 1.0) * (2**2 / ((1 + 9) / 2)))  # strength times reliability


def test_bias_of_preactivations() -> None:
    assert preactivation_bias(torch.tensor([[2.0, 1.0, 0.0], [2.0, -1.0, 0.0]])) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "own", "twins", "out"),
    [
        ("dead_fraction", 0.5, (0.0, 0.1), True),
        ("dead_fraction", 0.2, (0.0, 0.1), False),  # by less than 0.25
        ("dead_fraction", 0.5, (0.0, 0.6), False),  # one twin has more
        ("effective_rank", 4.0, (9.0, 11.0), True),
        ("effective_rank", 6.0, (9.0, 11.0), False),
        ("weight_norm", 31.0, (9.0, 11.0), True),
        ("weight_norm", 2.0, (9.0, 11.0), False),
        ("head_norm", 1e6, (9.0, 11.0), False),
        ("logit_scale", 12.0, (0.1, 0.2), True),
        ("gradient_l2", 0.5, (9.0, 11.0), True),
    ],
)
def test_what_stands_out(name: str, own: float, twins: tuple[float, ...], out: bool) -> None:
    assert Compared(name, "0", own, twins).stands_out == out
