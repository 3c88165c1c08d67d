"""The contextual bandit: its images and rewards, and that DQN learns it."""

import numpy as np
import pytest

from envs.reinforcement.bandit import Bandit
from envs.supervised import datasets
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from tests.training import events, resumed_is_never_stopped, scores

SEEDS = np.array([[3, 4], [5, 6]])
SMALL = {
    "benchmark": "bandit:images=30,tasks=2,frames=400,length=20",
    "agent": "dqn:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10",
    "network": "mlp:width=12,depth=2",
    "members": 2,
    "diagnose_every": 20,
    "checkpoint_every": 90,
}


def test_one_action_is_right_for_an_image_whatever_was_done_before() -> None:
    benchmark = Bandit(images=30, tasks=2, length=5)
    images, visit = datasets.load("digits", 30)[0], benchmark.visits()[1]
    right = [benchmark.correct_actions(9, member, 1) for member in range(2) for _ in range(2)]
    trajectories = []
    for always in (0, 7):
        pool = benchmark.pool(visit, SEEDS, 1, 9)
        step, seen = pool.reset(), []
        assert step.first.all()
        for age in range(1, 12):
            shown = [int(np.flatnonzero((images == image).all(1))[0]) for image in step.observations]
            seen.append(shown)
            pool.send(np.full(4, always))
            step = pool.recv()
            if age in (6,):  # the step after an end ignores its action
                assert step.first.all() and (step.rewards == 0).all()
            else:
                assert not step.first.any()
                assert step.rewards.tolist() == [float(right[row][image] == always) for row, image in enumerate(shown)]
            assert (step.truncated == (age in (5, 11))).all() and not step.terminated.any()
        trajectories.append(seen)
    assert trajectories[0] == trajectories[1]
    assert len({tuple(column) for column in zip(*trajectories[0], strict=True)}) == 4  # each bandit draws its own


def test_images_are_drawn_uniformly() -> None:
    pool = Bandit(images=10, length=1000).pool(Bandit(images=10).visits()[0], SEEDS, 1, 0)
    images, counts = datasets.load("digits", 10)[0], np.zeros(10)
    step = pool.reset()
    for _ in range(500):
        for image in step.observations:
            counts[np.flatnonzero((images == image).all(1))[0]] += 1
        pool.send(np.zeros(4, int))
        step = pool.recv()
    assert counts.sum() == 2000 and ((counts - 200) ** 2 / 200).sum() < 27.9  # chi-square of 9 degrees of freedom, p = 0.001


def test_what_is_right_is_each_members_and_each_tasks_own() -> None:
    random, permuted = Bandit(), Bandit(labels="permuted")
    true = datasets.load("digits", 1200)[1]
    for other in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert 0.05 < (random.correct_actions(0, 0, 0) == random.correct_actions(*other)).mean() < 0.15
        assert not np.array_equal(permuted.correct_actions(0, 0, 0), permuted.correct_actions(*other))
    assert len({*zip(true.tolist(), permuted.correct_actions(0, 0, 0).tolist(), strict=True)}) == 10
    prints = [random.fingerprint(0, 2), random.fingerprint(1, 2), random.fingerprint(0, 3), permuted.fingerprint(0, 2)]
    assert len({*prints, Bandit(images=1199).fingerprint(0, 2), Bandit(tasks=4).fingerprint(0, 2)}) == 6
    assert prints[0] == Bandit().fingerprint(0, 2)


def test_a_resumed_run_is_one_that_was_never_stopped() -> None:
    resumed_is_never_stopped(SMALL)


@pytest.mark.parametrize("discount", [0.0, 0.9])
def test_dqn_learns_the_right_actions(discount: float) -> None:
    words = SMALL | {
        "benchmark": "bandit:images=10,tasks=1,frames=2000,length=20",
        "agent": f"dqn:num_envs=4,batch_size=16,replay=1000,min_replay=40,target_every=20,discount={discount},exploration_fraction=0.5",
        "network": "mlp:width=32,depth=1",
        "schedule": "constant:rate=1e-2",
        "checkpoint_every": 2000,
        "members": 1,
        "diagnose_every": 1000,
    }
    returns = [score.score for score in scores(events(experiment(words)), "return")]
    assert np.mean(returns[:4]) < 5 and np.mean(returns[-8:]) > 12  # 2 by chance


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown dataset 'digit'; did you mean digits"):
        experiment({"benchmark": "bandit:dataset=digit"})
    with pytest.raises(UsageError, match=r"images must lie in \[1, 1797\]"):
        experiment({"benchmark": "bandit:images=2000"})
