"""Claim 4: Adam's defaults kill units when labels change; a shorter second-moment average and a larger epsilon do not."""

from launch.claims.definition import FRESH, Arm, Claim, Scale

CLAIM = Claim(
    title="Adam's defaults kill units when labels change",
    says="Adam's defaults kill ReLU units on random labels; beta2 = 0.9 and epsilon = 1e-3 do not, or fewer.",
    paper="Lyle et al. 2023, arXiv 2303.01486",
    notes="300 images of `mnist-5k` (`python -m launch data mnist-5k` fetches it), 15 tasks of 2,000 updates, and an MLP of 2 x 256 "
    "instead of one 1,024 wide on MNIST; the paper's rate of 1e-3 for both arms. A unit is dead if it is silent on all 300 images in the "
    "run's last checkpoint; the share is a mean over hidden layers.",
    grid={"rate": ("1e-3",)},
    census=True,
    arms=(
        Arm("adam", {"optimizer": "adam"}),
        Arm("adam, beta2 = 0.9, epsilon = 1e-3", {"optimizer": "adam:beta2=0.9,epsilon=1e-3"}),
        Arm("fresh control", FRESH),
    ),
    scales={
        "small": Scale(
            words={
                "benchmark": "random-labels:dataset=mnist-5k,images=300,tasks=15,updates=2000",
                "network": "mlp:width=256,depth=2",
                "schedule": "constant:rate={rate}",
                "diagnose_every": 2000,
                "chain": [],
            },
            size={"fresh": "random-labels:dataset=mnist-5k,images=300,tasks=2,updates=2000"},
        ),
        "paper": Scale(
            words={
                "benchmark": "random-labels:dataset=mnist,images=60000,tasks=100,updates=50_000",
                "network": "mlp:width=1024,depth=2",
                "schedule": "constant:rate={rate}",
                "chain": [],
            },
            size={"fresh": "random-labels:dataset=mnist,images=60000,tasks=2,updates=50_000"},
        ),
    },
    shows=("score", "dead_fraction"),
)
