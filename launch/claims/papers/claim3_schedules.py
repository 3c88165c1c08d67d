"""Claim 3: NaP removes an implicit learning rate schedule, and an explicit schedule restores it."""

from launch.claims.definition import RATES, Arm, Claim, Scale

NAP = "nap:scale_and_offset=free"

CLAIM = Claim(
    title="NaP removes a learning rate schedule, and a schedule restores it",
    says="On one task, NaP at a constant rate loses the benefit of the decaying effective learning rate; an explicit schedule regains "
    "it. A global schedule that copies the growth of the unprojected weights comes close to the unprojected run; one by layer matches it.",
    paper="Lyle et al. 2024, arXiv 2407.01800",
    notes="The paper shows the first half on Rainbow and the second on a task that was not read. Here both are one task that an MLP of 3 "
    "x 100 does not finish within the budget: 10,000 Gaussian images with random labels, 10,000 updates of 32. A first try with 2,500 "
    "images was replaced: all arms reached an accuracy of 1.000, which leaves nothing to compare. All arms start at the rate chosen for "
    "layer norm alone. NaP leaves the norms' scales and offsets free here, as layer norm does: in the first edition it held them too, "
    "which recorded rates of weights cannot undo.",
    grid={"rate": RATES},
    arms=(
        Arm("layer-norm", {"chain": ["layer-norm"]}),
        Arm("nap, constant", {"chain": [NAP]}, like="layer-norm"),
        Arm("nap, linear", {"chain": [NAP], "schedule": "linear:rate={rate}"}, like="layer-norm"),
        Arm(
            "nap, recorded",
            {"chain": [NAP], "schedule": "recorded:rate={rate},updates={moments},factors={factors}"},
            like="layer-norm",
        ),
        Arm(
            "nap, recorded by layer",
            {"chain": [NAP, "layer-rates:updates={moments},factors={layer_factors}"]},
            like="layer-norm",
        ),
    ),
    scales={
        "small": Scale(
            words={
                "benchmark": "random-labels:dataset=gaussian,images=10000,tasks=1,updates=10000",
                "schedule": "constant:rate={rate}",
                "diagnose_every": 250,
            },
        ),
        "paper": Scale(
            words={
                "benchmark": "random-labels:dataset=cifar10,images=50000,tasks=1,updates=100000",
                "schedule": "constant:rate={rate}",
                "diagnose_every": 2000,
            },
            grid={"rate": ("1e-4", "1e-3")},
        ),
    },
    shows=("score", "effective_learning_rate"),
)
