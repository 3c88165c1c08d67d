"""Claim 9: wide networks forget less, and knowledge of recurring tasks accumulates."""

from launch.claims.definition import Arm, Claim, Scale

CLAIM = Claim(
    title="Wider networks forget less, and revisited tasks are learned better",
    says="Wider networks forget less from one visit to a task to the next; where tasks recur, knowledge accumulates.",
    paper="Mirzadeh et al. 2022, arXiv 2110.11526 (width); Lesort et al. 2023, arXiv 2207.04543 (SCoLe)",
    notes="Four tasks of permuted digits in ten cycles, networks of two hidden layers; forgetting is the score in the last tenth of a "
    "visit less that in the first tenth of the next visit to the same task. Both papers from memory: their settings were not read.",
    grid={"rate": ("3e-4", "1e-3", "3e-3")},
    arms=tuple(Arm(f"width {width}", {"network": f"mlp:depth=2,width={width}"}) for width in (16, 64, 256)),
    scales={
        "small": Scale(
            words={
                "benchmark": "permuted-inputs:images=1200,tasks=4,cycles=10,updates=250",
                "agent": "supervised:record_every=25",
                "schedule": "constant:rate={rate}",
                "diagnose_every": 1000,
            },
        ),
        "paper": Scale(
            words={
                "benchmark": "permuted-inputs:dataset=mnist,images=60000,tasks=5,cycles=10,updates=9375",
                "agent": "supervised:record_every=100",
                "schedule": "constant:rate={rate}",
            },
            grid={"rate": ("1e-4", "1e-3", "1e-2")},
        ),
    },
)
