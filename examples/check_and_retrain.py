"""Does the verdict of `check` agree with what retraining then shows? `pip install 'plasticity-rl[stable-baselines3]'`, then
`python examples/check_and_retrain.py OUT` (an hour on an idle processor, half of it SAC's; a pair that OUT has is only checked again).

Eleven agents of Stable-Baselines3 learn CartPole or Pendulum, and eleven more learn it at a high rate, or while their observations shift
again and again. Each checkpoint is checked; then it learns a task that it never saw, with permuted observations and swapped actions, at
the usual rate and with a new optimizer, beside a new agent on the same task: the ratio of areas under the two learning curves is what
retraining shows. Once more it learns with new heads, as a policy that is sure of the old task has to unlearn it first.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

try:
    import gymnasium
    from stable_baselines3 import DQN, PPO, SAC
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
except ModuleNotFoundError as error:
    print(f"error: {error.name} is not installed: pip install 'plasticity-rl[stable-baselines3]'", file=sys.stderr)
    sys.exit(2)

from launch.check.inputs import collect
from launch.check.readers import read
from plasticity_rl import check
from plasticity_rl.attach.callbacks.stable_baselines3 import PlasticityCallback
from plasticity_rl.checkup.examine import Checkup
from plasticity_rl.checkup.verdict import ONCE

WINDOWS = 20
"""of a learning curve; the area is the mean over them"""
NEW = 3
"""new agents that the retrained one is compared with"""


HEADS = (
    *("action_net.", "value_net.", "q_net.q_net.4.", "q_net_target.q_net.4.", "actor.mu.", "actor.log_std."),
    *(f"{critic}.qf{number}.4." for critic in ("critic", "critic_target") for number in (0, 1)),
)


class Pair(NamedTuple):
    """A healthy agent and one that was trained otherwise, for as many steps in each of its tasks."""

    agent: str
    rate: float
    """learning rate of the other one"""
    shifts: int
    """changes of the offset of its observations, by up to 2 in each feature"""


def ppo(env: Any, rate: float, seed: int) -> PPO:
    return PPO("MlpPolicy", env, learning_rate=rate, n_steps=128, batch_size=128, n_epochs=10, seed=seed, device="cpu")


def dqn(env: Any, rate: float, seed: int) -> DQN:
    settings = {"batch_size": 64, "learning_starts": 1000, "target_update_interval": 10, "train_freq": 256, "gradient_steps": 128}
    exploring = {"exploration_fraction": 0.16, "exploration_final_eps": 0.04, "buffer_size": 50_000}
    wide = {"policy_kwargs": {"net_arch": [256, 256]}}
    return DQN("MlpPolicy", env, learning_rate=rate, seed=seed, device="cpu", **settings, **exploring, **wide)


def sac(env: Any, rate: float, seed: int) -> SAC:
    return SAC("MlpPolicy", env, learning_rate=rate, learning_starts=500, seed=seed, device="cpu")


class Setting(NamedTuple):
    """How an agent learns, and what."""

    cls: Any
    make: Callable[..., Any]
    rate: float
    """its usual learning rate"""
    env: str
    copies: int
    """environments side by side"""
    steps: int
    """of each task"""
    floor: float
    """return of random play, above which areas are measured"""


SETTINGS = {
    "ppo": Setting(PPO, ppo, 1e-3, "CartPole-v1", copies=8, steps=30_000, floor=0.0),
    "dqn": Setting(DQN, dqn, 2.3e-3, "CartPole-v1", copies=1, steps=30_000, floor=0.0),
    "sac": Setting(SAC, sac, 1e-3, "Pendulum-v1", copies=1, steps=6_000, floor=-1_200.0),
}
PAIRS = (
    *(Pair("ppo", rate, 0) for rate in (5e-2, 5e-2, 2e-2, 1e-2)),
    *(Pair("ppo", rate, 6) for rate in (3e-3, 3e-3, 1e-3)),
    *(Pair("dqn", rate, shifts) for rate, shifts in ((5e-2, 0), (1e-2, 0), (2.3e-3, 4))),
    Pair("sac", 3e-2, 0),
)


class Task(gymnasium.Wrapper):
    """CartPole or Pendulum with an offset, or with its observations permuted and its actions swapped."""

    def __init__(self, env: gymnasium.Env, offset: np.ndarray | None = None, order: np.ndarray | None = None) -> None:
        super().__init__(env)
        self._offset, self._order = offset, order

    def reset(self, **given: Any) -> Any:
        observation, info = self.env.reset(**given)
        return self._shown(observation), info

    def step(self, action: Any) -> Any:
        swapped = -action if isinstance(self.action_space, gymnasium.spaces.Box) else 1 - action
        observation, *rest = self.env.step(swapped if self._order is not None else action)
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


def task(setting: Setting, seed: int, **given: Any) -> Any:
    return make_vec_env(setting.env, setting.copies, seed=seed, wrapper_class=Task, wrapper_kwargs=given)


def features(setting: Setting) -> int:
    """Length of an observation."""
    return gymnasium.spec(setting.env).make().observation_space.shape[0]


def trained(pair: Pair, seed: int, ruined: bool) -> Any:
    """An agent after its first task at its usual rate, or the pair's other one."""
    setting = SETTINGS[pair.agent]
    draw = np.random.default_rng(seed)
    model = setting.make(task(setting, seed), pair.rate if ruined else setting.rate, seed)
    model.learn(setting.steps)
    for _ in range(pair.shifts if ruined else 0):
        model.set_env(task(setting, seed, offset=draw.uniform(-2, 2, features(setting))))
        model.learn(setting.steps, reset_num_timesteps=False)
    return model


