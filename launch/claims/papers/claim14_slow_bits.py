"""Claim 14: slowly-changing regression with the published settings."""

from launch.claims.definition import FRESH, Arm, Claim, Scale

CLAIM = Claim(
    title="Slowly-changing regression, as published: continual backprop keeps an error that plain training loses",
    says="The error of backprop rises over a stream whose bits flip slowly, at each step size; that of continual backprop does not.",
    paper="Dohare et al. 2024, arXiv 2306.13812",
    notes="The word `slow-bits`: 20 bits of which 15 flip one at a time, 10,000 updates of one example between flips, 5 hidden units. "
    "200 flips of the paper's 1,000, and 30 members of its 100 runs; scores are explained variance.",
    grid={"rate": ("0.003", "0.01", "0.03"), "replaced": ("1e-5", "1e-4", "1e-3"), "l2": ("1e-5", "1e-4", "1e-3")},
    arms=(
        Arm("none", {"chain": []}),
        Arm("l2", {"chain": ["l2:strength={l2}"]}),
        Arm("continual-backprop", {"chain": ["continual-backprop:rate={replaced}"]}),
        Arm("fresh control", FRESH),
    ),
    scales={
        "published": Scale(
            words={"benchmark": "slow-bits:tasks=200", "schedule": "constant:rate={rate}", "diagnose_every": 100_000},
            size={"fresh": "slow-bits:tasks=2"},
            looks=(30,),
        )
    },
    score="explained variance",
)
