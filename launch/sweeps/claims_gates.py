"""Pilots of the claims' gates: plain Adam and the fresh control alone, three members of the selection seed, at three rates or more.

Tasks must be finished by the fresh control (last tenth of a visit >= 0.95), and plain Adam must lose at least a fifth of the first visit's
score at its best rate over the whole life. Numbers stand in docs/claims-gates.md.
"""

RATES = ("5e-4", "1e-3", "2e-3")
COMMON = {"members": 3, "seed": 1, "diagnose_every": 2000}
MNIST = {"network": "mlp:width=256,depth=2"}


def both(stream: str, tasks: int, rates: tuple[str, ...] = RATES, **words: str) -> list[dict]:
    """Plain Adam on all tasks, and the fresh control on two."""
    found = []
    for chain, many in (([], tasks), (["reset"], 2)):
        found += [
            COMMON | words | {"benchmark": f"{stream},tasks={many}", "chain": chain, "schedule": f"constant:rate={rate}"} for rate in rates
        ]
    return found


EXPERIMENTS = (
    *both("random-labels:images=300,updates=2000", 20),  # claims 1, 2, 8
    *both("random-labels:dataset=mnist-5k,images=300,updates=2000", 15, ("1e-3",), **MNIST),  # claim 4
    *both("permuted-inputs:images=1200,updates=400", 50, (*RATES, "3e-3"), network="mlp:depth=2"),  # claim 7
    *both("permuted-inputs:images=300,updates=2000", 10, network="mlp:depth=2"),
    *both(
        "permuted-inputs:dataset=mnist-5k,images=5000,updates=625,draw=passes",
        24,
        ("3e-4", "1e-3", "3e-3"),
        agent="supervised:batch_size=16",
        network="mlp:depth=2",
    ),
    *(  # claim 5
        COMMON
        | {"benchmark": f"large-mean:images=600,tasks=4,updates=5000,function=sine,offset={mean}", "schedule": f"constant:rate={rate}"}
        for mean in (0, 100)
        for rate in RATES
    ),
    *(  # claim 6
        COMMON
        | {
            "benchmark": "noisy-labels:dataset=mnist-5k,images=1000,held_out=1000,tasks=1,cycles=10,updates=1000,"
            f"noise={noise},final={noise}",
            "schedule": f"constant:rate={rate}",
        }
        for noise in (0, 0.4)
        for rate in RATES
    ),
)
