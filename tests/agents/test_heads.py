"""Network outputs for action values: projections and losses by hand, and against the papers' loops over single numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents.dqn import DQN
from agents.heads import Categorical, Quantiles, Scalar
from envs.reinforcement.backends.spaces import Discrete
from plasticity_rl.networks.layers import Params
from plasticity_rl.networks.network import Network
from plasticity_rl.networks.specs import MLP

BENCHMARK = SimpleNamespace(action_space=Discrete(2), heads="shared", names=("only",))
FIVE = Categorical(5, 2.0, whole=True)  # atoms at -2, -1, 0, 1, 2


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def softmax(numbers: np.ndarray) -> np.ndarray:
    powers = np.exp(numbers - numbers.max())
    return powers / powers.sum()


def algorithm_1(probabilities: np.ndarray, reward: float, discount: float, v_max: float) -> np.ndarray:
    """Bellemare et al. 2017, algorithm 1: the target's probabilities, one atom at a time."""
    atoms = len(probabilities)
    width, projected = 2 * v_max / (atoms - 1), np.zeros(atoms)
    for j, probability in enumerate(probabilities):
        place = min(max(reward + discount * (-v_max + j * width), -v_max), v_max)
        b = (place + v_max) / width
        lower, upper = int(np.floor(b + 1e-9)), int(np.ceil(b - 1e-9))
        if lower == upper:  # the paper's loop loses this mass
            projected[lower] += probability
        else:
            projected[lower] += probability * (upper - b)
            projected[upper] += probability * (b - lower)
    return projected


def quantile_huber(chosen: np.ndarray, fractions: np.ndarray, goals: np.ndarray) -> float:
    """Dabney et al. 2018, equation 3, with kappa = 1."""
    total = 0.0
    for quantile, fraction in zip(chosen, fractions, strict=True):
        for goal in goals:
            error = goal - quantile
            huber = error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5
            total += abs(fraction - (error < 0)) * huber / len(goals)
    return total


def test_a_probability_between_two_atoms_is_shared_by_nearness() -> None:
    places = torch.tensor([[0.25, -7.0, 9.0, 1.0], [-1.5, 2.0, -2.0, 0.0]])
    probabilities = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    found = FIVE.project(places, probabilities)
    by_hand = [
        [0.3, 0, 0.3, 0.1 + 0.1, 0.2],  # a quarter of 0.4 goes to 1, the rest to 0; mass outside goes to the ends
        [0.05 + 0.3, 0.05, 0.4, 0, 0.2],
    ]
    for row, expected in zip(found.tolist(), by_hand, strict=True):
        assert row == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("atoms", "v_max"), [(51, 10.0), (2, 1.0), (21, 0.3)])
def test_no_probability_is_lost(atoms: int, v_max: float) -> None:
    head = Categorical(atoms, v_max, whole=True)
    places = torch.cat([draw(50, atoms) * v_max, head.atoms(draw(1)).expand(50, atoms)])
    found = head.project(places, draw(100, atoms, seed=1).softmax(-1))
    torch.testing.assert_close(found.sum(-1), torch.ones(100))
    assert (found >= 0).all()


def test_c51_is_algorithm_1_and_cross_entropy() -> None:
    head, chosen, after = Categorical(21, 10.0, whole=True), draw(64, 21), draw(64, 21, seed=1) * 3
    returns = torch.cat([draw(48, seed=2) * 4, torch.arange(16.0) - 8])  # the last are on atoms
    discounts = torch.cat([torch.full((40,), 0.99), torch.zeros(12), torch.ones(12)])
    losses = head.losses(chosen, after, returns, discounts, None)
    for example in range(64):
        goal = algorithm_1(softmax(after[example].double().numpy()), returns[example].item(), discounts[example].item(), 10.0)
        expected = -(goal * np.log(softmax(chosen[example].double().numpy()))).sum()
        assert losses[example].item() == pytest.approx(expected, rel=1e-4)


