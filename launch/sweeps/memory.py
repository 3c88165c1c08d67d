"""Memorising with rewards, task after task: plain DQN and its fresh control at three rates, and methods at a rate of their own.

The rate of a method is the one of 3e-4, 1e-3, 3e-3 and, where 3e-3 was best, 1e-2, whose mean return over the whole life of three members
was highest, on another seed (1000) than here. Strengths are each method's defaults but for ReDo's, which a pilot set. docs/memory.md has
the grids and the results.
"""

RATES = ("3e-4", "1e-3", "3e-3")
REDO = "redo:every=250,tau=0.1"
TUNED = {
    "bandit-memory": {REDO: "3e-3", "l2-init": "3e-3", "layer-norm": "1e-3", "shrink-and-perturb": "3e-3"},
    "image-mdp-memory": {REDO: "3e-3", "l2-init": "1e-3", "layer-norm": "1e-3"},
}
MEMBERS = 10


def experiment(benchmark: str, chain: list[str], rate: str) -> dict:
    """One run in words."""
    return {"benchmark": benchmark, "chain": chain, "schedule": f"constant:rate={rate}", "members": MEMBERS}


EXPERIMENTS = [
    experiment(benchmark, chain, rate)
    for benchmark, methods in TUNED.items()
    for rate in RATES
    for chain in ([], ["reset"], *([method] for method, best in methods.items() if best == rate))
]
