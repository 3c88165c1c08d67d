import dataclasses

import numpy as np
import pytest

from envs.control import RANDOM_SCORE, VARIANTS, CartPole, variants
from envs.pools import Step, envpool_cartpole
from envs.sequences import sequence
from plasticity_rl.checks import UsageError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": 0}, "tasks must lie in [1, 48], not 0"),
        ({"tasks": 49}, "tasks must lie in [1, 48], not 49"),
        ({"tasks": 2.0}, "tasks must be a whole number"),
        ({"frames": 0}, "frames must lie in [1, inf), not 0"),
        ({"cycles": -1}, "cycles must lie in [1, 10_000], not -1"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        CartPole(**fields)
    assert str(raised.value).startswith(f"CartPole: {message}")


def test_visits():
    assert CartPole(tasks=2, frames=30, cycles=2).visits() == sequence(("CartPole-0", "CartPole-1"), 30, cycles=2)
    assert CartPole(tasks=2).references() == {"CartPole-0": {"random": RANDOM_SCORE}, "CartPole-1": {"random": RANDOM_SCORE}}


def test_tasks_differ_and_depend_on_seed_member_and_position_alone():
    assert len(set(VARIANTS)) == 48
    assert sorted(variants(0, 0, 48)) == VARIANTS
    assert variants(0, 0, 5) == variants(0, 0, 48)[:5]
    assert len({tuple(variants(seed, member, 5)) for seed in range(4) for member in range(4)}) == 16


def test_a_task_is_the_same_environment_underneath():
    tasks, seeds = CartPole(tasks=3), np.array([[3, 5], [9, 14]])
    for visit in tasks.visits():
        own = [variants(7, member, 3)[visit.index] for member in (0, 0, 1, 1)]
        renamed, plain = tasks.pool(visit, seeds, 2, seed=7), envpool_cartpole(seeds.reshape(-1), 1)
        assert (renamed.num_envs, renamed.actions, renamed.observation_shape) == (4, tasks.outputs, tasks.inputs)
        step, original = renamed.reset(), plain.reset()
        ends = 0
        for chosen in np.random.default_rng(0).integers(2, size=(80, 4)):
            for env, (features, _) in enumerate(own):
                for place, feature in enumerate(features):
                    assert step.observations[env, place] == original.observations[env, feature]
            for name in Step._fields[1:]:
                np.testing.assert_array_equal(getattr(step, name), getattr(original, name))
            ends += step.terminated.sum()
            renamed.send(chosen)
            plain.send(np.array([own[env][1][action] for env, action in enumerate(chosen)]))
            step, original = renamed.recv(), plain.recv()
        assert ends >= 4


def test_a_task_that_comes_back_is_the_same():
    tasks, seeds = CartPole(tasks=2, cycles=2), np.array([[3]])
    first, second, again, _ = (tasks.pool(visit, seeds, 1, seed=7).reset().observations for visit in tasks.visits())
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_fingerprints():
    changed = [CartPole(tasks=4), CartPole(frames=30), CartPole(cycles=2)]
    assert len(changed) == len(dataclasses.fields(CartPole))
    prints = [tasks.fingerprint(0, 5) for tasks in changed]
    prints += [CartPole().fingerprint(0, 5), CartPole().fingerprint(1, 5), CartPole().fingerprint(0, 4)]
    assert len(set(prints)) == len(prints)
    assert CartPole().fingerprint(0, 5) == CartPole(tasks=5).fingerprint(0, 5)


def test_the_random_score():
    pool = envpool_cartpole(np.arange(200), 2)
    random, returns, running = np.random.default_rng(1), [], pool.reset().rewards
    for _ in range(600):
        pool.send(random.integers(2, size=200))
        step = pool.recv()
        running = running + step.rewards
        returns += running[step.terminated].tolist()
        running[step.terminated] = 0
    assert np.mean(returns) == pytest.approx(RANDOM_SCORE, abs=0.5)  # three standard errors of 5,000 episodes
