"""Replay and actor, against plain loops over written-out episodes."""

import numpy as np
import pytest
import torch

from agents.acting.actor import Actor
from agents.data.replay import AgeDecay, Replay
from agents.data.transitions import StepType
from tests.training import Counting

MEMBERS, NUM_ENVS, STACK = 2, 3, 4
SAMPLES = 1_500  # some 250 transitions: each occurs


def play(
    capacity: int, steps: int, prioritised: bool = False, most_rows: int | None = None, aged: AgeDecay | None = None
) -> tuple[Replay, list[dict[str, np.ndarray]], Actor]:
    """A replay filled by an actor, and the same data written row by row."""
    pool = Counting(MEMBERS * NUM_ENVS)
    actor = Actor(lambda: pool, MEMBERS, STACK, "cpu")  # type: ignore[arg-type]
    replay = Replay(MEMBERS, NUM_ENVS, capacity, (1,), "float32", STACK, prioritised, "cpu", most_rows=most_rows, aged=aged)
    log = []
    for at in range(steps):
        actions = torch.full((MEMBERS, NUM_ENVS), at % 5)
        row = {"stack": actor.observations.numpy().copy(), "action": actions.numpy(), "task": np.full((MEMBERS, NUM_ENVS), at % 7)}
        actor.send(actions)
        replay.write_frames(actor.frames, actor.ages, actions, at % 7)
        step, _ = actor.receive()
        ends = np.where(step.terminated, StepType.TERMINATED, np.where(step.truncated, StepType.TRUNCATED, StepType.CONTINUES))
        shaped = [values.reshape(MEMBERS, NUM_ENVS) for values in (step.rewards, ends, ~step.first)]
        replay.write_outcome(*(torch.from_numpy(values) for values in shaped))
        log.append(row | dict(zip(("reward", "end", "real"), shaped, strict=True)))
    log.append({"stack": actor.observations.numpy().copy()})
    replay.write_frames(actor.frames, actor.ages, torch.zeros(MEMBERS, NUM_ENVS, dtype=torch.int64), 0)
    return replay, log, actor


def expected(
    log: list[dict[str, np.ndarray]], row: int, member: int, column: int, steps: int, discount: float
) -> tuple[float, float, np.ndarray]:
    """The n-step return, its bootstrap discount and the observation there, by a plain loop."""
    total, power, at = 0.0, 1.0, row
    for _ in range(steps):
        if at == len(log) - 1:
            break
        here = {name: values[member, column] for name, values in log[at].items()}
        total += power * here["reward"]
        power *= discount
        at += 1
        if here["end"] == StepType.TERMINATED:
            return total, 0.0, log[at]["stack"][member, column]
        if here["end"] == StepType.TRUNCATED:
            break
    return total, power, log[at]["stack"][member, column]


@pytest.mark.parametrize("prioritised", [False, True])
def test_memory_for_the_rows_that_are_written_gives_the_same_samples(prioritised: bool) -> None:
    whole, small = (play(10_000, 47, prioritised, most_rows)[0] for most_rows in (None, 48))
    assert small.rows == 48 + STACK and small.data["frames"].nbytes < whole.data["frames"].nbytes / 50
    uniform = torch.rand(MEMBERS, SAMPLES, 2, generator=torch.Generator().manual_seed(0))
    (batch, index), (other, same) = (each.sample(uniform, 3, 0.9, share=0.5, correction=0.4) for each in (whole, small))
    assert torch.equal(index, same) and all(torch.equal(batch[name], other[name]) for name in batch)


def test_an_empty_small_replay_gives_examples_without_weight() -> None:
    replay, _, _ = play(10_000, 5, most_rows=6)
    replay.clear()
    batch, _ = replay.sample(torch.rand(MEMBERS, 8, 2), 1, 0.9)
    assert not batch["weights"].any()


