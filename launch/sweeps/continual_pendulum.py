"""SAC on a pendulum whose observations are offset by another vector in every task: cures, and the own control of each."""

BENCHMARK = "continual-pendulum"
CHAINS = ([], ["layer-norm"], ["layer-norm", "weight-decay"], ["l2-init"], ["redo"], ["critic.layer-norm"])

EXPERIMENTS = tuple({"benchmark": BENCHMARK, "chain": [*chain, *control], "members": 5} for chain in CHAINS for control in ([], ["reset"]))
