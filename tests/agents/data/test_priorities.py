"""Sampling in proportion to priorities, alone and in the replay, against the exact distributions."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from agents.data.priorities import Priorities
from agents.data.replay import Replay
from agents.data.transitions import StepType
from tests.agents.data.test_replay import MEMBERS, NUM_ENVS, play

DRAWS = 200_000
ALMOST_ONE = 1 - 2**-24  # the largest number below 1 that is drawn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(values: torch.Tensor) -> Priorities:
    found = Priorities(len(values), values.shape[1], "cpu")
    found.write(torch.arange(values.shape[1]).expand(values.shape), values)
    return found


def counts(index: torch.Tensor, of: int) -> np.ndarray:
    return np.bincount(index.numpy(), minlength=of)


@pytest.mark.parametrize("count", [1, 2, 100, 1003])  # the last ends mid-block
def test_draws_are_in_proportion_to_priorities(count: int) -> None:
    values = torch.rand(2, count, generator=generator()) ** 3
    values[:, 1::3] = 0
    drawn = filled(values).draw(torch.rand(2, DRAWS, generator=generator(1)))
    for member in range(2):
        found, expected = counts(drawn[member], count), (values[member] / values[member].sum()).double().numpy()
        assert not found[expected == 0].any()
        likely = expected * DRAWS > 5  # where the test is valid; all others form one class
        if likely.sum() > 1:
            pooled = [np.append(each[likely], each[~likely].sum() + 1e-9) for each in (found, expected / expected.sum() * DRAWS)]
            assert chisquare(pooled[0], pooled[1], sum_check=False).pvalue > 0.001


def test_what_has_no_priority_is_not_drawn_however_numbers_are_rounded() -> None:
    draw = generator()
    for trial in range(60):
        count = int(torch.randint(1, 2000, (), generator=draw))
        values = 10 ** (torch.rand(1, count, generator=draw) * 10 - 5)
        values *= torch.rand(1, count, generator=draw) < (0.5, 0.05, 0.002)[trial % 3]
        if not values.any():
            values[0, count // 2] = 1e-5
        edges = (values.cumsum(-1) / values.sum()).clamp(max=ALMOST_ONE)  # where rounding decides
        uniform = torch.cat([edges, torch.nextafter(edges, torch.zeros(1)), torch.tensor([[0.0, 1e-30, ALMOST_ONE]])], 1)
        drawn = filled(values).draw(uniform)
        assert (values.gather(1, drawn.clamp(max=count - 1)) > 0).all() and (drawn < count).all()


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 100), (3, 31), (20, 20), (95, 103)])
def test_a_row_is_written_as_by_its_index(start: int, stop: int) -> None:
    values, new = torch.rand(2, 103, generator=generator()), torch.rand(2, stop - start, generator=generator(1))
    by_index, row = filled(values), filled(values)
    by_index.write(torch.arange(start, stop).expand(2, -1), new)
    row.write_row(start, stop, new)
    assert row.values.equal(by_index.values) and row._sums.equal(by_index._sums)
    row.write_row(start, stop, 0.0)
    assert row.values[:, start:stop].eq(0).all() and torch.allclose(row.total[:, 0], row.values.sum(-1))


def test_a_draw_is_where_the_running_sum_passes_the_number() -> None:
    priorities = filled(torch.tensor([[1.0, 0.0, 2.0, 0.0, 5.0]]))  # sums 1, 1, 3, 3, 8
    uniform = torch.tensor([[0.0, 0.124, 0.125, 0.374, 0.375, 0.99]])
    assert priorities.draw(uniform).tolist() == [[0, 0, 2, 2, 4, 4]]
    assert priorities.probability(torch.tensor([[0, 1, 2, 4]])).tolist() == [[1 / 8, 0, 2 / 8, 5 / 8]]


def test_sums_of_blocks_are_whole_sums_after_thousands_of_writes() -> None:
    draw, priorities, plain = generator(), Priorities(2, 130, "cpu"), np.zeros((2, 130))
    for _ in range(3000):
        index = torch.randint(130, (2, 9), generator=draw)
        values = torch.rand(2, 9, generator=draw) * (torch.rand(2, 9, generator=draw) < 0.7)
        values = values[:, :1].expand(2, 9) if index.unique().numel() < 18 else values  # any repeated one may win
        priorities.write(index, values)
        for member in range(2):
            plain[member, index[member].numpy()] = values[member].numpy()
    np.testing.assert_array_equal(priorities.values[:, :130].numpy(), plain.astype(np.float32))
    np.testing.assert_allclose(priorities.total[:, 0].numpy(), plain.sum(1), rtol=1e-6)
    other = Priorities(2, 130, "cpu")
    other.load(priorities.values)
    uniform = torch.rand(2, 500, generator=draw)
    assert torch.equal(other.draw(uniform), priorities.draw(uniform))
    priorities.clear()
    assert priorities.total.tolist() == [[0], [0]] and not priorities.values.any()


def test_a_repeated_index_takes_one_of_its_values() -> None:
    priorities = filled(torch.zeros(1, 10))
    priorities.write(torch.tensor([[3, 3, 3, 4]]), torch.tensor([[1.0, 2.0, 4.0, 8.0]]))
    won = priorities.values[0, 3].item()
    assert won in (1, 2, 4) and priorities.total.item() == won + 8


def test_members_do_not_share_priorities() -> None:
    priorities = filled(torch.stack([torch.eye(20)[3], torch.eye(20)[17]]))
    uniform = torch.rand(2, 50, generator=generator())
    assert priorities.draw(uniform).unique(dim=1).tolist() == [[3], [17]]
    priorities.write(torch.tensor([[3], [0]]), torch.tensor([[5.0], [0.0]]))
    assert priorities.total.tolist() == [[5], [1]]


def alive(replay: Replay) -> torch.Tensor:
    """(S, N): the indices of all transitions, equally many in each member."""
    return torch.stack([row.nonzero()[:, 0] for row in replay.real.values])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_replays_draws_is_uniform_and_the_rest_follows_priorities(share: float) -> None:
    replay, _, _ = play(60, 47, prioritised=True)
    index = alive(replay)
    priorities = torch.rand(index.shape, generator=generator()) ** 0.5
    replay.prioritise(index, priorities)
    drawn = replay.sample(torch.rand(MEMBERS, DRAWS, 2, generator=generator(1)), 1, 0.9, share, 1.0)[1]
    for member in range(MEMBERS):
        p = priorities[member].double().numpy()
        expected = (1 - share) * p / p.sum() + share / len(p)
        found = counts(drawn[member], replay.rows * NUM_ENVS)
        assert found.sum() == found[index[member].numpy()].sum()
        assert chisquare(found[index[member].numpy()], expected * DRAWS).pvalue > 0.001


def line(rows: int, priorities: list[float], stack: int = 1) -> Replay:
    """One member, one environment: an unfinished episode with a transition for each priority."""
    replay = Replay(1, 1, rows, (1,), "float32", stack, True, "cpu")
    for at in range(len(priorities)):
        step(replay, at)
    write(replay, len(priorities))
    replay.prioritise(torch.arange(len(priorities))[None], torch.tensor([priorities]))
    return replay


def write(replay: Replay, at: int) -> None:
    zero = torch.zeros(1, 1, dtype=torch.int64)
    replay.write_frames(torch.full((1, 1, 1), float(at)), zero + min(at, replay.frames.stack - 1), zero, 0)


def step(replay: Replay, at: int) -> None:
    write(replay, at)
    replay.write_outcome(torch.full((1, 1), float(at)), torch.full((1, 1), StepType.CONTINUES), torch.ones(1, 1, dtype=torch.bool))


def test_importance_weights_by_hand() -> None:
    replay = line(10, [1.0, 1.0, 2.0, 4.0])
    uniform = torch.tensor([[[0.9, 0.05], [0.9, 0.2], [0.9, 0.3], [0.9, 0.8]]])
    batch, index = replay.sample(uniform, 1, 0.9, share=0.0, correction=0.5)  # P = 1/8, 1/8, 1/4, 1/2; (4 P)^-1/2 = 2^1/2, 2^1/2, 1, 2^-1/2
    assert index.tolist() == [[0, 1, 2, 3]]
    assert batch["weights"][0].tolist() == pytest.approx([1, 1, 0.5**0.5, 0.5])
    batch, index = replay.sample(uniform, 1, 0.9, share=0.5, correction=1.0)  # P = 3/16, 3/16, 4/16, 6/16; the largest is of P = 3/16
    assert batch["weights"][0].tolist() == pytest.approx([1, 1, 3 / 4, 3 / 6])
    assert replay.sample(uniform, 1, 0.9, share=0.5, correction=0.0)[0]["weights"].tolist() == [[1, 1, 1, 1]]
    low = uniform * torch.tensor([0.1, 1.0])  # all of them uniform draws, but the weights do not reflect it
    batch, index = replay.sample(low, 1, 0.9, share=0.5, correction=1.0)
    assert index.tolist() == [[0, 0, 1, 3]] and batch["weights"][0].tolist() == pytest.approx([1, 1, 1, 0.5])


def test_where_no_transition_has_a_priority_draws_are_uniform() -> None:
    replay = line(10, [0.0, 0.0, 0.0, 0.0])
    uniform = torch.tensor([[[0.9, 0.1], [0.9, 0.3], [0.9, 0.6], [0.9, 0.9]]])
    batch, index = replay.sample(uniform, 1, 0.9, share=0.001, correction=0.5)
    assert index.tolist() == [[0, 1, 2, 3]] and batch["weights"].tolist() == [[1, 1, 1, 1]]


def test_new_transitions_come_in_with_the_highest_priority_so_far() -> None:
    replay = line(20, [0.5, 0.25])
    assert replay.priorities is not None
    assert replay.priorities.values[0, :3].tolist() == [0.5, 0.25, 0]  # the newest has no outcome yet
    for highest, given in ((1.0, 7.0), (7.0, 3.0), (7.0, 0.0)):  # 1 before any loss is known
        replay.write_outcome(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))
        newest = replay.written - 1
        assert replay.priorities.values[0, newest].item() == highest
        replay.prioritise(torch.tensor([[newest]]), torch.tensor([[given]]))
        assert replay.priorities.values[0, newest].item() == given
        write(replay, newest + 1)
    replay.clear()
    step(replay, 0)
    assert replay.priorities.values[0, 0].item() == 1.0


def test_a_priority_never_brings_back_what_is_overwritten() -> None:
    replay = line(12, [1.0] * 11, stack=4)
    everything = torch.arange(12)[None]
    assert alive(replay).tolist() == [[3, 4, 5, 6, 7, 8, 9, 10]]  # the next row will be 0; stacks that end at 1 and 2 reach into it
    for at in range(12, 30):
        replay.write_outcome(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))
        write(replay, at)
        replay.prioritise(everything, torch.full((1, 12), 50.0))
        gone = {(at + ahead) % 12 for ahead in range(4)}
        assert set(alive(replay)[0].tolist()) == set(range(12)) - gone
        drawn, index = replay.sample(torch.rand(1, 400, 2, generator=generator(at)), 1, 0.9, share=0.5)
        assert set(index[0].tolist()) == set(range(12)) - gone
        stacks = drawn["inputs"][0, :, :, 0]
        assert (stacks.diff() == 1).all() and stacks.min() == at - 11  # whole, one with the oldest frame of all


def test_a_replay_of_a_million_steps_of_atari_takes_7_gigabytes() -> None:
    replay = Replay(1, 8, 1_000_000, (84, 84), "uint8", 4, True, "meta")
    assert replay.priorities is not None
    tensors = [*replay.data.values(), replay.real.values, replay.real._sums, replay.priorities.values, replay.priorities._sums]
    assert 1e6 * 84 * 84 < sum(tensor.numel() * tensor.element_size() for tensor in tensors) < 7.2e9
