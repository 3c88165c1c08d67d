"""Sequences of games. test_atari_rules.py tests the emulators."""

import dataclasses

import numpy as np
import pytest

from envs.reinforcement.atari import ABBAS_5, ALE_10, ATARI_26, ATARI_57, CARMACK_8, CORA_6, RAM_4, SCORES, Atari
from envs.reinforcement.backends.ale import ale_name
from envs.reinforcement.backends.pool import Pool, Step
from envs.sequences import Visit, sequence
from plasticity_rl.checks import UsageError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"games": ("pong",)}, "unknown game 'pong'; did you mean Pong?"),
        ({"games": ("ALE/Pong-v5",)}, "unknown game 'ALE/Pong-v5'; did you mean Pong?"),
        ({"games": ("Pong-v5",)}, "unknown game 'Pong-v5'; did you mean Pong?"),
        ({"games": ("PongNoFrameskip-v4",)}, "unknown game 'PongNoFrameskip-v4'; did you mean Pong?"),
        ({"games": ("Breakout", "ms_pacman")}, "unknown game 'ms_pacman'; did you mean MsPacman?"),
        ({"games": ("SpaceInvader",)}, "did you mean SpaceInvaders?"),
        ({"games": ("",)}, "unknown game ''; one of: Alien"),
        ({"games": ()}, "at least one"),
        ({"games": "Pong"}, "games must be several values, not 'Pong'"),
        ({"games": (1,)}, "games must be a str, not 1"),
        ({"games": ("Pong", "Breakout", "Pong")}, "games must be distinct"),
        ({"frames": 0}, "frames must lie in [4, inf), not 0"),
        ({"frames": 3}, "frames must lie in [4, inf), not 3"),
        ({"frames": 1e6}, "frames must be a whole number"),
        ({"cycles": 0}, "cycles must lie in [1, 10_000], not 0"),
        ({"sticky": 1.5}, "sticky must lie in [0, 1], not 1.5"),
        ({"sticky": float("nan")}, "sticky must be a finite number"),
        ({"noops": 0}, "noops must lie in [1, 1000], not 0"),
        ({"episode_frames": 0}, "episode_frames must lie in [4, 1e9], not 0"),
        ({"episode_frames": 4_000_000_000}, "episode_frames must lie in [4, 1e9]"),
        ({"episode_frames": 30}, "episode_frames must be a multiple of 4"),
        ({"full_actions": 1}, "full_actions must be a bool"),
        ({"life_loss": "yes"}, "life_loss must be a bool"),
        ({"backend": "gym"}, "backend cannot be 'gym'"),
        ({"games": ("Pong", "Breakout"), "full_actions": False}, "several games need full_actions"),
        ({"games": ("Freeway",), "modes": (1, 8)}, "Freeway has no mode 8; one of: 0, 1, 2, 3, 4, 5, 6, 7"),
        ({"games": ("Freeway", "Centipede"), "modes": (1,)}, "Centipede has no mode 1; one of: 22, 86"),
        ({"games": ("Freeway",), "modes": (-1,)}, "Freeway has no mode -1"),
        ({"games": ("Freeway",), "difficulties": (0, 2)}, "Freeway has no difficulty 2; one of: 0, 1"),
        ({"games": ("Freeway",), "modes": (1, 0, 1)}, "modes must be distinct"),
        ({"games": ("Freeway",), "difficulties": (1, 1)}, "difficulties must be distinct"),
        ({"games": ("Freeway",), "modes": (1.0,)}, "modes must be a whole number"),
        ({"games": ("Freeway",), "modes": (1,), "backend": "ale"}, "has only the default mode; modes need backend=envpool"),
        ({"games": ("Freeway",), "difficulties": (1,), "backend": "ale"}, "difficulties need backend=envpool"),
        ({"observe": "screen"}, "observe cannot be 'screen'"),
        ({"heads": "many"}, "heads cannot be 'many'"),
    ],
    ids=str,
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UsageError) as raised:
        Atari(**fields)
    assert message in str(raised.value) and str(raised.value).startswith("Atari: ")


def test_visits():
    assert Atari(games=("Pong", "Breakout"), frames=400, cycles=2).visits() == sequence(("Pong", "Breakout"), 400, cycles=2)


def test_visits_of_modes_and_difficulties():
    """Game-major order; names omit unchosen parts."""
    chosen = {"games": ("Freeway", "Pong"), "frames": 400}
    both = Atari(**chosen, modes=(1, 0), difficulties=(0, 1), cycles=2)
    names = ("Freeway-m1-d0", "Freeway-m1-d1", "Freeway-m0-d0", "Freeway-m0-d1", "Pong-m1-d0", "Pong-m1-d1", "Pong-m0-d0", "Pong-m0-d1")
    assert both.names == names and both.visits() == sequence(names, 400, cycles=2)
    assert Atari(**chosen, modes=(1,)).names == ("Freeway-m1", "Pong-m1")
    assert Atari(**chosen, difficulties=(0, 1)).names == ("Freeway-d0", "Freeway-d1", "Pong-d0", "Pong-d1")
    assert Atari(**chosen).names == ("Freeway", "Pong")
    assert both.references() == Atari(**chosen, modes=(0,)).references() == {}


