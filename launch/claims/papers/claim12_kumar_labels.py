"""Claim 12: random-label MNIST with the published settings: regenerating weights keep what plain training loses."""

from launch.claims.definition import FRESH, Arm, Claim, Scale

GRID = {
    "rate": ("1e-4", "3e-4", "1e-3"),
    "l2": ("1e-5", "1e-4", "1e-3"),
    "l2_init": ("1e-4", "1e-3", "1e-2"),
    "shrink": ("shrink=0.9,perturb=0.1", "shrink=0.6,perturb=0.4"),
    "tau": ("0.01", "0.1"),
    "replaced": ("1e-5", "1e-4", "1e-3"),
}
"""rates of the paper and one between them; strengths around those that it found best"""


def arms(tasks: int) -> tuple[Arm, ...]:
    """The arms of the paper's figures, NaP and the fresh control; `redo` acts after every task."""
    methods = {
        "none": [],
        "l2": ["l2:strength={l2}"],
        "l2-init": ["l2-init:strength={l2_init}"],
        "shrink-and-perturb": ["shrink-and-perturb:{shrink}"],
        "redo": [f"redo:every={tasks},tau={{tau}}"],
        "continual-backprop": ["continual-backprop:rate={replaced}"],
        "layer-norm": ["layer-norm"],
        "nap": ["nap"],
    }
    return (*(Arm(name, {"chain": chain}) for name, chain in methods.items()), Arm("fresh control", FRESH))


CLAIM = Claim(
    title="Random-label MNIST, as published: L2 Init, continual backprop and ReDo hold, plain Adam and L2 fall",
    says="Over 50 tasks of random labels plain Adam's online accuracy falls, L2's too; L2 Init, continual backprop and ReDo hold it.",
    paper="Kumar et al. 2023, arXiv 2308.11958, figures",
    notes="The word `kumar-random-labels`: 1,200 images of MNIST, 50 tasks of 30,000 updates of 16, 2 x 100, Adam; selection by the whole "
    "life on 3 members, 10 others reported, as in the paper. Labels are drawn uniformly where the paper shuffles the true ones, shrink and "
    "perturb acts between tasks, and the grid of strengths is shorter.",
    grid=GRID,
    arms=arms(30_000),
    scales={
        "published": Scale(
            words={"benchmark": "kumar-random-labels", "schedule": "constant:rate={rate}", "diagnose_every": 3000},
            size={"fresh": "kumar-random-labels:tasks=2"},
            looks=(10,),
        )
    },
)
