"""Claim 8: the ranking of methods depends on the optimizer."""

from launch.claims.definition import FRESH, LABELS, RATES, TWO, Arm, Claim, Scale

METHODS = {
    "none": [],
    "layer-norm": ["layer-norm"],
    "weight-decay": ["weight-decay:strength={decay}"],
    "layer-norm + weight-decay": ["layer-norm", "weight-decay:strength={decay}"],
    "l2-init": ["l2-init:strength={l2_init}"],
    "nap": ["nap"],
    "redo": ["redo:every=250,tau={tau}"],
}

CLAIM = Claim(
    title="Which method is better depends on the optimizer",
    says="Rankings of methods change between SGD and Adam: the optimizer is an axis of every table.",
    paper="ours, after the optimizers of Lyle et al. 2024 (arXiv 2407.01800, figure 2) and Dohare et al. 2024 (arXiv 2306.13812)",
    notes="Digits and an MLP of 3 x 100, 15 tasks of 2,000 updates on 300 images; SGD has a momentum of 0.9.",
    grid={
        "rate": RATES,
        "sgd_rate": ("0.01", "0.03", "0.1"),
        "decay": ("0.01", "0.1", "1"),
        "sgd_decay": ("1e-4", "1e-3", "1e-2"),
        "l2_init": ("1e-4", "1e-3", "1e-2"),
        "tau": ("0.025", "0.1"),
    },
    arms=(
        *(Arm(name, {"chain": chain, "schedule": "constant:rate={rate}"}, "Adam") for name, chain in METHODS.items()),
        Arm("fresh control", {**FRESH, "schedule": "constant:rate={rate}"}, "Adam"),
        *(
            Arm(
                name,
                {
                    "optimizer": "sgd:momentum=0.9",
                    "schedule": "constant:rate={sgd_rate}",
                    "chain": [word.replace("{decay}", "{sgd_decay}") for word in chain],
                },
                "SGD",
            )
            for name, chain in METHODS.items()
        ),
    ),
    scales={
        "small": Scale(
            words={"benchmark": LABELS, "diagnose_every": 200},
            size=TWO,
        ),
        "paper": Scale(
            size={"fresh": "random-labels:dataset=cifar10,images=50000,tasks=2,updates=50_000"},
            words={"benchmark": "random-labels:dataset=cifar10,images=50000,tasks=100,updates=50_000"},
        ),
    },
)
