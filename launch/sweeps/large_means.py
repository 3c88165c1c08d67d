"""Pre-training on c + eps(x), then fine-tuning on other functions around 0; evaluated in docs/mechanisms.md (after Lyle et al. 2024).

Each c is a separate setting; fine-tuning is the same for every c, and the fresh control starts it with new networks.
"""

MEANS = ("0", "3", "10", "30", "100")
CHAINS = ([], ["layer-norm"], ["layer-norm", "weight-decay"], ["reset"])

EXPERIMENTS = tuple(
    {
        "benchmark": f"large-mean:tasks=4,updates=2000,images=600,function=sine,offset={mean}",
        "agent": "supervised:objective=mse",
        "chain": chain,
        "diagnose_every": 500,
        "curvature_every": 2000,
    }
    for mean in MEANS
    for chain in CHAINS
)
