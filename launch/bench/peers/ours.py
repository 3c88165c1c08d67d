"""plasticity-rl, and its emulator without a learner, whose speed is an upper bound."""

import json
import sys
import time
from typing import Any, cast

import numpy as np

from envs.reinforcement.backends.spaces import Discrete
from launch.config import parse

NAME = "plasticity-rl"
EMULATOR = "EnvPool"
THREADS = 2  # emulator threads, as for agents


def train(every: int, said: dict[str, Any]) -> None:
    """Train an experiment in words until killed; report after `every` steps of a member, a multiple of the pool's environments."""
    import torch

    from agents.loops import base
    from launch.run.runner import prepare
    from plasticity_rl.records.events import Tick

    device = "cuda" if torch.cuda.is_available() else "cpu"
    experiment = parse.experiment(said, device)
    prepare(experiment, device)
    base.TICK = every // cast(Any, experiment.agent).num_envs
    for event in experiment.agent.train(experiment, device, True, None):
        if isinstance(event, Tick) and event.steps % every == 0:
            report(event.steps * experiment.members)


def emulate(num_envs: int, said: dict[str, Any]) -> None:
    """Run the benchmark with uniformly random actions and no learner until killed."""
    benchmark = cast(Any, parse.experiment(said).benchmark)
    pool = benchmark.pool(benchmark.visits()[0], np.arange(num_envs)[None], THREADS, 0)
    generator, done, space = np.random.default_rng(0), 0, pool.action_space
    pool.reset()
    while True:
        for _ in range(100):
            if isinstance(space, Discrete):
                pool.send(generator.integers(space.n, size=num_envs))
            else:
                pool.send(generator.uniform(space.low, space.high, (num_envs, *space.shape)).astype(np.float32))
            pool.recv()
        done += 100 * num_envs
        report(done)


def report(steps: int) -> None:
    print(f"steps {steps} at {time.monotonic()}", flush=True)


if __name__ == "__main__":
    {"train": train, "emulate": emulate}[sys.argv[1]](int(sys.argv[2]), json.loads(sys.argv[3]))
