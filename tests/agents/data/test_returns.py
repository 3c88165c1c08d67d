"""Returns and advantages of rollouts, against their papers' defining sums, step by step."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from agents.data.returns import advantages, lambda_returns, vtrace

STEPS, COLUMNS, DISCOUNT = 40, 8, 0.9
Values = list[float]


class Column(NamedTuple):
    """One environment's data: its steps in order, and one value more."""

    rewards: Values
    discounts: Values
    continues: Values
    values: Values
    log_ratios: Values
    real: list[bool]

    def ahead(self, t: int) -> range:
        """The same episode's steps from `t` on, within the rollout."""
        last = len(self.rewards) - 1
        return range(t, next((at for at in range(t, last) if not self.continues[at]), last) + 1)


def columns(seed: int) -> list[Column]:
    """Random rollouts: episodes terminate or are cut, and the next step resets, whatever the action."""
    draw, found = np.random.default_rng(seed), []
    for _ in range(COLUMNS):
        rewards, log_ratios = draw.normal(size=(2, STEPS))
        values = draw.normal(size=STEPS + 1)
        discounts, continues, real = np.full(STEPS, DISCOUNT), np.ones(STEPS), np.ones(STEPS, bool)
        for t in range(STEPS):
            if t and not continues[t - 1]:
                real[t], rewards[t] = False, 0.0
            elif draw.random() < 0.25:
                continues[t] = 0.0
                discounts[t] = DISCOUNT * (draw.random() < 0.5)
        found.append(Column(*(each.tolist() for each in (rewards, discounts, continues, values, log_ratios)), real=real.tolist()))
    return found


def stacked(found: list[Column]) -> dict[str, torch.Tensor]:
    """(T, B) of each field, double precision."""
    return {name: torch.tensor([getattr(each, name) for each in found], dtype=torch.float64).T for name in Column._fields}


def product(numbers: Values) -> float:
    return float(np.prod(numbers))


def n_step(each: Column, t: int, last: int) -> float:
    """The discounted rewards of the steps `t` to `last`, and the value after them."""
    rewards = sum(product(each.discounts[t:at]) * each.rewards[at] for at in range(t, last + 1))
    return rewards + product(each.discounts[t : last + 1]) * each.values[last + 1]


def error(each: Column, t: int) -> float:
    return each.rewards[t] + each.discounts[t] * each.values[t + 1] - each.values[t]


def lambda_return(each: Column, t: int, decay: float) -> float:
    """Sutton & Barto 2018, equation 12.3: a weighted mean of n-step returns; the longest gets the remaining weight."""
    *others, longest = each.ahead(t)
    weighted = sum((1 - decay) * decay ** (at - t) * n_step(each, t, at) for at in others)
    return weighted + decay ** (longest - t) * n_step(each, t, longest)


def advantage(each: Column, t: int, decay: float) -> float:
    """Schulman et al. 2016, equation 16: a sum of temporal-difference errors."""
    return sum(decay ** (at - t) * product(each.discounts[t:at]) * error(each, at) for at in each.ahead(t))


def vtrace_target(each: Column, t: int, clip_rho: float, clip_c: float) -> float:
    """Espeholt et al. 2018, equation 1."""
    ratios = np.exp(each.log_ratios).tolist()
    rho, c = ([min(clip, ratio) for ratio in ratios] for clip in (clip_rho, clip_c))
    return each.values[t] + sum(product(each.discounts[t:at]) * product(c[t:at]) * rho[at] * error(each, at) for at in each.ahead(t))


def vtrace_advantage(each: Column, t: int, clip_rho: float, clip_c: float) -> float:
    """Section 4.2: the next state's target if the episode continues, else its value."""
    goes_on = len(each.ahead(t)) > 1
    after = vtrace_target(each, t + 1, clip_rho, clip_c) if goes_on else each.values[t + 1]
    rho = min(clip_rho, float(np.exp(each.log_ratios[t])))
    return rho * (each.rewards[t] + each.discounts[t] * after - each.values[t])


def assert_is(found: torch.Tensor, definition, these: list[Column], *settings: float) -> None:
    """Every step whose action had an effect."""
    compared = 0
    for column, each in enumerate(these):
        for t in range(STEPS):
            if each.real[t]:
                assert found[t, column].item() == pytest.approx(definition(each, t, *settings), abs=1e-10)
                compared += 1
    assert compared > STEPS * COLUMNS / 2


Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def steps(x: dict[str, torch.Tensor]) -> Three:
    return x["rewards"], x["discounts"], x["continues"]


