"""Norms other than layer norm: over the batch, over an example, and half of each."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import BatchMeanNorm, BatchNorm, Intervention, LayerNorm, NormalizeAndProject, ReDo, RMSNorm, assemble
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP, Nature
from plasticity_rl.optim.optimizers import Adam
from tests.learners import OUTPUTS, RATE, SPECS, batches, generator, learn, random_net

pytestmark = pytest.mark.usefixtures("double")

NORMS: dict[Intervention, str] = {RMSNorm(): "rms", BatchNorm(): "batch", BatchMeanNorm(): "batch-mean"}


@pytest.mark.parametrize(("method", "norm"), NORMS.items())
@pytest.mark.parametrize("kind", list(SPECS))
def test_each_builds_its_norm_and_nothing_else(method, norm, kind):
    spec, inputs, ends = SPECS[kind]
    network, optimizer = assemble(spec, Adam(), (method,), inputs, ends)
    assert network.spec == dataclasses.replace(spec, norm=norm) and optimizer == Adam()
    for layer in network.layers:
        assert (layer.bias is None) == (layer.scale is not None) == (layer.activation is not None)


def batch_mean_by_loops(x: Tensor) -> Tensor:
    """Norm of (examples, units, positions)."""
    result = torch.empty_like(x)
    for unit in range(x.shape[1]):
        across = x[:, unit].flatten().tolist()
        result[:, unit] = x[:, unit] - sum(across) / len(across)
    for example in range(len(x)):
        numbers = result[example].flatten().tolist()
        mean = sum(numbers) / len(numbers)
        result[example] /= (sum((number - mean) ** 2 for number in numbers) / len(numbers) + 1e-5) ** 0.5
    return result


def normed(norm: str, x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    if norm == "batch":
        module = (nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d)(x.shape[1], track_running_stats=False)
        module.load_state_dict({"weight": scale, "bias": offset})
        return module(x)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return batch_mean_by_loops(x.flatten(2) if x.ndim > 2 else x[:, :, None]).view_as(x) * scale.view(shape) + offset.view(shape)


@pytest.mark.parametrize("norm", ["batch", "batch-mean"])
def test_convolutions_and_dense_layers_are_normalised_as_by_torch_and_by_loops(norm):
    network = Network(Nature(width=16, norm=norm), (2, 36, 44), OUTPUTS)
    params, x = random_net(network).params, torch.randn(3, 2, 36, 44, generator=generator(3))
    outputs, features = network.apply(params, x)
    for name, stride in (("hidden0", 4), ("hidden1", 2), ("hidden2", 1)):
        x = nn.functional.conv2d(x, params[f"{name}.weight"], stride=stride)
        x = normed(norm, x, params[f"{name}.scale"], params[f"{name}.offset"]).relu()
        torch.testing.assert_close(features[name], x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]), rtol=1e-9, atol=1e-10)
    x = x.flatten(1) @ params["hidden3.weight"].T
    x = normed(norm, x, params["hidden3.scale"], params["hidden3.offset"]).relu()
    torch.testing.assert_close(outputs, x @ params["head.weight"].T + params["head.bias"], rtol=1e-9, atol=1e-10)


def test_a_norm_over_the_batch_by_hand():
    # Two examples of two units. Means over the batch 3 and -2 leave (-4, -1) and (4, 1): deviations 4 and 1 of a unit, 1.5 of an example.
    spec, x = MLP(width=2, depth=1, activation="leaky-relu", slope=1.0), torch.tensor([[-1.0, -3.0], [7.0, -1.0]])
    for norm, by_hand in (("batch", [[-1, -1], [1, 1]]), ("batch-mean", [[-8 / 3, -2 / 3], [8 / 3, 2 / 3]])):
        network = Network(dataclasses.replace(spec, norm=norm), (2,), 1)
        params = network.init(generator()) | {"hidden0.weight": torch.eye(2)}
        assert network.apply(params, x)[1]["hidden0"].tolist() == [pytest.approx(row, abs=1e-4) for row in by_hand]


@pytest.mark.parametrize("norm", ["batch", "batch-mean"])
def test_a_batch_of_one_is_finite_and_members_do_not_share_a_batch(norm):
    network = Network(MLP(width=4, depth=2, norm=norm), (5,), OUTPUTS)
    assert network.apply(random_net(network).params, torch.ones(1, 5))[0].isfinite().all()
    learner = learn((BatchNorm() if norm == "batch" else BatchMeanNorm(),), "mlp", 2)
    (batch,) = batches("mlp", 2, 1)
    changed = {name: tensor.clone() for name, tensor in batch.items()}
    changed["inputs"][1] += torch.randn(changed["inputs"][1].shape, generator=generator())
    features = [learner.features(learner.net.params, each["inputs"])["hidden1"] for each in (batch, changed)]
    assert torch.equal(features[0][0], features[1][0]) and not torch.equal(features[0][1], features[1][1])


@pytest.mark.parametrize("method", [BatchNorm(), BatchMeanNorm()], ids=repr)
def test_a_projection_takes_a_norm_over_the_batch_which_does_not_feel_the_length(method):
    chain = (method, NormalizeAndProject(norm="given"), ReDo(every=2, tau=0.3))
    learner = learn(chain, "mlp", 2)
    before = learner.net.params["hidden1.weight"].flatten(1).norm(dim=1)
    for batch in batches("mlp", 2, 4):
        learner.update(RATE, batch)
    torch.testing.assert_close(learner.net.params["hidden1.weight"].flatten(1).norm(dim=1), before, rtol=1e-12, atol=0)
    params, x = learner.one(0), torch.randn(6, 5, generator=generator())
    longer = params | {"hidden1.weight": params["hidden1.weight"] * 1.5}
    apply = learner.network.apply
    torch.testing.assert_close(apply(longer, x)[0], apply(params, x)[0], rtol=1e-3, atol=1e-4)


def test_two_norms_are_refused():
    with pytest.raises(UsageError, match="LayerNorm and BatchNorm cannot be combined: norm would be both 'layer' and 'batch'"):
        assemble(MLP(), Adam(), (LayerNorm(), BatchNorm()), (3,), 2)
