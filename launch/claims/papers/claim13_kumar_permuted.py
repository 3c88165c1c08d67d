"""Claim 13: permuted MNIST with the published settings."""

from launch.claims.definition import Claim, Scale
from launch.claims.papers.claim12_kumar_labels import GRID, arms

CLAIM = Claim(
    title="Permuted MNIST, as published: L2 Init, continual backprop and ReDo end above plain Adam",
    says="Over 500 permutations plain Adam's online accuracy falls; L2 Init, L2, continual backprop and ReDo end above it.",
    paper="Kumar et al. 2023, arXiv 2308.11958, figures",
    notes="The word `kumar-permuted`: 500 tasks of 625 updates of 16 on 10,000 images of MNIST, 2 x 100, Adam; selection by the whole "
    "life on 3 members, 10 others reported, as in the paper, which draws other images at every task.",
    grid=GRID,
    arms=arms(625),
    scales={
        "published": Scale(
            words={"benchmark": "kumar-permuted", "schedule": "constant:rate={rate}", "diagnose_every": 2500},
            size={"fresh": "kumar-permuted:tasks=2"},
            looks=(10,),
        )
    },
)
