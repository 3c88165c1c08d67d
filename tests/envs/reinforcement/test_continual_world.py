from typing import Any

import envpool
import numpy as np

from envs.reinforcement.backends.pool import Pool, RawStep
from envs.reinforcement.backends.spaces import Box, Discrete, Space
from envs.reinforcement.continual_world import CW10, CW20, Successes
from tests.envs.reinforcement.playing import play

SEEDS = np.array([[3, 5], [9, 14]])


class Scripted:
    """A backend of two environments that says in each step whether the task is solved, and whether the episode is over."""

    num_envs, observation_space, autoreset = 2, Box((1,)), "NextStep"
    action_space: Space = Discrete(2)

    def __init__(self, solved: list[tuple[float, float]], over: list[tuple[bool, bool]]) -> None:
        self.script = iter(zip(solved, over, strict=True))

    def reset(self) -> RawStep:
        return self.recv()

    def send(self, actions: np.ndarray) -> None: ...

    def recv(self) -> RawStep:
        solved, over = next(self.script)
        none = np.zeros(2, bool)
        return RawStep(np.zeros((2, 1), np.float32), np.ones(2, np.float32), none, np.array(over), none.astype(int), np.float32(solved))


def test_the_first_success_of_an_episode_scores_one():
    """Episodes of three steps in the first environment, of five in the second. Rewards and success of a reset do not count."""
    solved = [(1, 1), (0, 1), (1, 1), (1, 0), (1, 1), (0, 1), (0, 1), (0, 1), (1, 0)]
    over = [(False, False)] * 3 + [(True, False), (False, False), (False, True), (False, False), (True, False), (False, False)]
    steps = play(Pool(Successes(Scripted(solved, over))), np.zeros((8, 2), int))
    assert steps.scores[:, 0].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0]  # in its third episode, begun at the end, nothing yet
    assert steps.scores[:, 1].tolist() == [0, 1, 0, 0, 0, 0, 0, 1, 0]
    assert steps.rewards[:, 1].tolist() == [0, 1, 1, 1, 1, 1, 0, 1, 1]


def test_the_protocol_is_that_of_the_paper():
    """The authors' code: ten tasks of a million steps, episodes of 200 steps, 20 visits in CW20, one head a task."""
    ten, twenty = CW10(), CW20()
    assert [name.removeprefix("MetaWorld/") for name in ten.names] == [
        *("Hammer-v3", "PushWall-v3", "FaucetClose-v3", "PushBack-v3", "StickPull-v3"),
        *("HandlePressSide-v3", "Push-v3", "ShelfPlace-v3", "WindowClose-v3", "PegUnplugSide-v3"),
    ]
    assert [visit.task for visit in twenty.visits()] == [visit.task for visit in ten.visits()] * 2
    assert {(visit.budget, visit.told) for visit in twenty.visits()} == {(1_000_000, True)} and ten.heads == "per-task"
    assert (ten.observation_space, ten.action_space) == (Box((39,)), Box((4,), low=-1, high=1))
    assert set(ten.references()) == set(ten.names) == set(twenty.references())


def to_the_handle(observations: np.ndarray) -> np.ndarray:
    """Actions that move the hand over the handle, then down."""
    way = observations[:, 4:7] - observations[:, :3]
    above = np.abs(way[:, :2]).max(1) > 0.02
    way[:, 2] = np.where(above, way[:, 2] + 0.2, -1)
    return np.clip(np.hstack([10 * way, -np.ones((len(way), 1))]), -1, 1).astype(np.float32)


def test_episodes_are_scored_as_envpool_reports_success():
    """In the first two environments a handle is pressed, again and again; in the others nothing is done."""
    options = {"max_episode_steps": 80, "partially_observable": False}
    benchmark = CW10(kwargs=("max_episode_steps=80;partially_observable=false",))
    pool = benchmark.pool(benchmark.visits()[5], SEEDS, 1, 0)
    seeds = SEEDS.reshape(-1).tolist()
    envs: Any = envpool.make("MetaWorld/HandlePressSide-v3", env_type="gymnasium", num_envs=4, seed=seeds, num_threads=1, **options)
    envs.async_reset()
    steps, found = [pool.reset()], [envs.recv()[4]["success"]]
    for _ in range(163):
        actions = to_the_handle(steps[-1].observations)
        actions[2:] = 0
        pool.send(actions)
        envs.send(actions)
        steps.append(pool.recv())
        found.append(envs.recv()[4]["success"])
    scored, goals = np.stack([step.scores for step in steps]), np.stack([step.observations[:, 36:] for step in steps])
    for first, last in ((1, 80), (82, 161)):
        assert steps[last].truncated.all() and not scored[[first - 1, last + 1]].any()
        assert scored[first : last + 1].sum(0).tolist() == np.stack(found)[first : last + 1].max(0).tolist() == [1, 1, 0, 0]
    assert (goals[:81] == goals[0]).all() and goals[0].any() and not np.array_equal(goals[0], goals[81])  # seen, and new in every episode