def relearned(
    agent: str, seed: int, run: int = 0, weights: dict[str, torch.Tensor] | None = None, heads: bool = True, method: str = ""
) -> float:
    """Area of the new task's learning curve, of a new agent or from these weights: with new heads if `heads` is False, or with a method."""
    setting, returns = SETTINGS[agent], Returns()
    order = np.random.default_rng([seed, 1]).permutation(features(setting))
    model = setting.make(task(setting, 100 * run + seed + 50, order=order), setting.rate, 100 * run + seed + 50)
    if weights is not None:
        kept = {name: each for name, each in weights.items() if heads or not name.startswith(HEADS)}
        model.policy.load_state_dict(kept, strict=False)
    callbacks: list[BaseCallback] = [returns]
    if method:
        callbacks.append(PlasticityCallback(method, diagnose_every=0))
        if method.partition(":")[0] in ONCE:  # before anything is learned
            callbacks[1].init_callback(model)
            callbacks[1].on_training_start({}, {})
            callbacks[1].task_boundary()
            callbacks.pop().detach()
    model.learn(setting.steps, callback=callbacks)
    return returns.area(setting.steps) - setting.floor


def checked(path: Path, agent: str, seed: int) -> list[Checkup]:
    """Check all networks of a file."""
    found = []
    for subject in read(path, None, None):
        seen = subject.prepare(collect(SETTINGS[agent].env, 512, subject, "random", seed).observations)
        found.append(check(subject.module, seen, fresh=subject.fresh, actions=subject.actions, name=subject.name))
    return found


def retrained(pair: Pair, seed: int, out: Path) -> None:
    """Train both agents and retrain them; their files and ratios of areas are kept in `out`."""
    fresh = float(np.mean([relearned(pair.agent, seed, run) for run in range(NEW)]))
    for ruined in (False, True):
        model = trained(pair, seed, ruined)
        model.save(out / f"{seed}-{'other' if ruined else 'usual'}.zip")
        weights = model.policy.state_dict()
        ratios = {"fresh": fresh, "retrained": relearned(pair.agent, seed, weights=weights) / fresh}
        ratios["new heads"] = relearned(pair.agent, seed, weights=weights, heads=False) / fresh
        (out / f"{seed}-{'other' if ruined else 'usual'}.json").write_text(json.dumps(ratios), encoding="utf-8")


def row(pair: Pair, seed: int, ruined: bool, out: Path) -> str:
    """A row of the table. An agent that cannot fit is retrained with the advised method, too."""
    path = out / f"{seed}-{'other' if ruined else 'usual'}.zip"
    ratios, found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), checked(path, pair.agent, seed)
    method = next((each.verdict.method for each in found if each.verdict.word.startswith("cannot fit")), "")
    if method and ratios.get("method") != method:
        weights = SETTINGS[pair.agent].cls.load(path).policy.state_dict()
        ratios |= {"method": method, "advised": relearned(pair.agent, seed, weights=weights, method=method) / ratios["fresh"]}
        path.with_suffix(".json").write_text(json.dumps(ratios), encoding="utf-8")
    how = f"{pair.rate:g}" + f", {pair.shifts} shifts" * bool(pair.shifts) if ruined else "usual"
    told = "; ".join(f"{each.name}: {each.verdict.word}, {each.trainability.final}" for each in found)
    advised = f"{ratios['advised']:.2f} ({method})" if method else ""
    return f"| {pair.agent} {seed} | {how} | {told} | {ratios['retrained']:.2f} | {ratios['new heads']:.2f} | {advised} |"


def main(out: Path) -> None:
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    print("| agent | rate | verdict, trainability | retrained | with new heads | as advised |\n|---|---|---|---|---|---|", flush=True)
    for seed, pair in enumerate(PAIRS):
        if not (out / f"{seed}-other.json").exists():
            retrained(pair, seed, out)
        for ruined in (False, True):
            print(row(pair, seed, ruined, out), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: python examples/check_and_retrain.py OUT - a folder for checkpoints and tables", file=sys.stderr)
        sys.exit(2)
    main(Path(sys.argv[1]))
