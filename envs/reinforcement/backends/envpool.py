"""Pools stepped by EnvPool: Atari, Procgen, control problems and others. Imports no torch, and EnvPool only when a pool is made."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from envs.reinforcement.backends.atari_rules import FRAME_SKIP, AtariRules, observation_space, with_all_actions
from envs.reinforcement.backends.layouts import usable_actions
from envs.reinforcement.backends.pool import Autoreset, Backend, Pool, RawStep, checked_seeds, checked_threads, in_environment_order
from envs.reinforcement.backends.spaces import Box, Dtype, Space
from plasticity_rl.checks import UsageError

Seeds = Sequence[int] | np.ndarray


def envpool_atari(game: str, seeds: Seeds, threads: int, rules: AtariRules) -> Pool:
    """A pool of the Atari game with EnvPool's name `game` (`MsPacman`). `seeds`: one for each environment, distinct, in [0, 2^31 - 1)."""
    height, width = (1, 1) if rules.shows_ram else rules.frame_shape  # an image that nobody looks at
    backend = EnvPoolBackend(
        f"{game}-v5",
        seeds,
        threads,
        rules.read if rules.shows_ram else _channels_last if rules.colour else _only_frame,
        observation_space(rules.observe) if rules.shows_ram else None,
        ram=rules.shows_ram,
        stack_num=1,
        gray_scale=not rules.colour,
        img_height=height,
        img_width=width,
        use_inter_area_resize=not rules.shows_ram,  # an area average reads every pixel
        mode=rules.mode,
        difficulty=rules.difficulty,
        frame_skip=FRAME_SKIP,
        noop_max=rules.noops,
        use_fire_reset=False,
        episodic_life=False,  # True would add a dummy step and press no-ops and FIRE at every lost life
        reward_clip=False,
        repeat_action_probability=rules.sticky,  # EnvPool's default is 0.0, that of ALE's v5 games 0.25
        full_action_space=rules.full_actions,
        max_episode_steps=rules.episode_frames // FRAME_SKIP,  # counts agent steps
    )
    return Pool(with_all_actions(backend) if rules.full_actions else backend)


def control_backend(env_id: str, seeds: Seeds, threads: int, episode_steps: int | None = None) -> Backend:
    """Simulators of a small control problem (`CartPole-v1`) with its own step limit, or one of `episode_steps`. Observations are float32
    vectors; a board is read row by row.

    An episode that ends by itself in the step of the limit counts as truncated, since EnvPool does not report it.
    """
    limit: dict[str, Any] = {} if episode_steps is None else {"max_episode_steps": episode_steps}
    return EnvPoolBackend(env_id, seeds, threads, _flat, **limit)


def envpool_control(env_id: str, seeds: Seeds, threads: int, episode_steps: int | None = None) -> Pool:
    """A pool of `control_backend`."""
    return Pool(control_backend(env_id, seeds, threads, episode_steps))


def envpool_procgen(
    game: str, seeds: Seeds, threads: int, *, distribution: str, first_level: int, num_levels: int, colour: bool = False
) -> Pool:
    """A pool of the Procgen game with EnvPool's name `game` (`Coinrun`).

    Each episode is on one of the `num_levels` levels from `first_level` on; `distribution` is easy or hard. The seed of an environment
    decides the order of its levels and nothing else. Observations are RGB, (3, 64, 64), or with `colour` (64, 64, 3). Raises UsageError if
    the system has no Qt 5.
    """
    try:
        from envpool.procgen import ProcgenEnvSpec  # noqa: F401  # without Qt, `import envpool` succeeds and only this import fails
    except ImportError as error:
        cause = error.__cause__ or error
        raise UsageError(f"Procgen needs the system's Qt 5 libraries, in Debian the package libqt5gui5 ({cause})") from error
    backend = EnvPoolBackend(
        f"{game}{distribution.capitalize()}-v0",
        seeds,
        threads,
        _unchanged,
        channel_first=not colour,
        start_level=first_level,
        num_levels=num_levels,
    )
    return Pool(backend)


class EnvPoolBackend:
    """EnvPool in synchronous mode. `arrange` maps EnvPool's observations, (N, ...), or with `ram` the emulators' RAM, to ours, which are of
    `observation_space`; by default, what it makes of EnvPool's space. `scored` names an entry of EnvPool's info that scores a step in place
    of its reward.
    """

    def __init__(
        self,
        env_id: str,
        seeds: Seeds,
        threads: int,
        arrange: Callable[[Any], np.ndarray],
        observation_space: Box | None = None,
        ram: bool = False,
        scored: str | None = None,
        **settings: Any,
    ) -> None:
        import envpool

        distinct = checked_seeds(seeds)
        self.num_envs = len(distinct)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*precision lowered by casting", category=UserWarning)  # CartPole's float64 bounds
            self._envs: Any = envpool.make(
                env_id,
                env_type="gymnasium",
                num_envs=self.num_envs,
                batch_size=self.num_envs,  # all step together; a larger one fails by a bare AssertionError
                num_threads=checked_threads(threads),  # the default ignores the limits of a container and of Ray
                seed=distinct,  # a list: from one number, environment i would get seed + i, so neighbouring pools share seeds
                **settings,
            )
            space, taken = self._envs.observation_space, self._envs.action_space
        self._arrange, self._ram, self._scored = arrange, ram, scored
        if observation_space is None:
            dtype: Dtype = "uint8" if space.dtype == np.uint8 else "float32"
            observation_space = Box(arrange(np.empty((1, *space.shape), space.dtype)).shape[1:], dtype)
        self.observation_space = observation_space
        self.action_space: Space
        self.action_space, self._translate = usable_actions(taken, env_id)
        self.autoreset: Autoreset = self._envs.metadata["autoreset_mode"].value

    def reset(self) -> RawStep:
        self._envs.async_reset()  # EnvPool ignores a seed given to reset()
        return self.recv()

    def send(self, actions: np.ndarray) -> None:
        self._envs.send(self._translate(actions))

    def recv(self) -> RawStep:
        observations, rewards, terminated, truncated, info = self._envs.recv()
        # EnvPool's `terminated` omits a game that is over at the step limit; the info does not.
        terminated = info.get("terminated", terminated).astype(bool)
        observations = self._arrange(info["ram"] if self._ram else observations)
        lives = info.get("lives", np.zeros(self.num_envs, dtype=np.int32))
        scored = None if self._scored is None else info[self._scored].astype(np.float32)
        return in_environment_order(RawStep(observations, rewards, terminated, truncated, lives, scored), info["env_id"])


def _unchanged(observations: np.ndarray) -> np.ndarray:
    return observations


def _flat(observations: np.ndarray) -> np.ndarray:
    return observations.reshape(len(observations), -1)


def _only_frame(observations: np.ndarray) -> np.ndarray:
    assert observations.shape[1] == 1, observations.shape  # a stack of one
    return observations[:, 0]


def _channels_last(observations: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(observations, 1, -1))
