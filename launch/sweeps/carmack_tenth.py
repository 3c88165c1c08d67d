"""Keen Technologies' eight games at one tenth of their frames, in three cycles, by PQN: what docs/sequential.md describes.

Games are cut after five minutes of play, so that a greedy policy that stands still does not hold an evaluation up. One epoch of minibatches
of 64 instead of PQN's two: what two processor cores do within an hour.
"""

EXPERIMENTS = tuple(
    {
        "benchmark": "carmack-8:frames=40_000,episode_frames=18_000",
        "agent": "pqn:unroll=32,epochs=1",
        "network": "nature:precision=bfloat16",
        "members": 3,
        "checkpoint_every": 10_000,
        "diagnose_every": 100,
        "evaluate": 1,
        "chain": chain,
    }
    for chain in ([], ["nap"], ["reset"])
)
