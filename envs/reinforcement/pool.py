"""Many environments at once: EnvPool and ale-py behind one layer that checks what goes in and fixes what the answers mean.

Imports no torch, and the backends only when a pool of theirs is made. Both are held to the same rules, whatever their defaults are:
- The step after an episode's end ignores its action and answers with the next episode's first observation: no transition leads there.
- Rewards are the game's own, never clipped. A lost life is reported and nothing more: the game goes on.
- Each environment has its own seed; a trajectory depends on seed and actions, not on the number of threads.
- Resets press no-ops alone, as in the protocol of the published scores. Both backends press FIRE too, unless told not to: EnvPool after
  the no-ops, ale-py before.
- Step limits count from the first observation; a game that is over at the limit has terminated, and is not truncated.

With the same seed and equally many no-ops, both backends play the same first episode bit for bit, sticky actions included. What differs:
- EnvPool draws 1 to `noops` no-ops, ale-py 0 to `noops`, and from other random streams. Later episodes start with the emulator's
  random state that the earlier ones left, so they differ once the earlier ones did.
- An observation is the maximum of a step's last two frames, but that of an episode's last step may hold older ones: EnvPool's when the
  game is over, ale-py's at the step limit too.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from plasticity_rl.checks import UsageError
from plasticity_rl.experiment import MAX_SEED

FRAME_SKIP = 4
FULL_ACTIONS = 18
SCREEN = (210, 160)  # of the console, height and width; all games with published scores fill it
# Skiing's full set leaves FIRE out and has 9 actions. Each of the 18 stands for the one with the same joystick position.
WITHOUT_FIRE = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8])


class Step(NamedTuple):
    """What N environments answer, in environment order. Terminated, truncated, lost_life and first exclude one another."""

    observations: np.ndarray
    """(N, *observation_shape): one frame each, (N, 84, 84) uint8 in Atari, (N, 3, 64, 64) uint8 in Procgen; float32 features elsewhere"""
    rewards: np.ndarray
    """(N,) float32, as the game gives them"""
    terminated: np.ndarray
    """(N,) bool: the game is over"""
    truncated: np.ndarray
    """(N,) bool: the step limit cut the game"""
    lost_life: np.ndarray
    """(N,) bool: there are fewer lives than a step ago, and the game goes on"""
    first: np.ndarray
    """(N,) bool: the observation opens an episode, and the action before it was ignored"""

    @property
    def clipped(self) -> np.ndarray:
        """(N,) float32: the rewards, cut to [-1, 1]."""
        return np.clip(self.rewards, -1, 1)


class Answer(NamedTuple):
    """What a backend reports, in environment order: the parts of a Step, and how many lives are left, (N,) int."""

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    lives: np.ndarray


class Backend(Protocol):
    """What a Pool is made from. It may trust the actions; after an end, it resets the environment in the next step."""

    num_envs: int
    actions: int
    observation_shape: tuple[int, ...]

    def reset(self) -> Answer: ...
    def send(self, actions: np.ndarray) -> None: ...
    def recv(self) -> Answer: ...


class Pool:
    """N environments that step together. `reset()` once, then `send(actions)` and `recv()` in turn; between the two they step on their own.

    A call out of turn, or after `close()`, raises RuntimeError. The backends would answer some of them by aborting the process.
    """

    def __init__(self, backend: Backend) -> None:
        self.num_envs = backend.num_envs
        self.actions = backend.actions
        self.observation_shape = backend.observation_shape
        self._backend: Backend | None = backend
        self._turn: Literal["reset", "send", "recv"] = "reset"
        self._ended = np.ones(self.num_envs, dtype=bool)
        self._lives = np.zeros(self.num_envs, dtype=np.int32)

    def reset(self) -> Step:
        """The first observations: `first` holds everywhere."""
        answer = self._take("reset").reset()
        self._turn = "send"
        return self._read(answer)

    def send(self, actions: np.ndarray) -> None:
        """Start a step. `actions`, which may be overwritten afterwards, are (N,) integers in [0, self.actions): ValueError otherwise."""
        backend = self._take("send")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(f"actions must be {self.num_envs} integers, not {actions.dtype} of shape {actions.shape}")
        if actions.min() < 0 or actions.max() >= self.actions:
            raise ValueError(f"actions must lie in [0, {self.actions}), not in [{actions.min()}, {actions.max()}]")
        backend.send(actions.astype(np.int32))
        self._turn = "recv"

    def recv(self) -> Step:
        """Wait for the step to end. The arrays stay as they are afterwards."""
        answer = self._take("recv").recv()
        self._turn = "send"
        return self._read(answer)

    def close(self) -> None:
        """Let go of the emulators and their threads, also in the middle of a step; a second call does nothing."""
        self._backend = None

    def _take(self, call: str) -> Backend:
        if self._backend is None:
            raise RuntimeError(f"{call}() of a closed pool")
        if call != self._turn:
            raise RuntimeError(f"{call}() out of turn: the pool waits for {self._turn}()")
        return self._backend

    def _read(self, answer: Answer) -> Step:
        first, ended = self._ended, answer.terminated | answer.truncated
        lost_life = (answer.lives < self._lives) & ~first & ~ended
        self._ended, self._lives = ended, answer.lives
        return Step(answer.observations, answer.rewards, answer.terminated, answer.truncated & ~answer.terminated, lost_life, first)


def envpool_atari(
    game: str,
    seeds: Sequence[int] | np.ndarray,
    threads: int,
    *,
    sticky: float,
    full_actions: bool,
    noops: int,
    episode_frames: int,
    colour: bool = False,
    mode: int = -1,
    difficulty: int = -1,
) -> Pool:
    """A pool of one Atari game, stepped by EnvPool.

    `game` is EnvPool's name (`MsPacman`), `seeds` holds one per environment: distinct, in [0, 2^31 - 1). `sticky` is the probability
    that an action repeats the one before, frame by frame; `noops` the most at a reset, at least 1; `episode_frames` the emulator frames
    after which a game is cut, a multiple of 4. `full_actions` gives each game the same 18, otherwise it has those that it reacts to.
    `colour` shows the screen itself, (210, 160, 3), and changes nothing else. `mode` and `difficulty` are among `ale_choices`; -1 is the
    game's default. Raises UsageError for a setting out of range.
    """
    _check_atari(sticky, noops, episode_frames)
    backend = _EnvPool(
        f"{game}-v5",
        _check_seeds(seeds),
        _check_threads(threads),
        _channels_last if colour else _only_frame,
        stack_num=1,
        gray_scale=not colour,
        img_height=SCREEN[0] if colour else 84,
        img_width=SCREEN[1] if colour else 84,
        mode=mode,
        difficulty=difficulty,
        frame_skip=FRAME_SKIP,
        noop_max=noops,
        use_fire_reset=False,
        episodic_life=False,
        reward_clip=False,
        repeat_action_probability=sticky,
        full_action_space=full_actions,
        max_episode_steps=episode_frames // FRAME_SKIP,
    )
    return Pool(_with_all_actions(backend) if full_actions else backend)


def ale_atari(
    game: str,
    seeds: Sequence[int] | np.ndarray,
    threads: int,
    *,
    sticky: float,
    full_actions: bool,
    noops: int,
    episode_frames: int,
    colour: bool = False,
) -> Pool:
    """A pool of one Atari game, stepped by ale-py, which knows the default mode and difficulty alone. Arguments and errors are otherwise
    those of `envpool_atari`.
    """
    _check_atari(sticky, noops, episode_frames)
    backend = _Ale(
        ale_name(game),
        _check_seeds(seeds),
        _check_threads(threads),
        stack_num=1,
        grayscale=not colour,
        img_height=SCREEN[0] if colour else 84,
        img_width=SCREEN[1] if colour else 84,
        frameskip=FRAME_SKIP,
        noop_max=noops + 1,  # it draws below this
        use_fire_reset=False,
        episodic_life=False,
        life_loss_info=False,
        reward_clipping=False,
        repeat_action_probability=sticky,
        full_action_space=full_actions,
        max_num_frames_per_episode=episode_frames,
    )
    return Pool(_with_all_actions(backend) if full_actions else backend)


def envpool_control(
    problem: str,
    seeds: Sequence[int] | np.ndarray,
    threads: int,
    *,
    features: np.ndarray | None = None,
    actions: np.ndarray | None = None,
) -> Pool:
    """A pool of one of EnvPool's small problems (`CartPole-v1`), with the step limit that belongs to the name. Observations are float32
    vectors; a board is read row by row.

    An environment may be given its own names for both: feature f of environment i is the original's `features[i, f]`, (N, F), and action a
    stands for the original's `actions[i, a]`, (N, A). An episode that is over in the step of the limit counts as truncated, as EnvPool
    does not tell.
    """
    backend = _EnvPool(problem, _check_seeds(seeds), _check_threads(threads), _flat)
    return Pool(_Relabelled(backend, features=features, actions=actions))


def envpool_procgen(
    game: str, seeds: Sequence[int] | np.ndarray, threads: int, *, distribution: str, first: int, levels: int, colour: bool = False
) -> Pool:
    """A pool of one Procgen game, stepped by EnvPool: every episode is on one of the levels `first` to `first + levels - 1`.

    `game` is EnvPool's name (`Coinrun`), `distribution` is easy or hard; an environment's seed decides the order of its levels, and nothing
    else. Observations are RGB, (3, 64, 64), or with `colour`, for people, (64, 64, 3). Raises UsageError where the system has no Qt 5.
    """
    try:
        from envpool.procgen import ProcgenEnvSpec  # noqa: F401  # EnvPool imports without Qt, and refuses here
    except ImportError as error:
        what = error.__cause__ or error
        raise UsageError(f"Procgen needs the system's Qt 5 libraries, in Debian the package libqt5gui5 ({what})") from error
    backend = _EnvPool(
        f"{game}{distribution.capitalize()}-v0",
        _check_seeds(seeds),
        _check_threads(threads),
        _as_they_are,
        channel_first=not colour,
        start_level=first,
        num_levels=levels,
    )
    return Pool(backend)


def ale_name(game: str) -> str:
    """ale-py's name of a game: `ms_pacman` for `MsPacman`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in game).removeprefix("_")


