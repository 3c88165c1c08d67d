import dataclasses

import numpy as np
import pytest

from envs.reinforcement import shifts
from envs.reinforcement.backends.envpool import envpool_control
from envs.reinforcement.backends.pool import Step
from envs.reinforcement.backends.spaces import Box
from envs.reinforcement.control import (
    Acrobot,
    CartPole,
    Catch,
    ContinualAcrobot,
    ContinualCartPole,
    ContinualLunarLander,
    ContinualMountainCar,
    LunarLander,
)
from envs.reinforcement.shifts import variants
from envs.sequences import sequence
from plasticity_rl import registry
from plasticity_rl.checks import UsageError
from plasticity_rl.seeds import derive
from tests.envs.reinforcement.playing import play

PROBLEMS = [CartPole, Acrobot, LunarLander, Catch]
each_problem = pytest.mark.parametrize("problem", PROBLEMS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": 0}, "tasks must lie in [1, 48], not 0"),
        ({"tasks": 49}, "tasks must lie in [1, 48], not 49"),
        ({"tasks": 2.0}, "tasks must be a whole number"),
        ({"frames": 0}, "frames must lie in [1, inf), not 0"),
        ({"cycles": -1}, "cycles must lie in [1, 10_000], not -1"),
        ({"heads": "many"}, "heads cannot be 'many'"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        CartPole(**fields)
    assert str(raised.value).startswith(f"CartPole: {message}")


@pytest.mark.parametrize(("problem", "most"), [(Acrobot, 4320), (LunarLander, 10_000), (Catch, 10_000)])
def test_how_many_tasks_there_are(problem, most):
    assert problem(tasks=most).tasks == most
    with pytest.raises(UsageError, match=rf"^{problem.__name__}: tasks must lie in \[1, {most}\]"):
        problem(tasks=most + 1)


@each_problem
def test_visits(problem):
    tasks = problem(tasks=2, frames=30, cycles=2)
    names = (f"{problem.__name__}-0", f"{problem.__name__}-1")
    assert tasks.names == names and tasks.visits() == sequence(names, 30, cycles=2)
    assert tasks.references() == {name: {"random": problem.random_score} for name in names}


def test_cartpole_has_48_tasks():
    every = variants(0, 0, 48, 4, 2)
    assert len(set(every)) == 48
    assert all(sorted(features) == [0, 1, 2, 3] and sorted(actions) == [0, 1] for features, actions in every)
    assert every[0] == ((0, 2, 3, 1), (1, 0))  # written out: a task must not change with the code


@each_problem
def test_tasks_differ_and_depend_on_seed_member_and_position_alone(problem):
    sizes = {"features": problem.observation_space.shape[0], "actions": problem.action_space.n}
    every = variants(0, 0, 48, **sizes)
    assert len(set(every)) == 48
    for features, actions in every:
        assert sorted(features) == list(range(sizes["features"])) and sorted(actions) == list(range(problem.action_space.n))
    assert variants(0, 0, 5, **sizes) == every[:5]
    assert len({tuple(variants(seed, member, 5, **sizes)) for seed in range(4) for member in range(4)}) == 16


def test_tasks_that_are_drawn_differ_too(monkeypatch):
    listed = variants(0, 0, 48, 4, 2)
    monkeypatch.setattr(shifts, "MAX_TASKS", 47)  # now CartPole's are too many to list
    assert sorted(variants(0, 0, 48, 4, 2)) == sorted(listed)


@each_problem
def test_a_task_is_the_same_environment_underneath(problem):
    tasks, seeds = problem(tasks=3), np.array([[3, 5], [9, 14]])
    ends = 0
    for visit in tasks.visits():
        own = [variants(7, member, 3, problem.observation_space.shape[0], problem.action_space.n)[visit.index] for member in (0, 0, 1, 1)]
        renamed, plain = tasks.pool(visit, seeds, 2, seed=7), envpool_control(problem.env_id, seeds.reshape(-1), 1)
        assert (renamed.num_envs, renamed.action_space, renamed.observation_space) == (4, tasks.action_space, Box(tasks.inputs))
        step, original = renamed.reset(), plain.reset()
        for chosen in np.random.default_rng(0).integers(tasks.action_space.n, size=(170, 4)):
            for env, (features, _) in enumerate(own):
                np.testing.assert_array_equal(step.observations[env], [original.observations[env, feature] for feature in features])
            for name in Step._fields[1:]:
                np.testing.assert_array_equal(getattr(step, name), getattr(original, name))
            ends += step.terminated.sum()
            renamed.send(chosen)
            plain.send(np.array([own[env][1][action] for env, action in enumerate(chosen)]))
            step, original = renamed.recv(), plain.recv()
    assert ends >= 4 or problem is Acrobot


@each_problem
def test_a_task_that_comes_back_is_the_same(problem):
    tasks, seeds = problem(tasks=2, cycles=2), np.array([[3]])
    first, second, again, _ = (tasks.pool(visit, seeds, 1, seed=7).reset().observations for visit in tasks.visits())
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


@each_problem
def test_fingerprints(problem):
    changed = [problem(tasks=4), problem(frames=30), problem(cycles=2), problem(heads="per-task"), problem(episode_steps=30)]
    changed += [problem(shifts=("offset",)), problem(told=False), problem(gradual=0.1)]
    changed += [problem(shifts=("permute", word), **{f"{word}_scale": 3.0}) for word in ("offset", "rescale", "noise")]
    changed += [problem(simulator="torch")] if problem.world else []
    assert len(changed) == len(dataclasses.fields(problem)) - (problem.world is None)
    prints = [tasks.fingerprint(0, 5) for tasks in changed]
    prints += [problem().fingerprint(0, 5), problem().fingerprint(1, 5), problem().fingerprint(0, 4)]
    prints += [other().fingerprint(0, 5) for other in PROBLEMS if other is not problem]
    assert len(set(prints)) == len(prints)
    assert problem().fingerprint(0, 5) == problem(tasks=5).fingerprint(0, 5)


@pytest.mark.parametrize(
    ("word", "scale", "width"), [("cartpole", 2, 4), ("acrobot", 2, 6), ("lunarlander", 2, 8), ("mountaincar", 0.02, 2)]
)
def test_continual_control_is_that_of_trac(word, scale, width):
    benchmark = registry.find("benchmark", f"continual-{word}")()
    assert (benchmark.shifts, benchmark.offset_scale, benchmark.gradual, benchmark.tasks) == (("offset",), scale, 0, 10)
    assert [(visit.budget, visit.told) for visit in benchmark.visits()] == [(200 * 800, False)] * 10
    assert benchmark.inputs == (width,) and benchmark.references()[benchmark.names[9]] == {"random": benchmark.random_score}
    assert dataclasses.replace(benchmark, episode_steps=30).references() == {}  # no measured score
    seeds = np.array([[3, 5], [9, 14]])
    first, second = (benchmark.pool(visit, seeds, 1, seed=7).reset().observations for visit in benchmark.visits()[:2])
    np.testing.assert_array_equal(first, envpool_control(benchmark.env_id, [3, 5, 9, 14], 1).reset().observations)
    own = [np.random.default_rng(derive(7, member, "offset", 1)).normal(0, scale, width) for member in (0, 0, 1, 1)]
    np.testing.assert_allclose(second - first, own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "LunarLander-v3", "MountainCar-v0"])
def test_a_step_limit_cuts_episodes(env_id):
    steps = play(envpool_control(env_id, [3, 5], 1, 4), np.zeros((9, 2), int))
    np.testing.assert_array_equal(np.argwhere(steps.truncated[:, 0])[:, 0], [4, 9])
    assert not steps.terminated.any()


@pytest.mark.parametrize(
    ("problem", "steps", "error"),  # three standard errors of the episodes that end
    [
        *((CartPole, 600, 0.5), (Acrobot, 1010, 2.0), (LunarLander, 500, 11.0), (Catch, 300, 0.03)),
        *((ContinualCartPole, 600, 0.5), (ContinualAcrobot, 810, 2.0), (ContinualLunarLander, 500, 11.0), (ContinualMountainCar, 401, 0)),
    ],
)
def test_the_random_score(problem, steps, error):
    pool = envpool_control(problem.env_id, np.arange(200), 2, problem.episode_steps)
    random, returns, running = np.random.default_rng(1), [], pool.reset().rewards
    for _ in range(steps):
        pool.send(random.integers(problem.action_space.n, size=200))
        step = pool.recv()
        running = running + step.rewards
        ended = step.terminated | step.truncated
        returns += running[ended].tolist()
        running[ended] = 0
    assert np.mean(returns) == pytest.approx(problem.random_score, abs=error)
