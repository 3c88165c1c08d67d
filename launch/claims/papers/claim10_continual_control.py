"""Claim 10: on a control problem that changes untold, plain PPO stops learning, and three methods keep some of it."""

from launch.claims.definition import Arm, Claim, Scale
from launch.sweeps.continual_control import CHAINS

NAMES = {"": "none", "reset": "fresh control"}

CLAIM = Claim(
    title="On continual CartPole plain PPO fails, and L2 Init, C-CHAIN and weight clipping keep some of its return",
    says="Over ten tasks of CartPole with untold offsets, PPO scores 61.8 where new networks score 299.9; L2 Init has 266.1, C-CHAIN 160.4 "
    "and weight clipping 154.3 (means over all steps, six seeds).",
    paper="Tang et al. 2025, arXiv 2506.00592; Muppidi et al. 2024, arXiv 2405.16642",
    notes="The runs of the sweep of docs/continual-control.md, six members: each method at its defaults, where the paper tunes "
    "strengths, and eight environments where the paper has one. Returns after the first task. Whether networks cannot fit or do not "
    "explore is in the report of the same runs.",
    grid={},
    arms=tuple(Arm(NAMES.get(" + ".join(chain), " + ".join(chain)), {"chain": chain}) for chain in CHAINS),
    scales={
        "small": Scale(words={"benchmark": "continual-cartpole"}, looks=(6,)),
        "paper": Scale(words={"benchmark": "continual-cartpole", "agent": "ppo:num_envs=1,rollout_length=800"}, looks=(6,)),
    },
    score="return",
    sweep="launch/sweeps/continual_control.py",
)
