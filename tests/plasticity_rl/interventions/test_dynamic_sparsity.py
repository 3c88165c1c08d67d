"""Dynamic sparsity by hand: which connections go, and which come."""

import pytest
import torch

from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import DynamicSparsity, Powerprop, assemble
from plasticity_rl.interventions.base import RefreshContext
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam, Net
from tests.learners import RATE, batches, generator, learn, random_like, seen

pytestmark = pytest.mark.usefixtures("double")

NETWORK = Network(MLP(width=2, depth=1), (5,), 2)
WEIGHT = torch.tensor([[3.0, -0.1, 0.0, 0.0, 2.0], [0.2, 0.0, -5.0, 0.0, 0.0]], dtype=torch.float64)
PRESENT = WEIGHT != 0  # 5 of 10: 40% of them, the two smallest, go


def refreshed(grow: str, gradient: torch.Tensor, fresh: torch.Tensor) -> tuple[Net, dict[str, torch.Tensor]]:
    method = DynamicSparsity(sparsity=0.5, moved=0.4, grow=grow)  # type: ignore[arg-type]
    params = NETWORK.init(generator()) | {"hidden0.weight": WEIGHT}
    net = Net(params, {slot: random_like(params, i) for i, slot in enumerate(Adam().slots)})
    state = method.init(params, NETWORK.layers, generator()) | {"mask/hidden0.weight": PRESENT.to(WEIGHT)}
    grads = random_like(params, 9) | {"hidden0.weight": gradient}
    _, state = method.after_step(net, state, grads, NETWORK.layers, seen(NETWORK))
    after, state = method.refresh(net, state, RefreshContext(NETWORK.init(generator(1)) | {"hidden0.weight": fresh}, {}), NETWORK.layers)
    kept = after.slots["mean"]["hidden0.weight"] == net.slots["mean"]["hidden0.weight"]
    assert torch.equal(kept, state["mask/hidden0.weight"] == PRESENT)  # forgotten where a connection came or went
    return after, state


def test_rigl_grows_where_the_gradient_is_largest_from_zero() -> None:
    # -0.1 and 0.2 go; 0.2 has the second largest gradient among absent places and stays as it was, behind -9 at (1, 4), which comes.
    gradient = torch.tensor([[99.0, 0.1, 1.0, 2.0, 88.0], [8.0, 3.0, 77.0, 4.0, -9.0]])
    after, state = refreshed("gradient", gradient, torch.full((2, 5), 7.0))
    assert after.params["hidden0.weight"].tolist() == [[3.0, 0.0, 0.0, 0.0, 2.0], [0.2, 0.0, -5.0, 0.0, 0.0]]
    assert state["mask/hidden0.weight"].tolist() == [[1.0, 0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0, 1.0]]
    slots = after.slots["square"]["hidden0.weight"]
    assert (slots == 0).tolist() == [[False, True, False, False, False], [False, False, False, False, True]]


def test_set_grows_at_random_from_new_values() -> None:
    # places are ranked by the size of the new value at the mirrored place, counted from the end
    fresh = torch.tensor([[0.1, -0.9, 0.2, 0.3, 0.4], [0.5, 0.6, 0.8, 0.7, 0.05]])
    mirrored = fresh.flatten().tolist()[::-1]
    absent = [place for place in range(10) if WEIGHT.flatten()[place].abs() < 1]
    chosen = sorted(absent, key=lambda place: -abs(mirrored[place]))[:2]
    after, state = refreshed("random", torch.zeros(2, 5), fresh)
    expected = torch.where(WEIGHT.abs() < 1, 0.0, WEIGHT).flatten()
    for place in chosen:  # a small weight that is chosen again stays
        expected[place] = WEIGHT.flatten()[place] if PRESENT.flatten()[place] else fresh.flatten()[place]
    assert after.params["hidden0.weight"].flatten().tolist() == expected.tolist()
    assert state["mask/hidden0.weight"].flatten().tolist() == [float(value != 0) for value in expected.tolist()]


def test_random_places_are_all_alike() -> None:
    counts = torch.zeros(2, 5)
    for seed in range(600):
        _, state = refreshed("random", torch.zeros(2, 5), torch.rand(2, 5, generator=generator(seed)) - 0.5)
        counts += state["mask/hidden0.weight"]
    free = counts[WEIGHT.abs() < 1]  # seven places for two connections: 171 each
    assert free.sum() == 1200 and free.min() > 130 and free.max() < 215


@pytest.mark.parametrize("grow", ["random", "gradient"])
def test_the_number_of_connections_never_changes(grow: str) -> None:
    learner = learn((DynamicSparsity(sparsity=0.5, moved=0.5, grow=grow, every=2),), "mlp", 2)  # type: ignore[arg-type]
    masks = [{name: mask.clone() for name, mask in learner.states[0].items() if name.startswith("mask/")}]
    for count, batch in enumerate(batches("mlp", 2, 6), start=1):
        learner.update(RATE, batch)
        masks.append({name: mask.clone() for name, mask in learner.states[0].items() if name.startswith("mask/")})
        for name, mask in masks[-1].items():
            weight = learner.net.params[name.removeprefix("mask/")]
            assert not weight[mask == 0].any() and torch.equal(mask.flatten(1).sum(1), masks[0][name].flatten(1).sum(1))
            assert torch.equal(mask, masks[-2][name]) != (count % 2 == 0)


def test_growth_from_zero_is_refused_where_zero_has_no_gradient() -> None:
    with pytest.raises(UsageError, match="grows weights from 0, where powerprop gives those of hidden0 no gradient; take grow=random"):
        assemble(MLP(), Adam(), (Powerprop(), DynamicSparsity()), (5,), 2)
    assemble(MLP(), Adam(), (Powerprop(), DynamicSparsity(grow="random")), (5,), 2)
