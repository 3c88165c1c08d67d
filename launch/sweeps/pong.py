"""PQN on Pong for ten million frames, with Pong's six effective actions and without sticky actions: the curve in docs/benchmarks.md."""

EXPERIMENTS = (
    {
        "benchmark": "atari:games=Pong,frames=10_240_000,sticky=0,full_actions=false",
        "agent": "pqn:num_envs=16,rollout_length=32,epochs=2",
        "network": "nature:precision=bfloat16",
        "members": 1,
        "checkpoint_every": 100_000,
        "diagnose_every": 1000,
    },
)