@functools.cache
def ale_choices(game: str) -> dict[str, tuple[int, ...]]:
    """The modes and difficulties of a game, as the console's switches set them: {"mode": ..., "difficulty": ...} (Machado et al. 2018,
    arXiv 1709.06009). Takes ale-py a tenth of a second.
    """
    from ale_py import ALEInterface, LoggerMode, roms

    ALEInterface.setLoggerMode(LoggerMode.Error)  # no banner
    ale = ALEInterface()
    ale.loadROM(str(roms.get_rom_path(ale_name(game))))
    return {"mode": tuple(ale.getAvailableModes()), "difficulty": tuple(ale.getAvailableDifficulties())}


def _as_they_are(observations: np.ndarray) -> np.ndarray:
    return observations


def _flat(observations: np.ndarray) -> np.ndarray:
    return observations.reshape(len(observations), -1)


def _only_frame(observations: np.ndarray) -> np.ndarray:
    assert observations.shape[1] == 1, observations.shape  # a stack of one
    return observations[:, 0]


def _channels_last(observations: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(observations, 1, -1))


class _EnvPool:
    """EnvPool in synchronous mode. `arrange` makes our observations of EnvPool's, (N, ...)."""

    def __init__(self, task: str, seeds: list[int], threads: int, arrange: Callable[[np.ndarray], np.ndarray], **settings: Any) -> None:
        import envpool
        from gymnasium.vector import AutoresetMode

        self.num_envs = len(seeds)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*precision lowered by casting", category=UserWarning)  # CartPole's float64 bounds
            self._envs: Any = envpool.make(
                task,
                env_type="gymnasium",
                num_envs=self.num_envs,
                batch_size=self.num_envs,
                num_threads=threads,
                seed=seeds,
                **settings,
            )
            space = self._envs.observation_space
        self._arrange = arrange
        self.observation_shape: tuple[int, ...] = arrange(np.empty((1, *space.shape), space.dtype)).shape[1:]
        self.actions = int(self._envs.action_space.n)
        assert self._envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP

    def reset(self) -> Answer:
        self._envs.async_reset()
        return self.recv()

    def send(self, actions: np.ndarray) -> None:
        self._envs.send(actions)

    def recv(self) -> Answer:
        observations, rewards, terminated, truncated, info = self._envs.recv()
        # Its `terminated` leaves out a game that is over at the step limit, the info does not.
        over = info.get("terminated", terminated).astype(bool)
        lives = info.get("lives", np.zeros(self.num_envs, dtype=np.int32))
        answer = Answer(self._arrange(observations), rewards, over, truncated, lives)
        return _in_order(answer, info["env_id"])


