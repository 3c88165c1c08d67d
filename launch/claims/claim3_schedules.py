"""Claim 3: NaP removes an implicit learning rate schedule, and an explicit schedule restores it."""

from launch.claims.definition import Arm, Claim, Scale

CLAIM = Claim(
    title="NaP removes a learning rate schedule, and a schedule restores it",
    says="On one task, NaP at a constant rate loses the benefit of the decaying effective learning rate; an explicit schedule regains "
    "it. A global schedule that copies the growth of the unprojected weights comes close to the unprojected run; one by layer matches it.",
    paper="Lyle et al. 2024, arXiv 2407.01800",
    notes="The paper shows the first half on Rainbow and the second on a task that was not read. Here both are one task that an MLP of 3 "
    "x 100 does not finish within the budget: 10,000 Gaussian images with random labels, 10,000 updates of 32. A first try with 2,500 "
    "images was replaced: all arms reached an accuracy of 1.000, which leaves nothing to compare. All arms start at the rate "
    "chosen for layer norm alone, on the first tenth of the updates.",
    grid={"rate": ("3e-4", "1e-3", "3e-3")},
    arms=(
        Arm("layer-norm", {"chain": ["layer-norm"]}),
        Arm("nap, constant", {"chain": ["nap"]}, like="layer-norm"),
        Arm("nap, linear", {"chain": ["nap"], "schedule": "linear:rate={rate}"}, like="layer-norm"),
        Arm(
            "nap, recorded",
            {"chain": ["nap"], "schedule": "recorded:rate={rate},updates={moments},factors={factors}"},
            like="layer-norm",
        ),
        Arm(
            "nap, recorded by layer",
            {"chain": ["nap", "layer-rates:updates={moments},factors={layer_factors}"]},
            like="layer-norm",
        ),
    ),
    scales={
        "small": Scale(
            words={
                "benchmark": "random-labels:dataset=gaussian,images=10000,tasks=1,updates={updates}",
                "schedule": "constant:rate={rate}",
                "diagnose_every": 250,
            },
            reported={"updates": "10000"},
            selected={"updates": "1000"},
        ),
        "paper": Scale(
            words={
                "benchmark": "random-labels:dataset=cifar10,images=50000,tasks=1,updates={updates}",
                "schedule": "constant:rate={rate}",
                "diagnose_every": 2000,
            },
            reported={"updates": "100000"},
            selected={"updates": "10000"},
            grid={"rate": ("1e-4", "1e-3")},
        ),
    },
    shows=("score", "effective_learning_rate"),
)
