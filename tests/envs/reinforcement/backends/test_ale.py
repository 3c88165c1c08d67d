"""ale-py's names of games, modes and difficulties. Its pools are tested in test_atari_rules.py."""

import pytest

from envs.reinforcement.backends.ale import ale_atari, ale_name, game_choices
from envs.reinforcement.backends.atari_rules import AtariRules
from plasticity_rl.checks import UsageError


def test_ale_names():
    assert [ale_name(game) for game in ("Pong", "MsPacman", "UpNDown", "YarsRevenge")] == ["pong", "ms_pacman", "up_n_down", "yars_revenge"]


def test_choices_of_a_game():
    assert game_choices("Freeway") == {"mode": tuple(range(8)), "difficulty": (0, 1)}
    assert game_choices("MsPacman") == {"mode": (0, 1, 2, 3), "difficulty": (0,)}


@pytest.mark.parametrize("switch", ["mode", "difficulty"])
def test_other_modes_and_difficulties_are_refused(switch: str) -> None:
    rules = AtariRules(sticky=0.0, full_actions=True, noops=1, episode_frames=400, **{switch: 1})
    with pytest.raises(UsageError, match="only the default mode and difficulty"):
        ale_atari("Freeway", [3], 1, rules)
