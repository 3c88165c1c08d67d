"""Demo: loss of the ability to learn on random labels and in a control problem, and a short visit of an Atari game that shows its path."""

FRESH = ["reset:clock=task,part=everything"]

LABELS = [
    {"benchmark": "random-labels", "chain": chain, "diagnose_every": 1000}
    for chain in ([], ["layer-norm", "weight-decay"], ["l2-init"], ["nap"], ["redo"], ["nap", "redo"], FRESH)
]

POLES = [
    {
        # The published protocol with smaller networks, three tasks in place of ten, and a fifth of the steps of each.
        "benchmark": "continual-cartpole:tasks=3,frames=32000",
        "network": "mlp:depth=3,width=64,activation=leaky-relu,slope=0.1",
        "chain": chain,
        "diagnose_every": 500,
        "probe_every": 5000,
    }
    for chain in ([], ["l2-init"], FRESH, ["l2-init", *FRESH])
]

GAME = {
    # A game with episodes short enough to end within this visit.
    "benchmark": "atari:games=Breakout,frames=8000",
    "agent": "dqn:num_envs=4,replay=2000,min_replay=400,target_every=20,exploration_fraction=0.5,train_every=32",
    "members": 2,
    "diagnose_every": 10,
}

EXPERIMENTS = [*LABELS, *POLES, GAME]
