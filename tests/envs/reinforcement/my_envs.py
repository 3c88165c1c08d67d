"""User-defined environments, as a module that registers them."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Text, Tuple

IMAGE = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
SPACES: dict[str, tuple[Any, Any]] = {
    "last": (Box(0, 255, (4, 5, 3), np.uint8), IMAGE),
    "first": (Box(0, 255, (3, 4, 5), np.uint8), np.moveaxis(IMAGE, -1, 0)),
    "grey": (Box(0, 255, (4, 5), np.uint8), IMAGE[..., 0]),
    "float": (Box(0, 1, (4, 5, 3), np.float32), np.float32(IMAGE / 60)),
    "dict": (Dict(b=Box(-1, 1, (2, 2), np.float64), a=Discrete(3)), {"b": np.full((2, 2), 0.5), "a": 1}),
    "tuple": (Tuple((Discrete(2, start=5), Box(-1, 1, (1,)))), (6, np.float32([0.25]))),
    "text": (Text(5), "hello"),
    "broken": (Box(-1, 1, (2,)), np.float32([0, np.nan])),
}
ACTIONS: dict[str, Any] = {
    "two": Discrete(2),
    "offset": Discrete(3, start=-1),
    "several": MultiDiscrete([2, 3]),
    "many": MultiDiscrete([17, 17, 17]),
    "box": Box(np.float32([[-1, 0], [-0.8, -2]]), np.float32([[1, 10], [1.1, 6]])),
    "endless": Box(-np.inf, np.float32([1, np.inf])),
    "steps": Box(0, 9, (2,), np.int64),
}


class Shown(gymnasium.Env):
    """An environment with one constant observation that keeps its actions and ends after `length` steps, if ever."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  # as Gymnasium has it

    def __init__(self, shows: str = "last", takes: str = "two", length: int = 10**6, render_mode: str | None = None) -> None:
        self.observation_space, self._shown = SPACES[shows]
        self.action_space, self.length, self.render_mode = ACTIONS[takes], length, render_mode
        self.pay, self.name, self.taken, self.steps = 1.0, "shown", [], 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._shown, {}

    def step(self, action: Any) -> Any:
        self.taken.append(np.asarray(action).tolist())
        self.steps += 1
        return self._shown, self.pay, self.steps >= self.length, False, {}

    def render(self) -> np.ndarray:
        return np.full((6, 7, 3), self.steps, np.uint8)


gymnasium.register("Shown-v0", entry_point=Shown, max_episode_steps=4)
