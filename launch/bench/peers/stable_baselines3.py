"""Stable-Baselines3: PPO and DQN with `CnnPolicy` (its Nature CNN), its Atari wrappers and four stacked frames; SAC on Pendulum.

Several emulators run in separate processes (SubprocVecEnv). Run this file as a script, with the Python of its virtual environment.
"""

import json
import sys
import time
from typing import Any

NAME = "Stable-Baselines3"
VERSION = "2.9.2"
REQUIREMENTS = (f"stable-baselines3=={VERSION}", "torch==2.13.0", "gymnasium==1.4.0", "ale-py==0.12.1", "opencv-python-headless==5.0.0.93")
REPORT = 100  # minimum steps between two reports; PPO reports once per rollout


def breakout(**settings: Any) -> Any:
    """Make the game, in any process."""
    import ale_py  # pyright: ignore[reportMissingImports]
    import gymnasium  # pyright: ignore[reportMissingImports]

    gymnasium.register_envs(ale_py)
    return gymnasium.make("BreakoutNoFrameskip-v4", **settings)


def train(algorithm: str, num_envs: int, settings: dict) -> None:
    """Train until killed; `settings` are the algorithm's arguments."""
    import stable_baselines3  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.callbacks import BaseCallback  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.env_util import make_atari_env  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack  # pyright: ignore[reportMissingImports]

    class Reports(BaseCallback):
        reported = 0

        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            if self.num_timesteps >= self.reported + REPORT:
                self.reported = self.num_timesteps
                print(f"steps {self.num_timesteps} at {time.monotonic()}", flush=True)

    if algorithm == "SAC":
        stable_baselines3.SAC("MlpPolicy", "Pendulum-v1", **settings).learn(10**9, callback=Reports())
    kind = SubprocVecEnv if num_envs > 1 else DummyVecEnv
    pool = VecFrameStack(make_atari_env(breakout, n_envs=num_envs, seed=0, vec_env_cls=kind), n_stack=4)
    getattr(stable_baselines3, algorithm)("CnnPolicy", pool, **settings).learn(10**9, callback=Reports())


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
