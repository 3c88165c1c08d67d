"""Claim 6: re-initialisation acts as a regulariser, so it adds little to other regularisers."""

from launch.claims.definition import RATES, Arm, Claim, Scale

SCHEDULED = {"schedule": "warmup-cosine:rate={rate},start=0,end=0,warmup=0"}  # one cosine per stage, the same for all arms of a panel
PANELS = {
    "alone": ({"schedule": "constant:rate={rate}"}, [], "0"),
    "regularised": (SCHEDULED, ["weight-decay:strength={decay}"], "0"),
    "regularised, noisy labels": (SCHEDULED, ["weight-decay:strength={decay}"], "{noise}"),
}
METHODS = {"standard": [], "re-initialised": ["shrink-and-perturb:{shrink}"]}

CLAIM = Claim(
    title="Re-initialisation helps where nothing else regularises, and under label noise",
    says="At an equal number of updates, re-initialisation helps generalisation when nothing else regularises, adds little beside tuned "
    "weight decay and schedule, and helps under label noise even then.",
    paper="Zaidi et al. 2022, arXiv 2206.10011",
    notes="Shrink and perturb between 10 stages of 1,000 updates, all on the same 1,000 images of `mnist-5k`; test set: 1,000 others. An "
    "MLP of 3 x 100 instead of a PreAct-ResNet-18 on Tiny ImageNet, and no augmentation. The paper's number of stages and level of noise "
    "were not read: 40% of the labels are replaced here.",
    grid={
        "rate": RATES,
        "decay": ("0.01", "0.1", "1"),
        "shrink": ("shrink=0.8,perturb=0.2", "shrink=0.5,perturb=0.5", "shrink=0.2,perturb=0.8"),
    },
    arms=tuple(
        Arm(
            name,
            {
                "benchmark": "noisy-labels:{data},tasks=1,noise=" + noise + ",final=" + noise,
                "chain": chain + method,
                **schedule,
            },
            panel,
        )
        for panel, (schedule, chain, noise) in PANELS.items()
        for name, method in METHODS.items()
    ),
    scales={
        "small": Scale(
            words={},
            size={"data": "dataset=mnist-5k,images=1000,held_out=1000,cycles=10,updates=1000", "noise": "0.4"},
        ),
        "paper": Scale(
            words={"network": "resnet18:precision=float32"},
            size={"data": "dataset=cifar100,images=50000,held_out=10000,cycles=10,updates=7800", "noise": "0.4"},
        ),
    },
    score="test accuracy",
)
