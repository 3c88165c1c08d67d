"""Muon: torch's for matrices, Adam for all else, the singular values of its steps, and convolutions as matrices."""

import pytest
import torch

from plasticity_rl.interventions.recycling import overwrite
from plasticity_rl.optim.optimizers import Adam, Muon, Net, orthogonalised
from tests.learners import SPECS, built, generator, random_like
from tests.plasticity_rl.optim.test_optimizers import born, draws, train
from tests.refreshes import HEADS

pytestmark = pytest.mark.usefixtures("double")

ADAM = Adam(beta2=0.95, epsilon=1e-10)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("scale", ["adam", "spectral"])
def test_hidden_weights_are_those_of_torch_and_all_others_adams(scale, nesterov, decay, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)  # torch's multiplies in bfloat16
    ours = Muon(scale=scale, nesterov=nesterov, weight_decay=decay)
    theirs = torch.nn.Parameter(born(ours).params["hidden0.weight"].clone())
    adjust = {"adam": "match_rms_adamw", "spectral": "original"}[scale]
    optimizer = torch.optim.Muon([theirs], lr=0.03, weight_decay=decay, nesterov=nesterov, adjust_lr_fn=adjust)
    net, plain = born(ours), born(ADAM)
    for grads in draws(1, 60):
        net = train(ours, net, [grads], 0.03)
        theirs.grad = grads["hidden0.weight"].clone()
        optimizer.step()
        torch.testing.assert_close(net.params["hidden0.weight"], theirs.data, rtol=1e-8, atol=1e-8)
    plain = train(Adam(beta2=0.95, epsilon=1e-10, weight_decay=decay), plain, draws(1, 60), 0.03)
    for name, param in plain.params.items():
        if name != "hidden0.weight":
            torch.testing.assert_close(net.params[name], param, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(20, 20), (30, 12), (12, 30), (5, 1), (1, 5)])
def test_singular_values_end_near_one_and_directions_stay(shape):
    # The polynomial of a matrix acts on singular values alone, so each can be followed by itself.
    matrix = torch.randn(shape, generator=generator(3))
    after = orthogonalised(matrix, 5)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    expected = []
    for value in values.tolist():
        x = value / sum(each**2 for each in values.tolist()) ** 0.5
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
        expected.append(x)
    torch.testing.assert_close(after, left @ torch.diag(torch.tensor(expected)) @ right, rtol=1e-8, atol=1e-10)
    assert all(0.5 < x < 1.5 for x, value in zip(expected, values.tolist(), strict=True) if value > 0.05 * values[0])


@pytest.mark.parametrize("kind", list(SPECS))
def test_hidden_weights_alone_are_turned_convolutions_as_matrices_of_units(kind):
    network = built(kind, norm="layer")
    params = network.init(generator(1))
    grads = random_like(params, 2)
    for scale in ("adam", "spectral"):
        muon = Muon(scale=scale)
        after, plain = (
            each.update(Net(params, each.init(params)), grads, torch.tensor(1.0), network.layers).params for each in (muon, ADAM)
        )
        for name, param in params.items():
            if not name.endswith(".weight") or name.startswith(HEADS[kind]):
                assert torch.equal(after[name], plain[name]), name
                continue
            rows = len(param)
            columns = param.numel() // rows
            factor = 0.2 * max(rows, columns) ** 0.5 if scale == "adam" else max(1, rows / columns) ** 0.5
            step = orthogonalised(grads[name].reshape(rows, columns), 5) * factor
            torch.testing.assert_close(param - after[name], step.reshape(param.shape), rtol=1e-9, atol=1e-12)
            if scale == "adam":
                assert (param - after[name]).square().mean().sqrt().item() == pytest.approx(0.2, rel=0.35), name


def test_newborn_rows_of_a_matrix_are_as_long_as_the_survivors():
    # With constant gradients, a row recycled in mid-run equals older ones at once: the matrix is that of the gradient.
    optimizer = Muon()
    grads = draws(1)[0]
    net = train(optimizer, born(optimizer), [grads] * 50, 1e-3)
    masks = {"hidden0.weight": torch.zeros(3, 4, dtype=torch.bool)}
    masks["hidden0.weight"][1] = True
    net = overwrite(net, masks, {"hidden0.weight": torch.full((3, 4), 7.0)})
    step = 1e-3 * 0.2 * 4**0.5 * orthogonalised(grads["hidden0.weight"], 5)
    for _ in range(5):
        before, net = net, train(optimizer, net, [grads], 1e-3)
        torch.testing.assert_close(before.params["hidden0.weight"] - net.params["hidden0.weight"], step, rtol=1e-9, atol=1e-14)
