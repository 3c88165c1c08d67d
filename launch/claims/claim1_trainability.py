"""Claim 1: on repeatedly redrawn labels, layer norm together with weight decay keeps a network trainable."""

from launch.claims.definition import Arm, Claim, Scale

METHODS = {
    "none": [],
    "layer-norm": ["layer-norm"],
    "weight-decay": ["weight-decay:strength={decay}"],
    "layer-norm + weight-decay": ["layer-norm", "weight-decay:strength={decay}"],
    "fresh control": ["reset"],
}

CLAIM = Claim(
    title="Layer norm with weight decay keeps a network trainable",
    says="Trainability falls over re-labelled tasks without intervention; layer norm with weight decay keeps it, and neither alone "
    "suffices in every setting.",
    paper="Lyle et al. 2024, arXiv 2402.18762",
    notes="Digits instead of CIFAR-10, 20 tasks of 500 updates on 600 images instead of 100 of 50,000, an MLP of 3 x 100. Weight "
    "decay is decoupled; the paper does not say whether its L2 is.",
    grid={"rate": ("3e-4", "1e-3", "3e-3"), "decay": ("0.01", "0.1", "1")},
    arms=tuple(
        Arm(name, {"network": f"mlp:activation={activation}", "chain": chain}, panel)
        for panel, activation in (("ReLU", "relu"), ("GELU", "gelu"))
        for name, chain in METHODS.items()
    ),
    scales={
        "small": Scale(
            words={
                "benchmark": "random-labels:images=600,tasks={tasks},updates=500",
                "schedule": "constant:rate={rate}",
                "diagnose_every": 500,
            },
            reported={"tasks": "20"},
            selected={"tasks": "2"},
        ),
        "paper": Scale(
            words={
                "benchmark": "random-labels:dataset=cifar10,images=50000,tasks={tasks},updates=50_000",
                "schedule": "constant:rate={rate}",
            },
            reported={"tasks": "100"},
            selected={"tasks": "10"},
            grid={"rate": ("1e-4", "1e-3"), "decay": ("0.01", "0.1", "1")},
        ),
    },
)
