"""Normalize-and-project: constrained and free parameters, and the effect of lengths on the network."""

import pytest
import torch
import torch.nn.functional as F

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import LayerNorm, NormalizeAndProject, ReDo, WeightDecay, assemble
from plasticity_rl.networks.layers import HeadSpec, select
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam, Net
from tests.learners import (
    BATCH,
    RATE,
    SPECS,
    Small,
    assert_same,
    batches,
    built,
    deaden,
    evidence_for,
    generator,
    learn,
    length,
    random_net,
)
from tests.refreshes import HEADS

pytestmark = pytest.mark.usefixtures("double")

SUMMED = ("hidden0", "hidden0_1b", "hidden0_2b", "hidden1", "hidden1_1b", "hidden1_2b")
"""layers summed in the residual torso"""


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("kind", list(SPECS))
def test_the_length_of_a_hidden_weight_does_not_matter_but_to_a_sum(kind, norm):
    network = learn((NormalizeAndProject(norm=norm),), kind, 1).network
    (batch,) = batches(kind, 1, 1)
    x, noise = batch["inputs"][0], batch["noise"][0] if kind == "noisy" else None

    def shift(network: Network, *weights: str) -> float:
        """Relative change of the outputs when these weights grow by half."""
        params = random_net(network).params
        before, after = (network.apply(p, x, noise)[0] for p in (params, params | {name: params[name] * 1.5 for name in weights}))
        return ((after - before).norm() / before.norm()).item()

    for name in (layer.name for layer in network.layers):
        both = [weight for weight in (f"{name}.weight", f"{name}.weight_noise") if weight in network.shapes]
        assert shift(built(kind), *both) > 0.01
        if f"{name}.weight".startswith(HEADS[kind]) or (kind == "residual" and name in SUMMED):
            assert shift(network, *both) > 0.01
        else:
            assert shift(network, *both) < 1e-4  # only the norms' epsilon remains
            assert len(both) == 1 or min(shift(network, weight) for weight in both) > 0.01


@pytest.mark.parametrize(("kind", "members"), [("mlp", 3), ("convolutions", 1), ("residual", 2), ("noisy", 2)])
def test_hidden_lengths_stay_what_they_were_and_the_head_goes_free(kind, members):
    held, loose = learn((NormalizeAndProject(),), kind, members), learn((LayerNorm(),), kind, members)
    names = [layer.name for layer in held.network.layers]
    birth = {name: length(held.net.params, name) for name in names}
    for batch in batches(kind, members, 30):
        for learner in (held, loose):
            learner.update(RATE, batch)
    for name in names:
        then, now, free = birth[name], length(held.net.params, name), length(loose.net.params, name)
        if f"{name}." in HEADS[kind]:
            assert ((now / then - 1).abs() > 0.005).all()
        else:
            torch.testing.assert_close(now, then, rtol=1e-12, atol=0)
            assert ((free / then - 1).abs() > 0.005).all()


def test_a_weight_and_its_standard_deviations_are_held_together_by_hand():
    network = Network(Small(norm="layer"), (1, 3, 3), HeadSpec((("head", 1),), noise=1.0))
    params = network.init(generator())
    hidden, noise = "hidden1.weight", "hidden1.weight_noise"
    before = {hidden: torch.zeros(8, 6), noise: torch.zeros(8, 6)}
    before[hidden][0, 0], before[noise][7, 5] = 6.0, 8.0
    state = NormalizeAndProject().init(params | before, network.layers, generator())
    assert state[hidden] == 10 and noise not in state
    after = {name: param.clone() for name, param in before.items()}
    after[hidden][0, 0], after[noise][7, 5] = 3.0, 4.0
    held, _ = NormalizeAndProject().project(params | after, state, network.layers)
    torch.testing.assert_close({name: held[name] for name in before}, before, rtol=1e-14, atol=0)
    for name in ("head.weight", "head.weight_noise", "head.bias", "head.bias_noise"):
        assert torch.equal(held[name], params[name])


@pytest.mark.parametrize(
    ("policy", "scale", "offset"),
    [  # (3, 0, 0, -4) has length 5, and is held at the root of 2 units
        ("joint", [3 * 2**0.5 / 5, 0.0], [0.0, -4 * 2**0.5 / 5]),
        ("toward_init", [2.5, 0.25], [0.0, -3.0]),
        ("frozen", [1.0, 1.0], [0.0, 0.0]),
        ("free", [3.0, 0.0], [0.0, -4.0]),
    ],
)
def test_scale_and_offset_by_hand(policy, scale, offset):
    network = Network(MLP(width=2, depth=1, norm="layer"), (2,), 1)
    params = network.init(generator()) | {"hidden0.scale": torch.tensor([3.0, 0.0]), "hidden0.offset": torch.tensor([0.0, -4.0])}
    method = NormalizeAndProject(scale_and_offset=policy, pull=0.25)
    after, _ = method.project(params, method.init(params, network.layers, generator()), network.layers)
    assert after["hidden0.scale"].tolist() == pytest.approx(scale) and after["hidden0.offset"].tolist() == pytest.approx(offset)
    assert_same({n: after[n] for n in ("head.weight", "head.bias")}, {n: params[n] for n in ("head.weight", "head.bias")})
    torch.testing.assert_close(after["hidden0.weight"], params["hidden0.weight"], rtol=1e-14, atol=0)