def around(x: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The values of the observations before each step and after it."""
    return x["values"][:-1], x["values"][1:]


@pytest.mark.parametrize("decay", [0.0, 0.65, 1.0])
def test_lambda_returns_are_weighted_means_of_n_step_returns(decay: float) -> None:
    these = columns(0)
    x = stacked(these)
    found = lambda_returns(*steps(x), x["values"][1:], decay)
    assert_is(found, lambda_return, these, decay)


@pytest.mark.parametrize("decay", [0.0, 0.95, 1.0])
def test_advantages_are_sums_of_temporal_difference_errors(decay: float) -> None:
    these = columns(1)
    x = stacked(these)
    found = advantages(*steps(x), *around(x), decay)
    assert_is(found, advantage, these, decay)


@pytest.mark.parametrize("clips", [(1.0, 1.0), (0.7, 1.3), (2.0, 0.5)])
def test_vtrace_is_the_papers_sum_of_corrected_errors(clips: tuple[float, float]) -> None:
    these = columns(2)
    x = stacked(these)
    targets, gains = vtrace(x["log_ratios"], *steps(x), *around(x), *clips)
    assert_is(targets, vtrace_target, these, *clips)
    assert_is(gains, vtrace_advantage, these, *clips)


def test_vtrace_of_the_policy_that_acted_is_lambda_1() -> None:
    x = stacked(columns(3))
    targets, gains = vtrace(torch.zeros(STEPS, COLUMNS, dtype=torch.float64), *steps(x), *around(x))
    torch.testing.assert_close(targets, lambda_returns(*steps(x), x["values"][1:], 1.0))
    real = x["real"] > 0
    torch.testing.assert_close(gains[real], advantages(*steps(x), *around(x), 1.0)[real])


def test_a_step_that_only_resets_an_environment_touches_no_other() -> None:
    x = stacked(columns(4))
    real = x["real"] > 0
    other = x | {name: torch.where(real, x[name], 77.0) for name in ("rewards", "log_ratios")}

    def everything(x: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        found = lambda_returns(*steps(x), x["values"][1:], 0.7), advantages(*steps(x), *around(x), 0.7)
        return [*found, *vtrace(x["log_ratios"], *steps(x), *around(x))]

    for one, two in zip(everything(x), everything(other), strict=True):
        assert torch.equal(one[real], two[real]) and not torch.equal(one, two)


def test_by_hand() -> None:
    rewards, values = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([5.0, 6.0, 7.0, 8.0, 9.0])
    half, ones = torch.full((4,), 0.5), torch.ones(4)
    terminated, cut = torch.tensor([0.5, 0.0, 0.5, 0.5]), torch.tensor([1.0, 0.0, 1.0, 1.0])  # at the second step
    # one step at a time: 1 + 6 / 2, 2 + 7 / 2, 3 + 8 / 2, 4 + 9 / 2
    assert lambda_returns(rewards, half, ones, values[1:], 0.0).tolist() == [4, 5.5, 7, 8.5]
    assert advantages(rewards, half, ones, values[:-1], values[1:], 0.0).tolist() == [4 - 5, 5.5 - 6, 7 - 7, 8.5 - 8]
    # to the end: 4 + 4.5 = 8.5, 3 + 4.25 = 7.25, 2 + 3.625 = 5.625, 1 + 2.8125 = 3.8125
    assert lambda_returns(rewards, half, ones, values[1:], 1.0).tolist() == [3.8125, 5.625, 7.25, 8.5]
    assert advantages(rewards, half, ones, values[:-1], values[1:], 1.0).tolist() == [3.8125 - 5, 5.625 - 6, 7.25 - 7, 8.5 - 8]
    # the episode terminates after the reward of 2, or is cut in a state worth 7
    assert lambda_returns(rewards, terminated, cut, values[1:], 1.0).tolist() == [2, 2, 7.25, 8.5]
    assert lambda_returns(rewards, half, cut, values[1:], 1.0).tolist() == [1 + 5.5 / 2, 5.5, 7.25, 8.5]
    # twice as likely now, clipped to 1; half as likely: rho = c = 1/2 in the first step
    logs = torch.tensor([0.5, 2.0, 1.0, 1.0]).log()
    targets, gains = vtrace(logs, rewards, half, cut, values[:-1], values[1:])
    assert targets.tolist() == pytest.approx([5 + 0.5 * (-1) + 0.5 * 0.5 * (-0.5), 5.5, 7.25, 8.5])
    assert gains.tolist() == pytest.approx([0.5 * (1 + 5.5 / 2 - 5), 5.5 - 6, 3 + 8.5 / 2 - 7, 8.5 - 8])
