"""Agents learn: five members, compiled, with each agent's settings for control problems. Takes minutes."""

import numpy as np
import pytest

from launch.config.parse import experiment
from tests.training import events, scores

# Torch's compile warnings are its own.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")]


def evaluated(benchmark: str, agent: str, frames: int, episodes: int) -> float:
    """Mean return of evaluations after the last step."""
    said = {"benchmark": f"{benchmark}:tasks=1,frames={frames}", "agent": agent, "members": 5, "checkpoint_every": frames}
    rows = scores(events(experiment(said | {"evaluate": episodes}), compile=True), "evaluation")
    assert len(rows) == 5 * episodes
    return float(np.mean([row.score for row in rows]))


@pytest.mark.parametrize(
    ("benchmark", "agent", "frames", "goal"),
    [
        ("cartpole", "dqn", 96_000, 400),
        ("cartpole", "pqn", 102_400, 400),
        ("cartpole", "ppo", 30_720, 400),
        ("cartpole", "impala", 102_400, 400),
        ("catch", "dqn", 20_000, 0.9),
        ("catch", "pqn", 30_720, 0.9),
        ("catch", "ppo", 40_960, 0.9),
        ("catch", "impala", 60_000, 0.9),
    ],
)
def test_five_members_learn(benchmark: str, agent: str, frames: int, goal: float) -> None:
    found = evaluated(benchmark, agent, frames, episodes=10)
    print(f"{agent} on {benchmark}: {found:.2f}")
    assert found > goal


def test_sac_swings_a_pendulum_up() -> None:
    """Returns lie between about -1,600 and 0, those of random actions at about -1,200, and good ones at -150."""
    agent, frames = "sac:batch_size=128,min_replay=1000,random_fraction=0.1", 10_000
    said = {"benchmark": f"envpool:ids=Pendulum-v1,frames={frames}", "agent": agent, "network": "mlp:depth=2,width=64", "members": 2}
    said |= {"schedule": "constant:rate=1e-3", "checkpoint_every": 2_500, "diagnose_every": frames, "evaluate": 10}
    rows = [row for row in scores(events(experiment(said), compile=True), "evaluation") if row.steps == frames]
    found = float(np.mean([row.score for row in rows]))
    print(f"sac on Pendulum-v1: {found:.0f}")
    assert len(rows) == 20 and found > -200
