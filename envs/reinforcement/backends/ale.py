"""Pools of Atari games stepped by ale-py, the light alternative to EnvPool. Imports no torch, and ale-py only when a pool is made."""

import functools
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.reinforcement.backends.atari_rules import FRAME_SKIP, AtariRules, observation_space, with_all_actions
from envs.reinforcement.backends.pool import Autoreset, Pool, RawStep, checked_seeds, checked_threads, in_environment_order
from envs.reinforcement.backends.spaces import Box, Discrete, Space
from plasticity_rl.checks import UsageError
from plasticity_rl.seeds import derive


def ale_atari(game: str, seeds: Sequence[int] | np.ndarray, threads: int, rules: AtariRules) -> Pool:
    """A pool of the Atari game with EnvPool's name `game` (`MsPacman`). `seeds`: one for each environment, distinct, in [0, 2^31 - 1).

    Raises UsageError for a mode or difficulty other than the game's default.
    """
    if (rules.mode, rules.difficulty) != (-1, -1):
        raise UsageError("ale-py's vector environment has only the default mode and difficulty; use EnvPool for others")
    backend = (AleBackend if rules.observe == "pixels" else RamBackend)(game, seeds, threads, rules)
    return Pool(with_all_actions(backend) if rules.full_actions else backend)


def ale_name(game: str) -> str:
    """ale-py's name of a game: `ms_pacman` for `MsPacman`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in game).removeprefix("_")


@functools.cache
def game_choices(game: str) -> dict[str, tuple[int, ...]]:
    """The modes and difficulties of a game, set by the console's switches: {"mode": ..., "difficulty": ...} (Machado et al. 2018,
    arXiv 1709.06009). Takes ale-py a tenth of a second.
    """
    from ale_py import ALEInterface, LoggerMode, roms

    ALEInterface.setLoggerMode(LoggerMode.Error)  # no banner
    ale = ALEInterface()
    ale.loadROM(str(roms.get_rom_path(ale_name(game))))
    return {"mode": tuple(ale.getAvailableModes()), "difficulty": tuple(ale.getAvailableDifficulties())}


class AleBackend:
    """ale-py's vector environment. It steps one batch at a time."""

    def __init__(self, game: str, seeds: Sequence[int] | np.ndarray, threads: int, rules: AtariRules) -> None:
        from ale_py.vector_env import AtariVectorEnv
        from gymnasium.vector import AutoresetMode

        height, width = rules.frame_shape
        self._seeds = np.array(checked_seeds(seeds))
        self.num_envs = len(self._seeds)
        self._envs: Any = AtariVectorEnv(
            ale_name(game),
            num_envs=self.num_envs,
            num_threads=checked_threads(threads),
            autoreset_mode=AutoresetMode.NEXT_STEP,
            stack_num=1,
            grayscale=not rules.colour,
            img_height=height,
            img_width=width,
            frameskip=FRAME_SKIP,
            noop_max=rules.noops + 1,  # exclusive
            use_fire_reset=False,
            episodic_life=False,  # True would reset the whole game at a lost life
            life_loss_info=False,
            reward_clipping=False,  # ale-py's default, True, loses the game's own rewards
            repeat_action_probability=rules.sticky,  # the class's default is 0.0, that of ALE's v5 games 0.25
            full_action_space=rules.full_actions,
            max_num_frames_per_episode=rules.episode_frames,  # counts emulator frames, not agent steps
        )
        self.observation_space = Box(self._envs.single_observation_space.shape[1:], "uint8")  # without the stack, of one
        self.action_space: Space = Discrete(int(self._envs.single_action_space.n))
        self.autoreset: Autoreset = self._envs.metadata["autoreset_mode"].value

    def reset(self) -> RawStep:
        observations, info = self._envs.reset(seed=self._seeds)  # an array: from one number, environment i would get seed + i
        none = np.zeros(self.num_envs, dtype=bool)
        return self._raw(observations, none, none, none, info)

    def send(self, actions: np.ndarray) -> None:
        self._envs.send(actions)

    def recv(self) -> RawStep:
        return self._raw(*self._envs.recv())

    def _raw(
        self, observations: np.ndarray, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, info: dict[str, np.ndarray]
    ) -> RawStep:
        frames = observations.reshape(-1, *self.observation_space.shape)
        raw = RawStep(frames, rewards.astype(np.float32), terminated, truncated, info["lives"])  # ale-py's rewards are int32
        return in_environment_order(raw, info["env_id"])