@pytest.mark.parametrize("prioritised", [False, True])
@pytest.mark.parametrize("capacity", [10_000, 60])  # the second wraps
@pytest.mark.parametrize("steps", [1, 3])
def test_samples_are_what_a_plain_loop_over_the_episodes_gives(capacity: int, steps: int, prioritised: bool) -> None:
    replay, log, _ = play(capacity, 47, prioritised)
    batch, _ = replay.sample(torch.rand(MEMBERS, SAMPLES, 2, generator=torch.Generator().manual_seed(0)), steps, 0.9, share=0.5)
    by_frame = {row["stack"][m, c, -1, 0]: (at, m, c) for at, row in enumerate(log) for m in range(MEMBERS) for c in range(NUM_ENVS)}
    seen = set()
    for member in range(MEMBERS):
        for slot in range(SAMPLES):
            stack = batch["inputs"][member, slot].numpy()
            row, owner, column = by_frame[stack[-1, 0]]
            seen.add((owner, column, row))
            assert owner == member and log[row]["real"][member, column]
            np.testing.assert_array_equal(stack, log[row]["stack"][member, column])  # the actor rolls, the replay indexes: the same
            total, power, after = expected(log, row, member, column, steps, 0.9)
            assert batch["returns"][member, slot] == pytest.approx(total, rel=1e-6)
            assert batch["discounts"][member, slot] == pytest.approx(power, rel=1e-6)
            assert batch["actions"][member, slot] == log[row]["action"][member, column]
            assert batch["task"][member, slot] == log[row]["task"][member, column]
            if power:
                np.testing.assert_array_equal(batch["next_inputs"][member, slot].numpy(), after)
    assert batch["weights"].all()
    rows = capacity // NUM_ENVS
    oldest = 48 - rows + STACK - 1 if rows < 48 else 0
    everything = {(m, c, at) for at in range(oldest, 47) for m in range(MEMBERS) for c in range(NUM_ENVS) if log[at]["real"][m, c]}
    assert seen == everything


def test_sampling_is_uniform_over_transitions() -> None:
    replay, log, _ = play(10_000, 40)
    batch, _ = replay.sample(torch.rand(MEMBERS, 60_000, 2, generator=torch.Generator().manual_seed(1)), 1, 0.9)
    for member in range(MEMBERS):
        counts = np.unique(batch["inputs"][member, :, -1, 0].numpy(), return_counts=True)[1]
        transitions = sum(int(row["real"][member].sum()) for row in log[:-1])
        assert len(counts) == transitions
        expectation = 60_000 / transitions
        chi_square = ((counts - expectation) ** 2 / expectation).sum()
        assert abs(chi_square - (transitions - 1)) < 4 * (2 * (transitions - 1)) ** 0.5  # four standard deviations


