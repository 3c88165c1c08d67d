"""Agents in float32 and in bfloat16, five members each: the curves in docs/benchmarks.md.

Control problems, with the agents' default settings for them.
"""

CONTROL = (
    ("cartpole:tasks=1,frames=96_000", "dqn", 12_000),
    ("cartpole:tasks=1,frames=102_400", "pqn", 12_800),
    ("cartpole:tasks=1,frames=30_720", "ppo", 3_840),
    ("catch:tasks=1,frames=20_000", "dqn", 2_500),
    ("catch:tasks=1,frames=30_720", "pqn", 3_840),
    ("catch:tasks=1,frames=40_960", "ppo", 5_120),
)

EXPERIMENTS = tuple(
    {
        "benchmark": benchmark,
        "agent": agent,
        "network": f"mlp:precision={precision}",
        "members": 5,
        "checkpoint_every": every,
        "evaluate": 20,
    }
    for benchmark, agent, every in CONTROL
    for precision in ("float32", "bfloat16")
)