class _Ale:
    """ale-py's vector environment."""

    def __init__(self, game: str, seeds: list[int], threads: int, **settings: Any) -> None:
        from ale_py.vector_env import AtariVectorEnv
        from gymnasium.vector import AutoresetMode

        self.num_envs = len(seeds)
        self._seeds = np.array(seeds)
        self._envs: Any = AtariVectorEnv(
            game, num_envs=self.num_envs, num_threads=threads, autoreset_mode=AutoresetMode.NEXT_STEP, **settings
        )
        self.observation_shape: tuple[int, ...] = self._envs.single_observation_space.shape[1:]  # less the stack, of one
        self.actions = int(self._envs.single_action_space.n)

    def reset(self) -> Answer:
        observations, info = self._envs.reset(seed=self._seeds)
        nothing = np.zeros(self.num_envs, dtype=bool)
        return self._answer(observations, nothing, nothing, nothing, info)

    def send(self, actions: np.ndarray) -> None:
        self._envs.send(actions)

    def recv(self) -> Answer:
        return self._answer(*self._envs.recv())

    def _answer(
        self, observations: np.ndarray, rewards: np.ndarray, over: np.ndarray, truncated: np.ndarray, info: dict[str, np.ndarray]
    ) -> Answer:
        answer = Answer(observations.reshape(-1, *self.observation_shape), rewards.astype(np.float32), over, truncated, info["lives"])
        return _in_order(answer, info["env_id"])