class RamBackend:
    """ale-py's emulators one after the other, in the caller's thread: its vector environment keeps their RAM to itself.

    An environment's number of no-ops, 1 to `noops`, is drawn from its seed alone.
    """

    def __init__(self, game: str, seeds: Sequence[int] | np.ndarray, threads: int, rules: AtariRules) -> None:
        checked_threads(threads)
        distinct = checked_seeds(seeds)
        self._rules, self.num_envs = rules, len(distinct)
        self._emulators = [Emulator(game, seed, rules) for seed in distinct]
        self.observation_space = Box((*rules.frame_shape, 3), "uint8") if rules.colour else observation_space(rules.observe)
        self.action_space: Space = Discrete(len(self._emulators[0].actions))
        self.autoreset: Autoreset = "NextStep"

    def reset(self) -> RawStep:
        for emulator in self._emulators:
            emulator.reset()
        return self._raw(np.zeros(self.num_envs, np.float32))

    def send(self, actions: np.ndarray) -> None:
        self._sent = actions

    def recv(self) -> RawStep:
        rewards = [emulator.step(action) for emulator, action in zip(self._emulators, self._sent, strict=True)]
        return self._raw(np.array(rewards, np.float32))

    def _raw(self, rewards: np.ndarray) -> RawStep:
        games = self._emulators
        seen = np.stack([np.max(game.screens, axis=0) if self._rules.colour else game.ale.getRAM() for game in games])
        terminated, truncated = (np.array([getattr(game, end) for game in games]) for end in ("terminated", "truncated"))
        lives = np.array([game.ale.lives() for game in games])
        return RawStep(seen if self._rules.colour else self._rules.read(seen), rewards, terminated, truncated, lives)


class Emulator:
    """One game of ale-py by the rules, reset in the step after an episode's end."""

    def __init__(self, game: str, seed: int, rules: AtariRules) -> None:
        from ale_py import ALEInterface, LoggerMode, roms

        ALEInterface.setLoggerMode(LoggerMode.Error)  # no banner
        self.ale = ALEInterface()
        self.ale.setInt("random_seed", seed)
        self.ale.setFloat("repeat_action_probability", rules.sticky)
        self.ale.loadROM(str(roms.get_rom_path(ale_name(game))))
        self.actions = self.ale.getLegalActionSet() if rules.full_actions else self.ale.getMinimalActionSet()
        self._rules, self._random = rules, np.random.default_rng(derive(seed, "no-ops"))
        self.screens: deque[np.ndarray] = deque(maxlen=2)
        """the last two frames in RGB, if observations are in colour"""

    def reset(self) -> None:
        """Begin an episode."""
        self._frames, self.terminated, self.truncated = 0, False, False
        self.ale.reset_game()
        for _ in range(self._random.integers(1, self._rules.noops, endpoint=True)):
            self.ale.act(0)
            if self.ale.game_over():
                self.ale.reset_game()
        self.screens.clear()
        self._look()

    def step(self, action: int) -> float:
        """Play the frames of a step, or begin an episode after the end of one; return the reward."""
        if self.terminated or self.truncated:
            self.reset()
            return 0.0
        reward = 0.0
        for _ in range(FRAME_SKIP):
            reward += self.ale.act(self.actions[action])
            self._look()
            if self.ale.game_over():
                break
        self._frames += FRAME_SKIP
        self.terminated, self.truncated = self.ale.game_over(), self._frames >= self._rules.episode_frames
        return reward

    def _look(self) -> None:
        if self._rules.colour:
            self.screens.append(self.ale.getScreenRGB())