def test_the_mean_of_two_hot_probabilities_is_the_number_they_stand_for() -> None:
    head = Categorical(51, 10.0, whole=False)
    numbers = torch.cat([draw(200) * 4, torch.tensor([-10.0, 10.0, 0.0, 0.4])]).clamp(-10, 10)
    probabilities = head.project(numbers[:, None], torch.ones(204, 1))
    assert ((probabilities > 1e-5).sum(-1) <= 2).all()
    torch.testing.assert_close(probabilities @ head.atoms(probabilities), numbers, rtol=0, atol=1e-4)
    outside = head.project(torch.tensor([[11.0], [-300.0]]), torch.ones(2, 1))
    assert (outside @ head.atoms(outside)).tolist() == pytest.approx([10, -10])


def test_two_hot_learns_the_targets_mean_alone() -> None:
    head, chosen, after = Categorical(5, 2.0, whole=False), draw(1, 5), torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0]])
    after[0, 4] = np.log(6)  # probabilities 0.1, 0.1, 0.1, 0.1, 0.6: a mean of 1 = 0.6 x 2 + 0.1 x (1 - 1 - 2)
    found = head.losses(chosen, after, torch.tensor([0.2]), torch.tensor([0.5]), None)  # 0.2 + 0.5: 0.7 of 1, 0.3 of 0
    logs = chosen[0].log_softmax(-1)
    assert found.item() == pytest.approx(-(0.3 * logs[2] + 0.7 * logs[3]).item(), rel=1e-5)


def test_quantiles_learn_by_the_quantile_huber_loss() -> None:
    chosen, after, returns = draw(6, 7, 1) * 2, draw(6, 5, 1, seed=1) * 2, draw(6, seed=2)
    discounts = torch.tensor([0.9, 0.9, 0.0, 1.0, 0.5, 0.9])
    fractions = torch.rand(6, 7, generator=torch.Generator().manual_seed(3))
    losses = Quantiles(7).losses(chosen, after, returns, discounts, fractions)
    for example in range(6):
        goals = returns[example].item() + discounts[example].item() * after[example, :, 0].numpy()
        expected = quantile_huber(chosen[example, :, 0].numpy(), fractions[example].numpy(), goals)
        assert losses[example].item() == pytest.approx(expected, rel=1e-5)


def test_expected_values_are_means() -> None:
    assert Scalar().expected(torch.tensor([[[3.0], [4.0]]])).tolist() == [[3, 4]]
    probabilities = torch.tensor([[0.5, 0.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.25, 0.75, 0.0]])
    assert FIVE.expected(probabilities.log().clamp(min=-1e9)[None])[0].tolist() == pytest.approx([0, 0.75])
    assert Quantiles(2).expected(torch.tensor([[[[1.0], [5.0]], [[3.0], [6.0]]]])).tolist() == [[2, 5.5]]  # (1, K, actions, 1)


def network(agent: DQN) -> Network:
    return Network(MLP(width=3, depth=1), (4,), agent.heads(BENCHMARK))


def test_of_dueling_streams_the_advantages_mean_is_subtracted() -> None:
    agent = DQN(dueling=True)
    params = {name: torch.zeros(shape) for name, shape in network(agent).shapes.items()}
    params["value.bias"], params["advantage.bias"] = torch.tensor([10.0]), torch.tensor([1.0, 4.0])
    assert agent.outputs(network(agent), params, torch.ones(1, 4), {}).tolist() == [[[8.5], [11.5]]]  # 10 + 1 - 2.5, 10 + 4 - 2.5
    params["advantage.weight"] = torch.ones(2, 3)  # the same for both actions: no difference
    params["hidden0_advantage.bias"] = torch.ones(3)
    assert agent.outputs(network(agent), params, torch.ones(1, 4), {}).tolist() == [[[8.5], [11.5]]]


def test_dueling_distributions_are_centred_atom_by_atom() -> None:
    agent = DQN(dueling=True, value="c51", num_atoms=3)
    params = {name: torch.zeros(shape) for name, shape in network(agent).shapes.items()}
    params["value.bias"] = torch.tensor([1.0, 2.0, 3.0])
    params["advantage.bias"] = torch.tensor([1.0, 0.0, 4.0, 3.0, 0.0, 0.0])
    assert agent.outputs(network(agent), params, torch.ones(1, 4), {}).tolist() == [[[0, 2, 5], [2, 2, 1]]]


