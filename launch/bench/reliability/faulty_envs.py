"""CartPole with a fault at one of its steps, as a module that registers it."""

import os
import time
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv


class Faulty(CartPoleEnv):
    """CartPole that fails when it has made `at` steps, `times` times in all; `fault` says how, and `log` counts."""

    def __init__(self, fault: str = "none", at: int = 0, times: int = 0, log: str = "", render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self._fault, self._at, self._times, self._log, self._steps = fault, at, times, Path(log), 0

    def step(self, action: Any) -> Any:
        self._steps += 1
        done = self._log.stat().st_size if self._log.exists() else 0
        if self._fault != "none" and self._steps == self._at and done < self._times:
            with self._log.open("a") as log:
                log.write(".")
            if self._fault == "raise":
                raise KeyError(f"fault {done}")
            if self._fault == "same":
                raise KeyError("fault")
            if self._fault == "abort":
                os.abort()
            if self._fault == "hang":
                time.sleep(600)
            if self._fault.startswith("observation"):
                return super().step(action)[0] * float(self._fault.removeprefix("observation-")), 1.0, False, False, {}
            if self._fault == "reward":
                return super().step(action)[0], float("nan"), False, False, {}
            if self._fault == "shape":
                return super().step(action)[0][:2], 0.0, False, False, {}
        return super().step(action)


class Unseeded(Faulty):
    """The same, whose episodes begin anywhere."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=None, options=options)


gymnasium.register("Faulty-v0", entry_point=f"{__name__}:Faulty", max_episode_steps=50)
gymnasium.register("Unseeded-v0", entry_point=f"{__name__}:Unseeded", max_episode_steps=50)
