"""Claim 7: on permuted inputs backprop's accuracy declines, and three methods prevent the decline."""

from launch.claims.definition import FRESH, RATES, Arm, Claim, Scale

CLAIM = Claim(
    title="Continual backprop, L2 Init and shrink and perturb avoid backprop's decline on permuted inputs",
    says="Online accuracy of backprop falls over permuted inputs; continual backprop, L2 Init and shrink and perturb keep it.",
    paper="Dohare et al. 2024, arXiv 2306.13812; Kumar et al. 2023, arXiv 2308.11958",
    notes="50 tasks of 400 updates of 32 on 1,200 digits, instead of 500 of 625 updates of 16 on 10,000 images of MNIST (Kumar) or 800 "
    "of 60,000 updates of 1 (Dohare). Adam, as in Kumar; shrink and perturb acts between tasks, in both papers at every update. The first "
    "edition chose 3e-3 on the first tenth of the tasks, where plain training declines; in a pilot it lost nothing at 1e-3, which is best "
    "over the whole life, so the gate may be closed here.",
    grid={
        "rate": RATES,
        "replaced": ("1e-4", "1e-3", "1e-2"),
        "l2_init": ("1e-4", "1e-3", "1e-2"),
        "shrink": ("shrink=0.9,perturb=0.1", "shrink=0.6,perturb=0.4", "shrink=0.3,perturb=0.7"),
    },
    arms=(
        Arm("none", {"chain": []}),
        Arm("fresh control", FRESH),
        Arm("continual-backprop", {"chain": ["continual-backprop:rate={replaced}"]}),
        Arm("l2-init", {"chain": ["l2-init:strength={l2_init}"]}),
        Arm("shrink-and-perturb", {"chain": ["shrink-and-perturb:{shrink}"]}),
    ),
    scales={
        "small": Scale(
            words={
                "benchmark": "permuted-inputs:images=1200,tasks=50,updates=400",
                "network": "mlp:depth=2",
                "schedule": "constant:rate={rate}",
                "diagnose_every": 400,
            },
            size={"fresh": "permuted-inputs:images=1200,tasks=2,updates=400"},
        ),
        "paper": Scale(
            words={
                "benchmark": "permuted-inputs:dataset=mnist,images=10000,tasks=500,updates=625",
                "agent": "supervised:batch_size=16",
                "network": "mlp:depth=2",
                "schedule": "constant:rate={rate}",
            },
            size={"fresh": "permuted-inputs:dataset=mnist,images=10000,tasks=2,updates=625"},
            grid={"rate": ("1e-4", "1e-3"), "replaced": ("1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1")},
        ),
    },
)