class _Relabelled:
    """The same environments, some under their own names for features and actions."""

    def __init__(self, backend: Backend, *, features: np.ndarray | None = None, actions: np.ndarray | None = None) -> None:
        self._backend, self._features, self._table = backend, features, actions
        self.num_envs, self.observation_shape = backend.num_envs, backend.observation_shape
        self.actions = backend.actions if actions is None else actions.shape[1]
        assert actions is None or actions.shape == (self.num_envs, self.actions), actions.shape
        assert features is None or features.shape == (self.num_envs, *self.observation_shape), features.shape

    def reset(self) -> Answer:
        return self._rename(self._backend.reset())

    def send(self, actions: np.ndarray) -> None:
        self._backend.send(actions if self._table is None else self._table[np.arange(self.num_envs), actions].astype(np.int32))

    def recv(self) -> Answer:
        return self._rename(self._backend.recv())

    def _rename(self, answer: Answer) -> Answer:
        if self._features is None:
            return answer
        return answer._replace(observations=np.take_along_axis(answer.observations, self._features, axis=1))


def _with_all_actions(backend: Backend) -> Backend:
    if backend.actions == FULL_ACTIONS:
        return backend
    assert backend.actions == WITHOUT_FIRE.max() + 1, backend.actions
    return _Relabelled(backend, actions=np.tile(WITHOUT_FIRE, (backend.num_envs, 1)))


def _in_order(answer: Answer, env_ids: np.ndarray) -> Answer:
    order = np.argsort(env_ids)
    return Answer(*(values[order] for values in answer))


def _check_atari(sticky: float, noops: int, episode_frames: int) -> None:
    if not 0 <= sticky <= 1:
        raise UsageError(f"sticky must lie in [0, 1], not {sticky!r}")
    if noops < 1:
        raise UsageError(f"noops must be at least 1, not {noops!r}: EnvPool crashes without")
    if episode_frames < FRAME_SKIP or episode_frames % FRAME_SKIP:
        raise UsageError(f"episode_frames must be a multiple of {FRAME_SKIP} and positive, not {episode_frames!r}")


def _check_seeds(seeds: Sequence[int] | np.ndarray) -> list[int]:
    array = np.asarray(seeds)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise UsageError(f"seeds must be a list of integers, one for each environment, not {array.dtype} of shape {array.shape}")
    if array.min() < 0 or array.max() >= MAX_SEED:
        raise UsageError(f"seeds must lie in [0, {MAX_SEED}), not in [{array.min()}, {array.max()}]")
    if len(np.unique(array)) < len(array):
        raise UsageError("seeds must be distinct: environments with one seed play the same game")
    return array.tolist()


def _check_threads(threads: int) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise UsageError(f"threads must be a whole number of at least 1, not {threads!r}")
    return threads
