"""Claim 4: Adam's defaults kill units when labels change; a shorter second-moment average and a larger epsilon do not."""

from launch.claims.definition import Arm, Claim, Scale

CLAIM = Claim(
    title="Adam's defaults kill units when labels change",
    says="Adam's defaults kill ReLU units on random labels; beta2 = 0.9 and epsilon = 1e-3 do not.",
    paper="Lyle et al. 2023, arXiv 2303.01486",
    notes="An MLP of 3 x 100 on digits instead of one 1,024 wide on MNIST, and the rate chosen for each arm instead of 1e-3 for both. A "
    "unit is dead if it is silent on a batch of 32; an untrained network's share of dead units is subtracted. To save time, images and "
    "updates of the small scale of claims 1 to 4 and 8 were halved once, after a look at one of these arms.",
    grid={"rate": ("3e-4", "1e-3", "3e-3")},
    arms=(
        Arm("adam", {"optimizer": "adam"}),
        Arm("adam, beta2 = 0.9, epsilon = 1e-3", {"optimizer": "adam:beta2=0.9,epsilon=1e-3"}),
    ),
    scales={
        "small": Scale(
            words={
                "benchmark": "random-labels:images=600,tasks={tasks},updates=500",
                "schedule": "constant:rate={rate}",
                "diagnose_every": 500,
                "chain": [],
            },
            reported={"tasks": "20"},
            selected={"tasks": "2"},
        ),
        "paper": Scale(
            words={
                "benchmark": "random-labels:dataset=mnist,images=60000,tasks={tasks},updates=50_000",
                "network": "mlp:width=1024,depth=2",
                "schedule": "constant:rate={rate}",
                "chain": [],
            },
            reported={"tasks": "100"},
            selected={"tasks": "10"},
            grid={"rate": ("1e-3",)},
        ),
    },
    shows=("score", "dead_fraction"),
)
