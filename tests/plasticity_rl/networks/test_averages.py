"""Global average pooling in image torsos: beside torch.nn, and which columns belong to a unit."""

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.experiment import word
from plasticity_rl.networks.layers import unit_masks
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import Impala, Nature
from tests.learners import generator, random_net

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("activation", ["relu", "crelu"])
def test_nature_reads_means_over_positions(activation: str) -> None:
    network = Network(Nature(width=8, average=True, activation=activation), (4, 44, 44), 3)
    params, x = random_net(network).params, torch.randn(2, 4, 44, 44, generator=generator(1))
    act = {"relu": F.relu, "crelu": lambda x: torch.cat([F.relu(x), F.relu(-x)], 1)}[activation]
    y = x
    for name, stride in (("hidden0", 4), ("hidden1", 2), ("hidden2", 1)):
        y = act(F.conv2d(y, params[f"{name}.weight"], params[f"{name}.bias"], stride))
    pooled = F.adaptive_avg_pool2d(y, 1).flatten(1)
    y = act(F.linear(pooled, params["hidden3.weight"], params["hidden3.bias"]))
    outputs, features = network.apply(params, x)
    torch.testing.assert_close(outputs, F.linear(y, params["head.weight"], params["head.bias"]), rtol=1e-9, atol=1e-10)
    assert features["hidden2"].shape[1] == 64  # positions are samples, as without averages
    pairs = 2 if activation == "crelu" else 1
    assert network.shapes["hidden3.weight"] == (8, 64 * pairs)
    layer = next(each for each in network.layers if each.name == "hidden2")
    _, columns = unit_masks(layer, network.layers, torch.arange(64) == 5, params)
    assert columns["hidden3.weight"][0].nonzero().flatten().tolist() == [5, 69][:pairs]


def test_impoola_is_impala_with_pooled_units() -> None:
    plain, pooled = (Network(Impala(width=8, average=average), (3, 16, 16), 3) for average in (False, True))
    assert pooled.shapes["hidden3.weight"] == (8, 32) and plain.shapes["hidden3.weight"] == (8, 32 * 2 * 2)
    assert plain.shapes.keys() == pooled.shapes.keys()
    params, x = random_net(pooled).params, torch.randn(2, 3, 16, 16, generator=generator(1))
    # Dividing each position's weight by the number of positions makes a network that flattens out of one that averages.
    spread = params | {"hidden3.weight": params["hidden3.weight"].repeat_interleave(4, 1) / 4}
    torch.testing.assert_close(plain.apply(spread, x)[0], pooled.apply(params, x)[0], rtol=1e-9, atol=1e-10)


def test_its_word() -> None:
    assert word(Impala(average=True)) == "impala-cnn:average=True" and word(Impala()) == "impala-cnn"