@pytest.mark.parametrize("prioritised", [False, True])
def test_a_row_without_a_transition_is_not_drawn_and_weighs_nothing_where_there_is_nothing_else(prioritised: bool) -> None:
    replay = Replay(1, 1, 100, (1,), "float32", 1, prioritised, "cpu")
    uniform = torch.tensor([[[0.1, 0.999], [0.9, 0.1], [0.9, 0.999999]]])
    nothing = torch.zeros(1, 1, dtype=torch.int64)

    def sample(real: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        replay.write_outcome(torch.full((1, 1), 1.0 + real), torch.full((1, 1), StepType.TERMINATED), torch.full((1, 1), real))
        replay.write_frames(torch.zeros(1, 1, 1), nothing, nothing, 0)
        return replay.sample(uniform, 1, 0.9, share=0.5, correction=1.0)

    replay.write_frames(torch.zeros(1, 1, 1), nothing, nothing, 0)
    assert sample(False)[0]["weights"].tolist() == [[0, 0, 0]]
    for real in (True, False):
        batch, index = sample(real)
        assert batch["weights"].tolist() == [[1, 1, 1]] and index.tolist() == [[1, 1, 1]]
        assert batch["returns"].tolist() == [[2, 2, 2]] and batch["discounts"].tolist() == [[0, 0, 0]]


def test_a_cut_bootstraps_and_never_crosses_into_the_next_pool() -> None:
    replay = Replay(1, 1, 100, (1,), "float32", 2, False, "cpu")

    def step(frame: float, age: int, reward: float) -> None:
        replay.write_frames(torch.full((1, 1, 1), frame), torch.tensor([[age]]), torch.zeros(1, 1, dtype=torch.int64), 0)
        replay.write_outcome(torch.full((1, 1), reward), torch.full((1, 1), StepType.CONTINUES), torch.ones(1, 1, dtype=torch.bool))

    step(10, 0, 1)
    step(11, 1, 2)
    replay.cut(torch.full((1, 1, 1), 12.0), torch.tensor([[1]]))  # the pool is replaced
    step(20, 0, 4)
    step(21, 1, 8)
    replay.write_frames(torch.full((1, 1, 1), 22.0), torch.tensor([[1]]), torch.zeros(1, 1, dtype=torch.int64), 0)
    places = torch.tensor([0.1, 0.3, 0.6, 0.9])  # a quarter each: rows 0, 1, 3 and 4, as 2 and 5 hold no transition
    batch, _ = replay.sample(torch.stack([torch.zeros(4), places], -1)[None], 3, 0.5)
    assert batch["inputs"][0, :, -1, 0].tolist() == [10, 11, 20, 21]
    assert batch["weights"].tolist() == [[1, 1, 1, 1]]
    assert batch["returns"].tolist() == [[1 + 0.5 * 2, 2, 4 + 0.5 * 8, 8]]
    assert batch["discounts"].tolist() == [[0.25, 0.5, 0.25, 0.5]]
    assert batch["next_inputs"][0, :, :, 0].tolist() == [[11, 12], [11, 12], [21, 22], [21, 22]]


def test_a_clearing_in_mid_episode_leaves_no_stack_that_reaches_behind_it() -> None:
    replay = play(10_000, 9)[0]
    replay.clear()
    replay.data["frames"].fill_(-1)
    nothing = torch.zeros(MEMBERS, NUM_ENVS)
    replay.write_outcome(nothing, nothing.long(), nothing.bool())  # the overwritten row's
    for at in range(1, 5):
        frames = torch.full((MEMBERS, NUM_ENVS, 1), float(at))
        replay.write_frames(frames, torch.full((MEMBERS, NUM_ENVS), STACK - 1), nothing.long(), 0)
        replay.write_outcome(nothing, nothing.long() + StepType.CONTINUES, ~nothing.bool())
    stacks = replay.frames.observations(torch.arange(4).expand(MEMBERS, 4), torch.zeros(MEMBERS, 4, dtype=torch.int64))
    assert stacks[0, :, :, 0].tolist() == [[1, 1, 1, 1], [1, 1, 1, 2], [1, 1, 2, 3], [1, 2, 3, 4]]


@pytest.mark.parametrize("prioritised", [False, True])
def test_what_is_saved_is_what_another_replay_goes_on_with(prioritised: bool) -> None:
    replay, _, _ = play(60, 47, prioritised)
    drawn = replay.sample(torch.rand(MEMBERS, 50, 2), 3, 0.9)[1]
    replay.prioritise(drawn, torch.rand(drawn.shape) * 5)
    other = Replay(MEMBERS, NUM_ENVS, 60, (1,), "float32", STACK, prioritised, "cpu")
    other.load({name: tensor.clone() for name, tensor in replay.tensors().items()}, replay.written)
    for each in (replay, other):  # new steps enter with the same priority
        nothing = torch.zeros(MEMBERS, NUM_ENVS, dtype=torch.int64)
        each.write_frames(torch.zeros(MEMBERS, NUM_ENVS, 1), nothing, nothing, 0)
        each.write_outcome(nothing.float(), nothing, nothing == 0)
    uniform = torch.rand(MEMBERS, 50, 2)
    before = replay.sample(uniform, 3, 0.9, 0.1, 0.7)[0]
    for name, values in other.sample(uniform, 3, 0.9, 0.1, 0.7)[0].items():
        torch.testing.assert_close(values, before[name], rtol=0, atol=0)
    replay.clear()
    assert replay.size == 0 and not replay.real.values.any()


def test_the_actor_scores_whole_episodes() -> None:
    pool = Counting(MEMBERS * NUM_ENVS)
    actor = Actor(lambda: pool, MEMBERS, STACK, "cpu")  # type: ignore[arg-type]
    scores: dict[int, list[float]] = {member: [] for member in range(MEMBERS)}
    for _ in range(9):
        actor.send(torch.zeros(MEMBERS, NUM_ENVS, dtype=torch.int64))
        for episode in actor.receive()[1]:
            scores[episode.member].append(episode.score)
    # environment e's episode takes 4 + e % 5 steps and pays 1, 2, 3, ...; the step after it pays nothing and counts on
    assert scores[0] == [1 + 2 + 3 + 4, 1 + 2 + 3 + 4 + 5, 1 + 2 + 3 + 4 + 5 + 6, 6 + 7 + 8 + 9]
    assert scores[1] == [1 + 2 + 3 + 4, sum(range(1, 8)), sum(range(1, 9)), 6 + 7 + 8 + 9]
    assert [episode.member for episode in actor.close()] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("capacity", "steps"), [(1_000, 20), (60, 47)])
