"""SAC on a pendulum whose observations are offset by another vector in every task: cures, the own control of each, and resets of single
networks at every task."""

CURES = ([], ["l2-init"], ["redo"], ["layer-norm"])
PARTS = (["critic.reset"], ["actor.reset"])

CHAINS = (*([*chain, *control] for chain in CURES for control in ([], ["reset"])), *PARTS)
EXPERIMENTS = tuple({"benchmark": "continual-pendulum", "chain": chain, "members": 5} for chain in CHAINS)
