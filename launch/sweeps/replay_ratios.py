"""One and sixteen updates after every environment step, with and without a reset of the network, replay kept, every 250 steps."""

AGENT = "dqn:updates_per_step="

EXPERIMENTS = [
    {"benchmark": "primacy-bias-bandit", "agent": f"{AGENT}{ratio}", "chain": chain, "members": 10}
    for ratio in (1, 16)
    for chain in ([], [f"reset:part=network,clock=update,every={250 * ratio}"])
]
