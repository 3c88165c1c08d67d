"""Pre-training on c + eps(x), then fine-tuning on other functions around 0: what docs/mechanisms.md reads (after Lyle et al. 2024).

Each c is a setting of its own; fine-tuning is the same whatever c was, and the fresh control meets it with new networks.
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