def one(agent: DQN, params: Params, inputs: torch.Tensor) -> np.ndarray:
    """(actions, atoms) of one example, by plain products."""
    p = {name: param.double().numpy() for name, param in params.items()}
    x = inputs.double().numpy()
    if not agent.dueling:
        hidden = np.maximum(p["hidden0.weight"] @ x + p["hidden0.bias"], 0)
        return (p["head.weight"] @ hidden + p["head.bias"]).reshape(2, agent.num_atoms)
    value, advantage = (
        p[f"{name}.weight"] @ np.maximum(p[f"hidden0_{name}.weight"] @ x + p[f"hidden0_{name}.bias"], 0) + p[f"{name}.bias"]
        for name in ("value", "advantage")
    )
    advantage = advantage.reshape(2, agent.num_atoms)
    return value + advantage - advantage.mean(0)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_the_loss_of_c51_is_that_of_plain_loops(double: bool, dueling: bool) -> None:
    agent = DQN(value="c51", num_atoms=11, v_max=3.0, double=double, dueling=dueling)
    params, target = (network(agent).init(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    params, target = ({name: param * 3 for name, param in each.items()} for each in (params, target))
    batch = {
        "inputs": draw(16, 4),
        "next_inputs": draw(16, 4, seed=1),
        "actions": torch.arange(16) % 2,
        "returns": draw(16, seed=2),
        "discounts": torch.tensor([0.9, 0.9, 0.0, 0.5] * 4),
        "weights": torch.arange(1.0, 17.0) / 16,
        "task": torch.zeros(16, dtype=torch.int64),
    }
    loss, reported = agent.loss(network(agent), params, batch, target)
    atoms, losses, differ = np.linspace(-3, 3, 11), [], 0
    for example in range(16):
        after = one(agent, target, batch["next_inputs"][example])
        judge = one(agent, params, batch["next_inputs"][example]) if double else after
        best = int(np.argmax([softmax(each) @ atoms for each in judge]))
        differ += best != int(np.argmax([softmax(each) @ atoms for each in after]))
        goal = algorithm_1(softmax(after[best]), batch["returns"][example].item(), batch["discounts"][example].item(), 3.0)
        now = softmax(one(agent, params, batch["inputs"][example])[batch["actions"][example]])
        losses.append(-(goal * np.log(now)).sum())
    assert (differ > 0) == double
    assert reported["errors"].tolist() == pytest.approx(losses, rel=1e-4)
    assert loss.item() == pytest.approx(np.mean(np.array(losses) * batch["weights"].numpy()), rel=1e-4)


@pytest.mark.parametrize("double", [False, True])
def test_the_loss_of_iqn_is_that_of_plain_loops(double: bool) -> None:
    agent = DQN(value="iqn", fractions=6, double=double)
    net = network(agent)
    params, target = ({name: param * 3 for name, param in net.init(torch.Generator().manual_seed(seed)).items()} for seed in (0, 1))
    batch = {
        "inputs": draw(8, 4),
        "next_inputs": draw(8, 4, seed=1),
        "actions": torch.arange(8) % 2,
        "returns": draw(8, seed=2),
        "discounts": torch.tensor([0.9, 0.0] * 4),
        "weights": torch.ones(8),
        "task": torch.zeros(8, dtype=torch.int64),
        "fractions": torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(3)),
    }
    _, reported = agent.loss(net, params, batch, target)
    for example in range(8):

        def quantiles(params: Params, name: str, which: int, example: int = example) -> np.ndarray:
            given = batch["fractions"][which, example]
            return np.stack([net.apply(params, batch[name][None, example], fractions=each.view(1, 1))[0][0, 0].numpy() for each in given])

        after = quantiles(target, "next_inputs", 2)  # (K, actions)
        judge = quantiles(params, "next_inputs", 1) if double else after
        goals = batch["returns"][example].item() + batch["discounts"][example].item() * after[:, judge.mean(0).argmax()]
        now = quantiles(params, "inputs", 0)[:, batch["actions"][example]]
        expected = quantile_huber(now, batch["fractions"][0, example].numpy(), goals)
        assert reported["errors"][example].item() == pytest.approx(expected, rel=1e-4)
