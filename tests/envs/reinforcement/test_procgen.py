"""Procgen's levels. Tests that need an emulator are skipped on systems without Qt 5."""

import dataclasses
import sys

import numpy as np
import pytest

from envs.reinforcement.backends.envpool import envpool_procgen
from envs.reinforcement.backends.spaces import Box, Discrete
from envs.reinforcement.procgen import GAMES, Procgen
from envs.sequences import sequence
from plasticity_rl.checks import UsageError
from tests.envs.reinforcement.playing import play


@pytest.fixture
def qt():
    try:
        envpool_procgen("Coinrun", [1], 1, distribution="easy", first_level=0, num_levels=1).close()
    except UsageError as error:
        pytest.skip(str(error))


def at_random(steps: int, num_envs: int) -> np.ndarray:
    return np.random.default_rng(0).integers(15, size=(steps, num_envs))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"game": "coinrun"}, "unknown game 'coinrun'; did you mean Coinrun?"),
        ({"game": "StarPilotEasy"}, "unknown game 'StarPilotEasy'; did you mean Starpilot?"),
        ({"game": "Pong"}, "unknown game 'Pong'; one of: Bigfish"),
        ({"levels": 0}, "levels must lie in [1, 10_000], not 0"),
        ({"levels_per_task": 0}, "levels_per_task must lie in [1, 100_000], not 0"),
        ({"frames": 0}, "frames must lie in [1, inf), not 0"),
        ({"cycles": 0}, "cycles must lie in [1, 10_000], not 0"),
        ({"distribution": "extreme"}, "distribution cannot be 'extreme'; one of: easy, hard"),
        ({"heads": "many"}, "heads cannot be 'many'"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        Procgen(**fields)
    assert str(raised.value).startswith(f"Procgen: {message}")


def test_visits():
    levels = Procgen(game="Maze", levels=3, frames=30, cycles=2)
    assert levels.names == ("Maze-0", "Maze-1", "Maze-2") and levels.visits() == sequence(levels.names, 30, cycles=2)
    assert levels.references() == {}


def test_fingerprints():
    others = [
        ("game", "Maze"),
        ("levels", 9),
        ("levels_per_task", 2),
        ("frames", 400),
        ("cycles", 2),
        ("distribution", "hard"),
        ("heads", "per-task"),
    ]
    assert [name for name, _ in others] == [field.name for field in dataclasses.fields(Procgen)]
    prints = [Procgen(**{name: value}).fingerprint(0, 5) for name, value in others]
    prints += [Procgen().fingerprint(0, 5), Procgen().fingerprint(1, 5), Procgen().fingerprint(0, 4)]
    assert len(set(prints)) == len(prints)
    assert all(len(digits) == 16 and int(digits, 16) >= 0 for digits in prints)


def test_envpool_has_all_games():
    import envpool

    assert {f"{game}{distribution}-v0" for game in GAMES for distribution in ("Easy", "Hard")} <= set(envpool.list_all_envs())


def test_without_qt_a_pool_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "envpool.procgen", None)
    levels = Procgen()
    with pytest.raises(UsageError, match=r"^Procgen needs the system's Qt 5 libraries, in Debian the package libqt5gui5 \(.*\)$"):
        levels.pool(levels.visits()[0], np.array([[1, 2]]), 1, seed=0)


@pytest.mark.usefixtures("qt")
class TestPools:
    def test_shapes_and_types(self):
        levels = Procgen(levels=2)
        pool = levels.pool(levels.visits()[0], np.array([[1, 2], [3, 4]]), 2, seed=0)
        assert (pool.num_envs, pool.action_space, pool.observation_space) == (4, levels.action_space, levels.observation_space)
        assert (levels.action_space, levels.observation_space) == (Discrete(15), Box((3, 64, 64), "uint8")) and levels.inputs == (3, 64, 64)
        opening = pool.reset()
        assert opening.observations.shape == (4, 3, 64, 64) and opening.observations.dtype == np.uint8
        assert opening.first.all() and opening.rewards.dtype == np.float32

    def test_a_task_is_its_level_and_comes_back_the_same(self):
        levels = Procgen(levels=3, cycles=2)
        openings = [levels.pool(visit, np.array([[1, 2]]), 1, seed=0).reset().observations for visit in levels.visits()]
        assert len({opening.tobytes() for opening in openings}) == 3
        for first, again in zip(openings[:3], openings[3:], strict=True):
            np.testing.assert_array_equal(first, again)
            np.testing.assert_array_equal(first[0], first[1])  # one level opens in one way

    def test_blocks_of_levels_do_not_overlap(self):
        """Task 1 of two levels each has levels 2 and 3, equal to single levels."""
        alone = Procgen(levels=4)
        single = {alone.pool(visit, np.array([[1]]), 1, seed=0).reset().observations.tobytes(): visit.index for visit in alone.visits()}
        blocks = Procgen(levels=2, levels_per_task=2)
        for visit, expected in zip(blocks.visits(), ({0, 1}, {2, 3}), strict=True):
            openings = blocks.pool(visit, np.arange(12)[None], 1, seed=0).reset().observations
            assert {single[opening.tobytes()] for opening in openings} == expected

    def test_distributions_differ(self):
        rules = {"first_level": 0, "num_levels": 1}
        easy, hard = (envpool_procgen("Maze", [1], 1, distribution=each, **rules).reset() for each in ("easy", "hard"))
        assert not np.array_equal(easy.observations, hard.observations)

    def test_the_step_after_an_end_is_no_transition(self):
        rules = {"distribution": "easy", "first_level": 0, "num_levels": 3}
        actions = at_random(300, 4)
        steps = play(envpool_procgen("Coinrun", [1, 2, 3, 4], 1, **rules), actions)
        assert steps.terminated.sum() >= 2 and not steps.life_lost.any() and not steps.rewards[steps.first].any()
        changed = np.where(steps.first[1:], (actions + 1) % 15, actions)
        for values, others in zip(steps, play(envpool_procgen("Coinrun", [1, 2, 3, 4], 3, **rules), changed), strict=True):
            np.testing.assert_array_equal(values, others)

    def test_the_step_limit_truncates(self):
        """A Maze lasts 500 steps; action 4 stands still."""
        steps = play(envpool_procgen("Maze", [1, 2], 1, distribution="easy", first_level=5, num_levels=1), np.full((501, 2), 4))
        assert steps.truncated[500].all() and steps.first[501].all() and not (steps.terminated | steps.truncated)[:500].any()
        np.testing.assert_array_equal(steps.observations[0], steps.observations[501])
