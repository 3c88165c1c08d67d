"""Demo: loss of plasticity on random labels, then sequential games end to end, at a budget too small for conclusions."""

FRESH = ["reset:clock=task,part=everything"]

LABELS = [
    {"benchmark": "random-labels", "chain": chain, "diagnose_every": 1000}
    for chain in ([], ["layer-norm", "weight-decay"], ["l2-init"], ["nap"], ["redo"], ["nap", "redo"], FRESH)
]

GAMES = [
    {
        # Two games with episodes short enough to end within these visits.
        "benchmark": "atari:games=Breakout+RoadRunner,frames=8000,cycles=2",
        "agent": "dqn:num_envs=4,replay=2000,min_replay=400,target_every=20,exploration_fraction=0.5,train_every=32",
        "chain": chain,
        "members": 2,
        "diagnose_every": 50,
    }
    for chain in ([], ["nap"], FRESH)
]

EXPERIMENTS = [*LABELS, *GAMES]
