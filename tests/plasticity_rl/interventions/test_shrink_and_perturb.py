"""Shrink and perturb beside a plain reading of its formula."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import RefreshContext, ShrinkAndPerturb
from plasticity_rl.optim.optimizers import Net
from tests.learners import SPECS, built, evidence_for, generator, learn, random_net
from tests.refreshes import HEADS

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("kind", list(SPECS))
@pytest.mark.parametrize("part", ["all", "hidden", "heads"])
def test_shrink_and_perturb_by_hand(kind, part):
    method, network = ShrinkAndPerturb(shrink=0.8, perturb=0.4, part=part), learn((), kind, 1).network
    net = random_net(network)
    evidence = evidence_for(network, net)
    after, _ = method.refresh(net, {}, evidence, network.layers)
    for name, old in net.params.items():
        touched = part == "all" or (part == "heads") == name.startswith(HEADS[kind])
        for new, value, noise in zip(*(t.flatten()[:200].tolist() for t in (after.params[name], old, evidence.fresh[name])), strict=True):
            assert new == (pytest.approx(0.8 * value + 0.4 * noise, rel=1e-12, abs=1e-15) if touched else value)
    assert after.slots is net.slots


def test_shrink_and_perturb_leaves_a_fresh_networks_scales_and_standard_deviations_at_their_start():
    network = built("noisy", norm="layer")
    net = Net(network.init(generator()), {})
    after, _ = ShrinkAndPerturb().refresh(net, {}, RefreshContext(network.init(generator(1)), {}), network.layers)
    assert (after.params["hidden0.scale"] == 1).all() and (after.params["hidden0.offset"] == 0).all()
    for reader, fan_in in (("hidden1_value", 6 * 2 * 2), ("hidden1_advantage", 6 * 2 * 2), ("value", 8), ("advantage", 8)):
        start = torch.full_like(after.params[f"{reader}.weight_noise"], 0.5 * fan_in**-0.5)
        torch.testing.assert_close(after.params[f"{reader}.weight_noise"], start, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shrink": 1.5}, "shrink must lie in [0, 1], not 1.5"),
        ({"perturb": -0.1}, "perturb must lie in [0, inf), not -0.1"),
        ({"part": "everything"}, "part cannot be 'everything'; one of: all, heads, hidden"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        ShrinkAndPerturb(**fields)
    assert str(raised.value) == f"ShrinkAndPerturb: {message}"
