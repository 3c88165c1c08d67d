"""Does the verdict of `check` agree with what retraining then shows? `pip install 'plasticity-rl[stable-baselines3]'`, then
`python examples/check_and_retrain.py OUT` (about half an hour on one processor; a pair that OUT has is not trained again).

Ten agents of Stable-Baselines3 learn CartPole, and ten more are ruined there, by a high learning rate or by observations that shift again
and again. Each checkpoint is checked; then it learns a task that it never saw, CartPole with permuted observations and swapped actions, at
the usual rate and with a new optimizer, beside a new agent on the same task: the ratio of areas under the two learning curves is what
retraining shows. Once more it learns with new heads, as a policy that is sure of the old task has to unlearn it first.
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

try:
    import gymnasium
    from stable_baselines3 import DQN, PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
except ModuleNotFoundError as error:
    print(f"error: {error.name} is not installed: pip install 'plasticity-rl[stable-baselines3]'", file=sys.stderr)
    sys.exit(2)

from launch.check.inputs import collect
from launch.check.readers import read
from plasticity_rl import check

WINDOWS = 20
"""of a learning curve; the area is the mean over them"""
SHIFTS = 6
"""changes of the observations' offset, of up to 2 in each feature"""


HEADS = ("action_net.", "value_net.", "q_net.q_net.4.", "q_net_target.q_net.4.")


class Kind(NamedTuple):
    """An agent, its usual settings, and those that ruin it."""

    steps: int
    make: Callable[..., Any]
    rate: float
    ruinous: float


def ppo(env: Any, rate: float, seed: int) -> PPO:
    return PPO("MlpPolicy", env, learning_rate=rate, n_steps=128, batch_size=128, n_epochs=10, seed=seed, device="cpu")


def dqn(env: Any, rate: float, seed: int) -> DQN:
    settings = {"batch_size": 64, "learning_starts": 1000, "target_update_interval": 10, "train_freq": 64, "gradient_steps": 32}
    exploring = {"exploration_fraction": 0.16, "exploration_final_eps": 0.04, "buffer_size": 50_000}
    return DQN("MlpPolicy", env, learning_rate=rate, seed=seed, device="cpu", **settings, **exploring)


KINDS = {"ppo": Kind(40_000, ppo, 1e-3, 5e-2), "dqn": Kind(30_000, dqn, 1e-3, 5e-2)}
PAIRS = [("ppo", "high rate", seed) for seed in range(3)] + [("ppo", "shifts", seed) for seed in range(3, 6)]
PAIRS += [("dqn", "high rate", seed) for seed in range(6, 8)] + [("dqn", "shifts", seed) for seed in range(8, 10)]


class Task(gymnasium.Wrapper):
    """CartPole with an offset, or with its observations permuted and its actions swapped."""

    def __init__(self, env: gymnasium.Env, offset: np.ndarray | None = None, order: np.ndarray | None = None) -> None:
        super().__init__(env)
        self._offset, self._order = offset, order

    def reset(self, **given: Any) -> Any:
        observation, info = self.env.reset(**given)
        return self._shown(observation), info

    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(1 - action if self._order is not None else action)
        return self._shown(observation), *rest

    def _shown(self, observation: np.ndarray) -> np.ndarray:
        observation = observation if self._order is None else observation[self._order]
        return (observation if self._offset is None else observation + self._offset).astype(np.float32)


class Returns(BaseCallback):
    """Return of each episode, and the step at which it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        self.found += [(self.num_timesteps, info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info]
        return True

    def area(self, steps: int) -> float:
        """Mean over windows of the mean return of the episodes that ended there; a window without takes the one before."""
        means, last = [], 0.0
        for window in range(WINDOWS):
            low, high = (steps * edge / WINDOWS for edge in (window, window + 1))
            ended = [score for step, score in self.found if low < step <= high]
            last = float(np.mean(ended)) if ended else last
            means.append(last)
        return float(np.mean(means))


def task(kind: str, seed: int, **given: Any) -> Any:
    number = 8 if kind == "ppo" else 1
    return make_vec_env("CartPole-v1", number, seed=seed, wrapper_class=Task, wrapper_kwargs=given)


def trained(kind: str, seed: int, ruin: str) -> Any:
    """An agent after CartPole alone (`ruin` empty), or ruined."""
    of = KINDS[kind]
    draw = np.random.default_rng(seed)
    model = of.make(task(kind, seed), of.ruinous if ruin == "high rate" else of.rate, seed)
    model.learn(of.steps)
    for _ in range(SHIFTS if ruin == "shifts" else 0):
        model.set_env(task(kind, seed, offset=draw.uniform(-2, 2, 4)))
        model.learn(of.steps, reset_num_timesteps=False)
    return model


def relearned(kind: str, seed: int, weights: dict[str, torch.Tensor] | None, heads: bool = True) -> float:
    """Area of the new task's learning curve, from these weights or as a new agent; with new heads if `heads` is False."""
    of, returns = KINDS[kind], Returns()
    order = np.random.default_rng([seed, 1]).permutation(4)
    model = of.make(task(kind, seed + 100, order=order), of.rate, seed + 100)
    if weights is not None:
        kept = {name: each for name, each in weights.items() if heads or not name.startswith(HEADS)}
        model.policy.load_state_dict(kept, strict=False)
    model.learn(of.steps, callback=returns)
    return returns.area(of.steps)


def rows(kind: str, ruin: str, seed: int, out: Path) -> list[dict[str, Any]]:
    """What the check says of a healthy and a ruined agent, and what retraining shows."""
    fresh, found = relearned(kind, seed, None), []
    for state in ("", ruin):
        model = trained(kind, seed, state)
        path = out / f"{kind}-{seed}-{state.replace(' ', '-') or 'healthy'}.zip"
        model.save(path)
        subjects = read(path, None, None)
        row: dict[str, Any] = {"agent": kind, "seed": seed, "state": state or "healthy"}
        for subject in subjects:
            seen = subject.prepare(collect("CartPole-v1", 512, subject, "random", seed).observations)
            of = check(subject.module, seen, fresh=subject.fresh, actions=subject.actions, name=subject.name)
            row[f"{subject.name}_ratio"], row[f"{subject.name}_area"] = of.trainability.final.value, of.trainability.area.value
            row[f"{subject.name}_interval"], row[f"{subject.name}_verdict"] = of.trainability.final.interval, of.verdict.word
        row["retrained"] = relearned(kind, seed, model.policy.state_dict()) / fresh
        row["new_heads"] = relearned(kind, seed, model.policy.state_dict(), heads=False) / fresh
        row["fresh_area"] = fresh
        found.append(row)
    return found


def main(out: Path) -> None:
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    for kind, ruin, seed in PAIRS:
        table = out / f"{kind}-{seed}.csv"
        if not table.exists():
            made = rows(kind, ruin, seed, out)
            with table.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(made[0]))
                writer.writeheader()
                writer.writerows(made)
        print(table.read_text(encoding="utf-8"), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: python examples/check_and_retrain.py OUT - a folder for checkpoints and tables", file=sys.stderr)
        sys.exit(2)
    main(Path(sys.argv[1]))