def test_a_pool_plays_in_the_mode_and_difficulty_of_its_task():
    games = Atari(games=("Pong",), modes=(0, 1), difficulties=(0, 1), sticky=0.0, noops=1)

    def seen(games: Atari, visit: Visit) -> bytes:
        pool = games.pool(visit, np.array([[1]]), 1, seed=0)
        pool.reset()
        return b"".join(_step(pool, 2).observations.tobytes() for _ in range(60))

    in_tasks = {visit.task: seen(games, visit) for visit in games.visits()}
    assert len(set(in_tasks.values())) == 4
    plain = dataclasses.replace(games, modes=(), difficulties=())
    assert seen(plain, plain.visits()[0]) == in_tasks["Pong-m0-d0"]


def _step(pool: Pool, action: int) -> Step:
    pool.send(np.full(pool.num_envs, action))
    return pool.recv()


def test_lists_of_games():
    assert [len(games) for games in (ABBAS_5, CORA_6, CARMACK_8, ALE_10, ATARI_26, ATARI_57, RAM_4)] == [5, 6, 8, 10, 26, 57, 4]
    for games in (ABBAS_5, CORA_6, CARMACK_8, ALE_10, ATARI_26, ATARI_57, RAM_4):
        assert Atari(games=games).visits()[-1].task == games[-1]


def test_both_backends_have_all_games():
    import envpool
    from ale_py import roms

    assert {f"{game}-v5" for game in ATARI_57} <= set(envpool.list_all_envs())
    assert {ale_name(game) for game in ATARI_57} <= set(roms.get_all_rom_ids())


def test_scores():
    assert Atari(games=("Breakout", "Pong")).references() == {
        "Breakout": {"random": 1.7, "human": 30.5},
        "Pong": {"random": -20.7, "human": 14.6},
    }
    assert all(score["random"] < score["human"] for score in SCORES.values())


@pytest.mark.parametrize("backend", ["envpool", "ale"])
def test_heads(backend):
    assert Atari(games=ABBAS_5, backend=backend).inputs == (4, 84, 84)
    assert Atari(games=ABBAS_5, backend=backend).action_space.n == 18
    assert Atari(full_actions=False, backend=backend).action_space.n == 4


def test_fingerprints():
    plain = Atari()
    others = [
        ("games", ("Pong",)),
        ("games", ("Breakout", "Pong")),
        ("games", ("Pong", "Breakout")),
        ("modes", (0,)),
        ("modes", (4,)),
        ("modes", (0, 4)),
        ("difficulties", (0,)),
        ("difficulties", (1,)),
        ("frames", 400),
        ("cycles", 2),
        ("sticky", 0.0),
        ("full_actions", False),
        ("life_loss", True),
        ("noops", 1),
        ("episode_frames", 400),
        ("backend", "ale"),
        ("heads", "per-task"),
        ("observe", "ram"),
        ("observe", "ram-bits"),
    ]
    assert {name for name, _ in others} == {field.name for field in dataclasses.fields(Atari)}
    prints = [dataclasses.replace(plain, **{name: value}).fingerprint(0, 5) for name, value in others]
    prints += [plain.fingerprint(0, 5), plain.fingerprint(1, 5), plain.fingerprint(0, 4)]
    assert len(set(prints)) == len(prints)
    assert all(len(digits) == 16 and int(digits, 16) >= 0 for digits in prints)
    assert Atari(sticky=0).fingerprint(0, 5) == Atari(sticky=0.0).fingerprint(0, 5)


@pytest.mark.parametrize("backend", ["envpool", "ale"])
def test_a_pool_is_member_major_and_follows_the_fields(backend):
    games = Atari(games=("Pong", "Seaquest"), sticky=0.0, noops=30, episode_frames=400, backend=backend)

    def frames(seeds: list[list[int]]) -> np.ndarray:
        pool = games.pool(games.visits()[1], np.array(seeds), 2, seed=0)
        assert pool.action_space.n == 18
        pool.reset()
        for _ in range(100):
            pool.send(np.full(pool.num_envs, 2))
            step = pool.recv()
        assert step.truncated.all()
        pool.send(np.zeros(pool.num_envs, dtype=int))
        return pool.recv().observations

    together = frames([[1, 2, 3], [4, 5, 6]])
    assert together.shape == (6, 84, 84)
    np.testing.assert_array_equal(together[:3], frames([[1, 2, 3]]))
    np.testing.assert_array_equal(together[3:], frames([[4, 5, 6]]))


def test_visits_name_the_game_of_a_pool():
    games = Atari(games=("Pong", "Breakout"))
    opening = [games.pool(visit, np.array([[1]]), 1, seed=0).reset().observations for visit in games.visits()]
    assert not np.array_equal(*opening)
    again = games.pool(Visit(7, "Pong", 3, 400), np.array([[1]]), 1, seed=9).reset().observations
    np.testing.assert_array_equal(again, opening[0])