def test_a_projection_leaves_the_direction_and_the_optimizers_memory():
    chain = (NormalizeAndProject(),)
    learner, free = learn(chain, "mlp", 1), learn((LayerNorm(),), "mlp", 1)
    (batch,) = batches("mlp", 1, 1)
    for each in (learner, free):
        each.update(RATE, batch)
    for layer in select(learner.network.layers, "hidden"):
        cosine = F.cosine_similarity(learner.net.params[layer.weight].flatten(), free.net.params[layer.weight].flatten(), dim=0)
        assert cosine.item() == pytest.approx(1, abs=1e-12)
    for slot, optimizer_state in learner.net.slots.items():
        torch.testing.assert_close(optimizer_state, free.net.slots[slot], rtol=1e-12, atol=0)


def test_a_joint_length_of_scale_and_offset_does_not_matter_before_another_norm():
    network = Network(MLP(width=8, depth=2, norm="layer"), (5,), 3)
    params, x = random_net(network).params, torch.randn(BATCH, 5, generator=generator())
    longer = params | {name: params[name] * 1.5 for name in ("hidden0.scale", "hidden0.offset")}
    torch.testing.assert_close(network.apply(longer, x)[0], network.apply(params, x)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("chain", [(NormalizeAndProject(norm="given"),), (WeightDecay(), NormalizeAndProject(norm="given"))], ids=repr)
def test_a_network_without_a_norm_cannot_be_projected(chain):
    with pytest.raises(UsageError, match="NormalizeAndProject needs a norm before every activation, and layer 'hidden0' has none"):
        assemble(MLP(), Adam(), chain, (3,), 2)


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_it_builds_its_norm_and_nothing_else(norm):
    network, optimizer = assemble(MLP(), Adam(), (NormalizeAndProject(norm=norm),), (3,), 2)
    assert (network.spec, optimizer) == (MLP(norm=norm), Adam())


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_a_given_norm_is_taken(norm):
    assert assemble(MLP(norm=norm), Adam(), (NormalizeAndProject(norm="given"),), (3,), 2)[0].spec.norm == norm


@pytest.mark.parametrize("activation", ["gelu", "tanh"])
def test_joint_projection_needs_a_homogeneous_activation(activation):
    message = rf"joint needs a homogeneous activation \(relu, leaky-relu, prelu, crelu, tailored, aid\), and hidden0 has {activation}"
    with pytest.raises(UsageError, match=message):
        assemble(MLP(activation=activation), Adam(), (NormalizeAndProject(),), (3,), 2)
    for policy in ("toward_init", "frozen", "free"):
        assemble(MLP(activation=activation), Adam(), (NormalizeAndProject(scale_and_offset=policy),), (3,), 2)


def test_projection_after_recycling_a_silent_layer_is_finite():
    # All units of hidden0 are dormant, so all of hidden1's inputs become zero: a weight without a direction.
    network, _ = assemble(MLP(width=4, depth=2), Adam(), (NormalizeAndProject(), ReDo()), (3,), 2)
    params = network.init(generator())
    state = NormalizeAndProject().init(params, network.layers, generator())
    net = Net(deaden(network, params, {"hidden0": (0, 1, 2, 3)}), {})
    net, _ = ReDo().refresh(net, {}, evidence_for(network, net), network.layers)
    assert not net.params["hidden1.weight"].any()
    after, _ = NormalizeAndProject().project(net.params, state, network.layers)
    assert all(param.isfinite().all() for param in after.values())
    assert after["hidden0.weight"].norm().item() == pytest.approx(state["hidden0.weight"].item())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": "none"}, "norm cannot be 'none'; one of: given, layer, rms"),
        ({"scale_and_offset": "toward-init"}, "scale_and_offset cannot be 'toward-init'; did you mean toward_init?"),
        ({"pull": 0.0}, "pull must lie in (0, 1], not 0.0"),
        ({"pull": 1.1}, "pull must lie in (0, 1], not 1.1"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        NormalizeAndProject(**fields)
    assert str(raised.value) == f"NormalizeAndProject: {message}"
