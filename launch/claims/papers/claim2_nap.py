"""Claim 2: NaP keeps the effective learning rate constant, and combined with it methods hardly differ."""

from launch.claims.definition import FRESH, LABELS, RATES, TWO, Arm, Claim, Scale

METHODS = {
    "l2": "l2:strength={l2}",
    "l2-init": "l2-init:strength={l2_init}",
    "leaky-relu": "leaky-relu:slope={slope}",
    "noisy-updates": "noisy-updates:sigma={sigma}",
    "redo": "redo:every=250,tau={tau}",
    "shrink-and-perturb": "shrink-and-perturb:{shrink}",
}

CLAIM = Claim(
    title="NaP holds the effective learning rate, and closes the gaps between methods",
    says="The growth of weights under layer norm lowers the effective learning rate; NaP holds it. Six methods that differ widely without "
    "NaP hardly differ with it, and all of them gain.",
    paper="Lyle et al. 2024, arXiv 2407.01800",
    notes="Digits and an MLP of 3 x 100, 15 tasks of 2,000 updates on 300 images instead of CIFAR-10 and 200 of 100,000. The paper's "
    "strengths were not read; its claim that gaps nearly vanish is read as: less than half as wide. The effective learning rate is the "
    "rate over the weights' norm, as for steps of a fixed length, which NaP holds by construction; beside it stands ||dW|| / ||W||, "
    "sampled at every 200th update, ten times a visit. Means over hidden layers.",
    grid={
        "rate": RATES,
        "l2": ("1e-5", "1e-4", "1e-3"),
        "l2_init": ("1e-4", "1e-3", "1e-2"),
        "slope": ("0.01", "0.1", "0.3"),
        "sigma": ("1e-4", "3e-4", "1e-3"),
        "tau": ("0.025", "0.1"),
        "shrink": ("shrink=0.9,perturb=0.1", "shrink=0.6,perturb=0.4", "shrink=0.3,perturb=0.7"),
    },
    common={"rate": "1e-3"},
    arms=(
        Arm("none", {"chain": []}, "without NaP"),
        Arm("fresh control", FRESH, "without NaP"),
        Arm("layer-norm", {"chain": ["layer-norm"]}, "without NaP"),
        *(Arm(name, {"chain": [method]}, "without NaP") for name, method in METHODS.items()),
        Arm("none", {"chain": ["nap"]}, "with NaP"),
        *(Arm(name, {"chain": ["nap", method]}, "with NaP") for name, method in METHODS.items()),
    ),
    scales={
        "small": Scale(
            words={"benchmark": LABELS, "schedule": "constant:rate={rate}", "diagnose_every": 200},
            size=TWO,
        ),
        "paper": Scale(
            size={"fresh": "random-labels:dataset=cifar10,images=50000,tasks=2,updates=100_000"},
            words={
                "benchmark": "random-labels:dataset=cifar10,images=50000,tasks=200,updates=100_000",
                "schedule": "constant:rate={rate}",
            },
            grid={"rate": ("1e-4", "1e-3")},
        ),
    },
    shows=("score", "weight_norm", "rate_over_norm", "effective_learning_rate"),
)
