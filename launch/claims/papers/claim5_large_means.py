"""Claim 5: fitting numbers with a large mean is enough to lose plasticity, and two-hot targets prevent it."""

from launch.claims.definition import RATES, Arm, Claim, Scale

TWO_HOT = "supervised:objective=two-hot,low=-5,high=105,num_atoms=221"  # the same atoms for every mean, half a standard deviation apart

CLAIM = Claim(
    title="A large mean alone destroys plasticity, and two-hot targets prevent it",
    says="Regression on targets of large mean alone destroys plasticity, more so the larger the mean; two-hot targets do not.",
    paper="Lyle et al. 2024, arXiv 2402.18762",
    notes="600 digits, sin(1e5 x) of a random network as targets, 5,000 updates with the mean and three times 5,000 on other functions "
    "without it, of which the first two are scored: the first has the cost of unlearning the mean in it. An MLP of 3 x 100. The paper's "
    "budgets and atoms were not read.",
    grid={"rate": RATES},
    arms=tuple(
        Arm(f"mean {mean}", {"benchmark": "large-mean:{data},function=sine,offset=" + mean, "agent": agent}, panel)
        for panel, agent, means in (("squared error", "supervised:objective=mse", ("0", "10", "100")), ("two-hot", TWO_HOT, ("0", "100")))
        for mean in means
    ),
    scales={
        "small": Scale(
            words={"schedule": "constant:rate={rate}"},
            size={"data": "images=600,tasks=4,updates=5000"},
        ),
        "paper": Scale(
            words={"schedule": "constant:rate={rate}"},
            size={"data": "dataset=cifar10,images=50000,tasks=4,updates=100_000"},
            grid={"rate": ("1e-4", "1e-3")},
        ),
    },
    score="explained variance",
)
