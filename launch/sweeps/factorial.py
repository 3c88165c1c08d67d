"""Full factorial of layer norm, weight decay, target scale and optimizer: which of them prevents which mechanism of plasticity loss.

The target scale is the mean of the targets in every task. Rates are not tuned. SGD's gradients are clipped to a norm of 1: otherwise its
loss at a mean of 100 is non-finite within 50 updates, without layer norm even at a rate of 1e-3.
"""

from itertools import product

NORMS = ([], ["layer-norm"])
DECAYS = ([], ["weight-decay"])
MEANS = ("0", "100")
OPTIMIZERS = {"adam": "constant:rate=1e-3", "sgd:clip_norm=1": "constant:rate=1e-2"}

CHAINS = [*([*norm, *decay] for norm, decay in product(NORMS, DECAYS)), ["reset"]]

EXPERIMENTS = tuple(
    {
        "benchmark": f"large-mean:tasks=10,updates=1000,images=600,function=sine,offset={mean},later={mean}",
        "agent": "supervised:objective=mse",
        "optimizer": optimizer,
        "schedule": schedule,
        "chain": chain,
        "diagnose_every": 500,
        "curvature_every": 1000,
    }
    for (optimizer, schedule), mean, chain in product(OPTIMIZERS.items(), MEANS, CHAINS)
)
