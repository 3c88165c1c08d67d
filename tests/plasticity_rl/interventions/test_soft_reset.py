"""Soft resets beside their process, number by number."""

import math
import statistics

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import SoftReset
from plasticity_rl.optim.optimizers import Net
from tests.learners import SPECS, built, generator, random_net, seen

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("mean", ["start", "average"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_soft_reset_by_hand(kind, mean):
    method, network = SoftReset(gamma=0.7, noise=0.5, mean=mean), built(kind)
    birth, net = network.init(generator()), random_net(network)
    state = method.init(birth, network.layers, generator())
    around = seen(network, draw=generator(3))
    after, same = method.after_step(net, state, net.params, network.layers, around)
    assert same is state and after.slots is net.slots
    for name, old in net.params.items():
        start = birth[name].flatten().tolist()
        centre, spread = statistics.fmean(start), statistics.pstdev(start)
        now, then, noise = after.params[name].flatten().tolist(), old.flatten().tolist(), around.noise[name].flatten().tolist()
        for i in range(min(len(now), 50)):
            mu = start[i] if mean == "start" else centre
            assert now[i] == pytest.approx(0.7 * then[i] + 0.3 * mu + 0.5 * math.sqrt(1 - 0.49) * spread * noise[i], rel=1e-9, abs=1e-12)


def test_without_gradients_the_weights_end_as_scattered_as_they_began_wherever_they_were():
    method, network = SoftReset(gamma=0.9, mean="average"), built("mlp", width=64)
    birth = network.init(generator())
    state = method.init(birth, network.layers, generator())
    net, draw = Net({name: param * 50 + 3 for name, param in birth.items()}, {}), generator(1)
    for _ in range(150):
        net, _ = method.after_step(net, state, birth, network.layers, seen(network, draw=draw))
    weight = net.params["hidden1.weight"]
    bound = 64**-0.5
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05) and abs(weight.mean().item()) < 0.05 * bound


def test_scales_offsets_and_standard_deviations_drift_without_noise():
    method, network = SoftReset(gamma=0.5), built("noisy", norm="layer")
    birth = network.init(generator())
    state = method.init(birth, network.layers, generator())
    after, _ = method.after_step(Net(birth, {}), state, birth, network.layers, seen(network, draw=generator(3)))
    constant = [name for name in birth if name.endswith(("scale", "offset", "noise"))]
    assert len(constant) > 8
    for name in constant:
        torch.testing.assert_close(after.params[name], birth[name], rtol=1e-12, atol=1e-14)
    assert not torch.equal(after.params["hidden0.weight"], birth["hidden0.weight"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gamma": 1.0}, "gamma must lie in [0, 1), not 1.0"),
        ({"noise": -1.0}, "noise must lie in [0, inf), not -1.0"),
        ({"mean": "birth"}, "mean cannot be 'birth'; one of: average, start"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        SoftReset(**fields)
    assert str(raised.value) == f"SoftReset: {message}"
