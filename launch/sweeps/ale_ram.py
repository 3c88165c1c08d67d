"""Four games from the console's RAM in three cycles, with PPO; described in docs/sequential.md.

Run it with `--own-control`, which adds each chain with a reset at every visit. Strengths are each method's defaults, not tuned. ReDo's
interval is a quarter of a visit, since its default of 1,000 updates is longer than a visit of 800.
"""

CHAINS = ([], ["layer-norm", "weight-decay"], ["nap"], ["redo:every=200"], ["l2-init"])

EXPERIMENTS = tuple({"benchmark": "ale-ram", "chain": chain, "members": 5} for chain in CHAINS)
