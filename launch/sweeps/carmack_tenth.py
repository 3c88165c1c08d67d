"""Keen Technologies' eight games at one tenth of their frames, in three cycles, with PQN; described in docs/sequential.md.

One epoch of minibatches of 64 instead of PQN's two, and no evaluations, to fit into an hour on two processor cores.
"""

EXPERIMENTS = tuple(
    {
        "benchmark": "carmack-8:frames=40_000",
        "agent": "pqn:rollout_length=32,epochs=1",
        "network": "nature:precision=bfloat16",
        "members": 3,
        "checkpoint_every": 10_000,
        "diagnose_every": 100,
        "chain": chain,
    }
    for chain in ([], ["nap"], ["reset"])
)
