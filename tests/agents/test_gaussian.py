"""Gaussian policies: densities, entropies and squashed samples, against torch.distributions and numerical integration."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from agents.gaussian import LOG_STDS, bounded, entropy, explored, log_density, squashed
from agents.policies import Gaussian
from tests.learners import generator

STATES, NUMBERS = 7, 3


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_densities_and_entropies_are_those_of_torch() -> None:
    means, log_stds, actions = drawn(0, STATES, NUMBERS), drawn(1, STATES, NUMBERS), drawn(2, STATES, NUMBERS)
    theirs = Independent(Normal(means, log_stds.exp()), 1)
    torch.testing.assert_close(log_density(actions, means, log_stds), theirs.log_prob(actions))
    torch.testing.assert_close(entropy(log_stds), theirs.entropy())


def test_deviations_that_all_states_share() -> None:
    means, log_stds, normal = drawn(0, STATES, NUMBERS), drawn(1, NUMBERS), drawn(2, STATES, NUMBERS)
    policy, theirs = Gaussian(means, log_stds), Independent(Normal(means, log_stds.exp().expand_as(means)), 1)
    actions = policy.sample({"normal": normal})
    torch.testing.assert_close(actions, means + normal * log_stds.exp())
    torch.testing.assert_close(policy.log_probability(actions), theirs.log_prob(actions))
    torch.testing.assert_close(policy.entropy, theirs.entropy())


def test_squashed_densities_are_those_of_torch() -> None:
    means, log_stds, normal = drawn(0, STATES, NUMBERS), 0.5 * drawn(1, STATES, NUMBERS) - 1, drawn(2, STATES, NUMBERS)
    actions, densities = squashed(means, log_stds, normal)
    theirs = Independent(TransformedDistribution(Normal(means, log_stds.exp()), TanhTransform(cache_size=1)), 1)
    raw = means + log_stds.exp() * normal
    torch.testing.assert_close(actions, raw.tanh())
    torch.testing.assert_close(densities, theirs.log_prob(actions))


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.5), (-1.2, 0.5)])
def test_a_squashed_density_integrates_to_one(mean: float, log_std: float) -> None:
    """Over actions in (-1, 1), by the trapezoidal rule on a grid whose raw actions are equally spaced."""
    raw = torch.linspace(-15, 15, 20_001, dtype=torch.float64)
    normal = (raw[:, None] - mean) / math.exp(log_std)
    actions, densities = squashed(torch.full_like(normal, mean), torch.full_like(normal, log_std), normal)
    assert torch.trapezoid(densities.exp(), actions[:, 0]).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("raw", [30.0, -30.0])
def test_far_from_zero_values_and_gradients_are_finite_and_right(raw: float) -> None:
    """The density's logarithm grows by 2 per unit of |u|, as 1 - tanh(u)^2 falls like 4 exp(-2 |u|); a sampled u moves with its mean."""
    mean, log_std = torch.tensor([raw], requires_grad=True), torch.zeros(1, requires_grad=True)
    action, density = squashed(mean, log_std, torch.zeros(1))
    assert action.item() == math.copysign(1, raw)
    assert density.item() == pytest.approx(-0.5 * math.log(2 * math.pi) - math.log(4) + 60, rel=1e-6)
    density.backward()
    assert mean.grad is not None and mean.grad.item() == pytest.approx(math.copysign(2, raw), rel=1e-6)
    assert log_std.grad is not None and log_std.grad.item() == pytest.approx(-1, rel=1e-6)


def test_gradients_of_samples_are_those_of_torch() -> None:
    normal = drawn(2, STATES, NUMBERS)
    given = [(drawn(0, STATES, NUMBERS).requires_grad_(), (drawn(1, STATES, NUMBERS) - 1).requires_grad_()) for _ in range(2)]
    (means, log_stds), (their_means, their_log_stds) = given
    actions, densities = squashed(means, log_stds, normal)
    (actions.sum() + densities.square().sum()).backward()
    theirs = Independent(TransformedDistribution(Normal(their_means, their_log_stds.exp()), TanhTransform(cache_size=1)), 1)
    sampled = (their_means + their_log_stds.exp() * normal).tanh()
    (sampled.sum() + theirs.log_prob(sampled).square().sum()).backward()
    torch.testing.assert_close(means.grad, their_means.grad)
    torch.testing.assert_close(log_stds.grad, their_log_stds.grad)


def test_the_smallest_deviation_rounds_no_density() -> None:
    """In float32, u - mean is a multiple of 6e-8, thirty deviations of 2e-9."""
    normal = torch.tensor([[0.5, -1.0]])
    density = squashed(torch.full((1, 2), 0.7), torch.full((1, 2), LOG_STDS[0]), normal)[1].item()
    by_hand = sum(-0.5 * z**2 + 20 - 0.5 * math.log(2 * math.pi) - math.log(1 - math.tanh(0.7) ** 2) for z in (0.5, -1.0))
    assert density == pytest.approx(by_hand, rel=1e-6)


def test_log_deviations_are_bounded() -> None:
    assert bounded(torch.tensor([-50.0, -1.0, 1.0, 50.0])).tolist() == [-20.0, -1.0, 1.0, 2.0]


def test_with_probability_epsilon_an_action_is_random() -> None:
    actions = torch.full((3, 2), 0.25)
    uniform = torch.tensor([[0.29, 0.0, 0.75], [0.3, 0.0, 0.0], [0.31, 0.9, 0.9]])
    found = explored(actions, uniform, torch.tensor(0.3))
    assert found.tolist() == [[-1.0, 0.5], [0.25, 0.25], [0.25, 0.25]]
    assert torch.equal(explored(actions, uniform, torch.tensor(0.0)), actions)
