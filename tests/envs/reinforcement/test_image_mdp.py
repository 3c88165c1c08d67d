"""The process behind images: its states, rewards and transitions, and that DQN learns it."""

import numpy as np
import pytest

from envs.reinforcement.image_mdp import ImageMDP
from envs.supervised import datasets
from launch.config.parse import experiment
from plasticity_rl.checks import UsageError
from tests.training import events, resumed_is_never_stopped, scores

SEEDS = np.array([[3, 4], [5, 6]])
WORDS = {
    "agent": "dqn:num_envs=4,batch_size=16,replay=1000,min_replay=40,target_every=20,discount=0.9,exploration_fraction=0.5",
    "network": "mlp:width=32,depth=1",
    "schedule": "constant:rate=1e-2",
    "checkpoint_every": 2000,
    "members": 1,
    "diagnose_every": 1000,
}


def shown(images: np.ndarray, observations: np.ndarray) -> list[int]:
    return [int(np.flatnonzero((images == each).all(1))[0]) for each in observations]


@pytest.mark.parametrize("reward", ["dense", "sparse"])
@pytest.mark.parametrize("labels", ["permuted", "random"])
def test_the_states_own_action_leads_on_and_any_other_anywhere(labels: str, reward: str) -> None:
    """A plain reading, step by step: every second action is right."""
    benchmark = ImageMDP(images=200, tasks=2, length=300, labels=labels, reward=reward)  # type: ignore[arg-type]
    images, visit = datasets.load("digits", 200)[0], benchmark.visits()[1]
    states = np.stack([benchmark.correct_actions(9, member, 1) for member in (0, 0, 1, 1)])
    pool, random, wrong = benchmark.pool(visit, SEEDS, 1, 9), np.random.default_rng(0), []
    step, rows = pool.reset(), np.arange(4)
    for age in range(300):
        state = states[rows, shown(images, step.observations)]
        actions = state if age % 2 else (state + random.integers(1, 10, 4)) % 10
        pool.send(actions)
        step = pool.recv()
        after = states[rows, shown(images, step.observations)]
        if age % 2:
            assert (after == (state + 1) % 10).all()
            assert step.rewards.tolist() == [1.0 if reward == "dense" or each == 9 else 0.0 for each in state]
        else:
            wrong += after.tolist()
            assert (step.rewards == 0).all()
        assert (step.truncated == (age == 299)).all() and not step.terminated.any()
    assert ((np.bincount(wrong, minlength=10) - 60) ** 2 / 60).sum() < 27.9  # 600 draws: chi-square of 9 degrees of freedom, p = 0.001
    pool.send(np.zeros(4, int))
    assert pool.recv().first.all()


def test_a_state_shows_all_its_images_equally_often() -> None:
    benchmark = ImageMDP(images=100, length=1000)
    images, counts = datasets.load("digits", 100)[0], np.zeros(100)
    states = np.stack([benchmark.correct_actions(0, member, 0) for member in (0, 0, 1, 1)])
    pool = benchmark.pool(benchmark.visits()[0], SEEDS, 1, 0)
    step = pool.reset()
    for _ in range(1000):
        seen = shown(images, step.observations)
        np.add.at(counts, seen, 1)
        pool.send((states[np.arange(4), seen] + 1) % 10)  # never right: all states are equally likely
        step = pool.recv()
    expected = 4000 / 10 / np.bincount(datasets.load("digits", 100)[1])[datasets.load("digits", 100)[1]]
    assert ((counts - expected) ** 2 / expected).sum() < 148.2  # chi-square of 99 degrees of freedom, p = 0.001


def test_images_are_dealt_out_anew_for_each_member_and_task() -> None:
    true, benchmark = datasets.load("digits", 1200)[1], ImageMDP()
    states = [benchmark.correct_actions(*each) for each in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert len({each.tobytes() for each in states}) == 4
    assert all(len({*zip(true.tolist(), each.tolist(), strict=True)}) == 10 for each in states)
    prints = {each.fingerprint(0, 2) for each in (benchmark, ImageMDP(reward="sparse"), ImageMDP(labels="random"), ImageMDP(images=1199))}
    assert len(prints) == 4


def test_the_return_of_random_actions_is_the_reference() -> None:
    for reward, expected in (("dense", 10.0), ("sparse", 1.0)):
        benchmark = ImageMDP(reward=reward)  # type: ignore[arg-type]
        assert benchmark.references()["mdp-0"] == {"random": expected}
        pool, random, total = benchmark.pool(benchmark.visits()[0], np.arange(1, 101)[None], 1, 0), np.random.default_rng(1), 0.0
        pool.reset()
        for _ in range(100):
            pool.send(random.integers(10, size=100))
            total += pool.recv().rewards.sum()
        assert total / 100 == pytest.approx(expected, abs=4 * (expected / 100) ** 0.5)  # four standard errors of a hundred episodes


def test_too_few_images_are_refused() -> None:
    with pytest.raises(UsageError, match="the first 5 images of digits leave a state without any; use more images"):
        ImageMDP(images=5).fingerprint(0, 1)


def test_a_resumed_run_is_one_that_was_never_stopped() -> None:
    small = {"agent": "dqn:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10", "checkpoint_every": 90, "diagnose_every": 20}
    resumed_is_never_stopped(WORDS | small | {"benchmark": "image-mdp:images=60,tasks=2,frames=400,length=20", "members": 2})


@pytest.mark.long
@pytest.mark.parametrize(("labels", "frames"), [("permuted", 4000), ("random", 8000)])
def test_dqn_learns_to_walk(labels: str, frames: int) -> None:
    words = WORDS | {"network": "mlp:width=64,depth=2", "schedule": "constant:rate=2e-3"}
    words |= {"agent": "dqn:num_envs=4,batch_size=32,replay=4000,min_replay=40,target_every=50,discount=0.9,exploration_fraction=0.5"}
    words |= {"benchmark": f"image-mdp:images=40,tasks=1,frames={frames},length=20,labels={labels}"}
    returns = [score.score for score in scores(events(experiment(words)), "return")]
    assert np.mean(returns[:4]) < 6 and np.mean(returns[-8:]) > 15  # 2 by chance


@pytest.mark.long
def test_dqn_finds_the_sparse_reward() -> None:
    """At best 4 in 20 steps, 0.2 by chance."""
    words = WORDS | {"benchmark": "image-mdp:images=40,tasks=1,frames=12000,length=20,reward=sparse"}
    returns = [score.score for score in scores(events(experiment(words)), "return")]
    assert np.mean(returns[-20:]) > 1
