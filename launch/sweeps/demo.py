"""The demo: the loss of plasticity on random labels, then the whole path of sequential games at a budget too small for conclusions."""

FRESH = ["reset:clock=task,part=everything"]

LABELS = [
    {"benchmark": "random-labels", "chain": chain}
    for chain in ([], ["layer-norm", "weight-decay"], ["l2-init"], ["nap"], ["redo"], ["nap", "redo"], FRESH)
]

GAMES = [
    {
        "benchmark": "atari:games=Breakout+SpaceInvaders,frames=12000,cycles=2",
        "agent": "dqn:environments=4,replay=3000,min_replay=500,target_every=100,exploration=0.5,train_every=8",
        "chain": chain,
        "members": 2,
        "diagnose_every": 50,
    }
    for chain in ([], ["nap"], FRESH)
]

EXPERIMENTS = [*LABELS, *GAMES]
