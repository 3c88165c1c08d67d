"""Claim 1: on repeatedly redrawn labels, layer norm together with weight decay keeps a network trainable."""

from launch.claims.definition import FRESH, LABELS, RATES, TWO, Arm, Claim, Scale

METHODS = {
    "none": [],
    "layer-norm": ["layer-norm"],
    "weight-decay": ["weight-decay:strength={decay}"],
    "layer-norm + weight-decay": ["layer-norm", "weight-decay:strength={decay}"],
}

CLAIM = Claim(
    title="Layer norm with weight decay keeps a network trainable",
    says="Trainability falls over re-labelled tasks without intervention; layer norm with weight decay keeps it, and neither alone "
    "suffices in every setting.",
    paper="Lyle et al. 2024, arXiv 2402.18762",
    notes="Digits instead of CIFAR-10, 15 tasks of 2,000 updates on 300 images instead of 100 of 50,000, an MLP of 3 x 100. Weight "
    "decay is decoupled; the paper does not say whether its L2 is.",
    grid={"rate": RATES, "decay": ("0.01", "0.1", "1")},
    common={"rate": "1e-3"},
    arms=tuple(
        Arm(name, {"network": f"mlp:activation={activation}", **words}, panel)
        for panel, activation in (("ReLU", "relu"), ("GELU", "gelu"))
        for name, words in {**{name: {"chain": chain} for name, chain in METHODS.items()}, "fresh control": FRESH}.items()
    ),
    scales={
        "small": Scale(
            words={"benchmark": LABELS, "schedule": "constant:rate={rate}", "diagnose_every": 200},
            size=TWO,
        ),
        "paper": Scale(
            size={"fresh": "random-labels:dataset=cifar10,images=50000,tasks=2,updates=50_000"},
            words={
                "benchmark": "random-labels:dataset=cifar10,images=50000,tasks=100,updates=50_000",
                "schedule": "constant:rate={rate}",
            },
            grid={"rate": ("1e-4", "1e-3"), "decay": ("0.01", "0.1", "1")},
        ),
    },
)