def test_draws_by_age_have_the_probabilities_of_sample_weight_decay(capacity: int, steps: int) -> None:
    replay, log, _ = play(capacity, steps, aged=AgeDecay(30, 0.25))
    replay.sample(torch.rand(MEMBERS, 4, 2), 1, 0.9, by_age=True)
    weights = replay._by_age().values
    newest = len(log) - 1
    for member in range(MEMBERS):
        expected_weights = [0.0] * weights.shape[1]
        for row in range(max(newest - replay.rows + STACK, 0), newest):  # the oldest rows' stacks reach into overwritten ones
            for column in range(NUM_ENVS):
                if log[row]["real"][member, column]:
                    age = (newest - row) * NUM_ENVS
                    expected_weights[row % replay.rows * NUM_ENVS + column] = max(0.25, 1 - age / 30)
        assert weights[member].tolist() == pytest.approx(expected_weights)
    uniform = torch.rand(MEMBERS, 60_000, 2, generator=torch.Generator().manual_seed(0))
    batch, index = replay.sample(uniform, 1, 0.9, by_age=True)
    assert (batch["weights"] == 1).all()
    for member in range(MEMBERS):
        found = torch.bincount(index[member], minlength=weights.shape[1]) / 60_000
        torch.testing.assert_close(found, weights[member] / weights[member].sum(), rtol=0, atol=4e-3)


def test_draws_by_age_follow_new_rows_and_uniform_ones_stay() -> None:
    replay, _, _ = play(1_000, 20, aged=AgeDecay(30, 0.0))
    before = replay._by_age().values.clone()
    replay.write_frames(
        torch.zeros(MEMBERS, NUM_ENVS, 1), torch.zeros(MEMBERS, NUM_ENVS, dtype=torch.int64), torch.zeros(MEMBERS, NUM_ENVS).long(), 0
    )
    after = replay._by_age().values
    torch.testing.assert_close(after[before > 0], (before[before > 0] - NUM_ENVS / 30).clamp(min=0))
    uniform = torch.rand(MEMBERS, 50, 2)
    plain, _, _ = play(1_000, 20)
    assert torch.equal(replay.sample(uniform, 1, 0.9)[1], plain.sample(uniform, 1, 0.9)[1])
    assert replay.nbytes > plain.nbytes
