"""Layerwise re-initialisation stage by stage."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import Layerwise
from tests.learners import RATE, SPECS, assert_same, batches, built, copies, evidence_for, generator, learn, random_net
from tests.refreshes import HEADS

pytestmark = pytest.mark.usefixtures("double")

ORDER = {
    "mlp": (("hidden0", "hidden1", "hidden2"),),
    "convolutions": (("hidden0", "hidden1", "hidden2", "hidden3"),),
    "residual": ((*(f"hidden{block}{branch}" for block in (0, 1) for branch in ("", "_1a", "_1b", "_2a", "_2b")), "hidden2"),),
    "noisy": (("hidden0", "quantiles", "hidden1_value", "hidden1_advantage"),),
    "separate": (("policy.hidden0", "policy.hidden1"), ("value.hidden0", "value.hidden1")),
}
"""kind -> hidden layers of each of its networks"""


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_one_layer_more_is_kept_and_rescaled_at_each_stage(kind, norm, rounds):
    method, network = Layerwise(rounds=rounds), built(kind, norm=norm)
    birth = network.init(generator(5))
    state = method.init(birth, network.layers, generator())
    depth = len(ORDER[kind][0])
    for count in range(1, rounds * depth + 3):
        net = random_net(network, count)
        evidence = evidence_for(network, net, count)
        after, state = method.refresh(net, state, evidence, network.layers)
        stage = (count + rounds - 1) // rounds
        kept = [layer for hidden in ORDER[kind] for layer in hidden[:stage]]
        for name, old in net.params.items():
            layer, _, part = name.rpartition(".")
            if stage > depth:
                assert torch.equal(after.params[name], old)
            elif layer not in kept:
                assert torch.equal(after.params[name], evidence.fresh[name])
                assert all(not optimizer_state[name].any() for optimizer_state in after.slots.values())
                continue
            elif part in ("scale", "offset"):
                assert torch.equal(after.params[name], old)
            else:
                names = [each for each in (f"{layer}.weight", f"{layer}.weight_noise") if each in birth]
                then, now = (sum(tree[each].square().sum() for each in names) ** 0.5 for tree in (birth, net.params))
                torch.testing.assert_close(after.params[name], old * then / now, rtol=1e-9, atol=1e-14)
            assert all(torch.equal(optimizer_state[name], net.slots[slot][name]) for slot, optimizer_state in after.slots.items())
    hidden = {name for order in ORDER[kind] for name in order}
    assert hidden == {layer.name for layer in network.layers if not f"{layer.name}.weight".startswith(HEADS[kind])}


def test_stages_are_counted_and_in_the_end_everything_stays():
    learner, plain = learn((Layerwise(),), "mlp", 2), learn((), "mlp", 2)
    for stage in range(1, 4):
        learner.update(RATE, batches("mlp", 2, 1, seed=stage)[0])
        before = copies(learner)
        learner.task_boundary()
        fresh = learner.fresh("Layerwise", 0, "task", stage)
        assert torch.equal(learner.net.params["head.weight"], fresh["head.weight"])
        for depth in range(3):
            name = f"hidden{depth}.weight"
            assert torch.equal(learner.net.params[name], fresh[name]) == (depth >= stage)
            if depth < stage:
                cosine = torch.cosine_similarity(learner.net.params[name].flatten(1), before[f"params/{name}"].flatten(1))
                torch.testing.assert_close(cosine, torch.ones(2), rtol=1e-9, atol=0)
                torch.testing.assert_close(
                    learner.net.params[name].flatten(1).norm(dim=1), plain.net.params[name].flatten(1).norm(dim=1), rtol=1e-9, atol=0
                )
    before = copies(learner)
    learner.task_boundary()
    now = copies(learner)
    assert now.pop("states/0/refreshes").tolist() == [4, 4] and before.pop("states/0/refreshes").tolist() == [3, 3]
    assert_same(now, before)


def test_the_target_network_follows():
    assert Layerwise().syncs_target and not Layerwise().clears_replay


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"rounds": 0}, "rounds must lie in [1, inf), not 0"), ({"every": 0}, "every must lie in [1, inf), not 0")],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        Layerwise(**fields)
    assert str(raised.value) == f"Layerwise: {message}"
