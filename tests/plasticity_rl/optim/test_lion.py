"""Lion by hand."""

import pytest
import torch

from plasticity_rl.optim.lion import Lion
from plasticity_rl.optim.optimizers import Net

pytestmark = pytest.mark.usefixtures("double")


def test_steps_by_hand() -> None:
    """With beta1 1/2 and beta2 3/4: signs of 1/2, 1/2 (1/4) - 1/4, and 0 where nothing has come yet; the mean forgets by 3/4."""
    optimizer = Lion(beta1=0.5, beta2=0.75)
    params = {"w": torch.zeros(2)}
    net = Net(params, optimizer.init(params))
    means, values = [], []
    for gradient in ([1.0, 0.0], [-0.5, 0.0], [0.0, -9.0]):
        net = optimizer.update(net, {"w": torch.tensor(gradient)}, torch.tensor(0.1), ())
        means.append(net.slots["mean"]["w"].tolist())
        values.append(net.params["w"].tolist())
    # 1/2 * 0 + 1/2 * 1 > 0;  1/2 * 0.25 - 1/2 * 0.5 < 0;  1/2 * 0.0625 + 0 > 0
    assert values == [pytest.approx([-0.1, 0.0]), pytest.approx([0.0, 0.0]), pytest.approx([-0.1, 0.1])]
    assert means == [[0.25, 0.0], [0.0625, 0.0], [0.046875, -2.25]]


def test_decay_is_beside_the_sign() -> None:
    optimizer = Lion(weight_decay=0.5, decayed="all")
    net = Net({"w": torch.tensor([4.0])}, optimizer.init({"w": torch.tensor([4.0])}))
    after = optimizer.update(net, {"w": torch.tensor([1e-6])}, torch.tensor(0.1), ())
    assert after.params["w"].tolist() == pytest.approx([4.0 - 0.1 * (1 + 0.5 * 4.0)])
