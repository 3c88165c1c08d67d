"""Supervised streams with their papers' settings: data only.

Each `about` gives the source of its settings: "code:" is the paper's official code, "secondary:" other people's notes on the paper,
"memory:" recalled without a source at hand, "ours:" this project's choice where nothing was known.
"""

from typing import NamedTuple


class Preset(NamedTuple):
    """A benchmark's word with settings, and the defaults of experiments on it."""

    of: str
    settings: dict[str, str]
    about: str
    """first line: description; then the source of each setting"""
    defaults: dict[str, str | int]


MLP_100 = "mlp:depth=2,width=100"
PRESETS: dict[str, Preset] = {
    "dohare-permuted": Preset(
        "permuted-inputs",
        {"dataset": "mnist", "images": "60000", "tasks": "800", "updates": "60000", "draw": "passes"},
        """Online permuted MNIST of Dohare et al. 2024 (Nature 632, arXiv 2306.13812).

code: 800 tasks of 60,000 images, each seen once, batch 1, three hidden layers of 2,000 ReLU units, SGD 0.003 (also 0.01, 0.001),
10 runs.
ours: rows and checkpoints.""",
        dict(
            agent="supervised:batch_size=1,record_every=1000",
            network="mlp:depth=3,width=2000",
            optimizer="sgd",
            schedule="constant:rate=0.003",
            diagnose_every=60_000,
            checkpoint_every=60_000,
        ),
    ),
    "kumar-permuted": Preset(
        "permuted-inputs",
        {"dataset": "mnist", "images": "10000", "tasks": "500", "updates": "625", "draw": "passes"},
        """Permuted MNIST of Kumar, Marklund & Van Roy 2023 (arXiv 2308.11958).

code: 500 tasks of 10,000 images, batch 16, 625 updates, two hidden layers of 100, Adam 1e-3 (also 1e-4).
differs: they draw other 10,000 images at every task and leave the first unpermuted.""",
        dict(agent="supervised:batch_size=16,record_every=125", network=MLP_100, schedule="constant:rate=1e-3"),
    ),
    "kumar-random-labels": Preset(
        "random-labels",
        {"dataset": "mnist", "images": "1200", "tasks": "50", "updates": "30000", "draw": "passes"},
        """Random-label MNIST of Kumar, Marklund & Van Roy 2023 (arXiv 2308.11958).

code: 50 tasks of 1,200 images, 400 epochs (30,000 updates of 16), two hidden layers of 100, Adam 1e-3 (also 1e-4).
differs: they shuffle the true labels, here they are drawn uniformly.""",
        dict(agent="supervised:batch_size=16,record_every=750", network=MLP_100, schedule="constant:rate=1e-3", checkpoint_every=30_000),
    ),
    "upgd-input-permuted": Preset(
        "permuted-inputs",
        {"dataset": "mnist", "images": "60000", "tasks": "200", "updates": "5000"},
        """Input-permuted MNIST of Elsayed & Mahmood 2024 (UPGD, arXiv 2404.00781).

code: another permutation every 5,000 samples, 1,000,000 in all, batch 1, 20 seeds.
secondary: hidden layers of 300 and 150 ReLU units; here both have 300.
ours: SGD 0.01, of their sweep from 1e-2 to 1e-5; their own learner is `--optimizer upgd`.""",
        dict(
            agent="supervised:batch_size=1,record_every=500",
            network="mlp:depth=2,width=300",
            optimizer="sgd",
            schedule="constant:rate=0.01",
            diagnose_every=5_000,
            checkpoint_every=50_000,
        ),
    ),
    "upgd-label-permuted": Preset(
        "permuted-labels",
        {"dataset": "cifar10", "images": "50000", "tasks": "400", "updates": "2500"},
        """Label-permuted CIFAR-10 of Elsayed & Mahmood 2024 (UPGD, arXiv 2404.00781).

code: other names every 2,500 samples, batch 1.
memory: 1,000,000 samples in all.
ours: the network, two hidden layers of 300, and SGD 0.01, of their sweep from 1e-2 to 1e-5; their own learner is `--optimizer
upgd`.""",
        dict(
            agent="supervised:batch_size=1,record_every=500",
            network="mlp:depth=2,width=300",
            optimizer="sgd",
            schedule="constant:rate=0.01",
            diagnose_every=5_000,
            checkpoint_every=50_000,
        ),
    ),
    "lyle-random-labels": Preset(
        "random-labels",
        {"dataset": "cifar10", "images": "50000", "tasks": "100", "updates": "50000"},
        """Random-label CIFAR-10 of Lyle et al. 2024 (Disentangling, arXiv 2402.18762).

secondary: 100 tasks of 50,000 updates, Adam, MLP, CNN and ResNet, from 1% to 100% of the labels drawn anew (`fraction`).
ours: batch 32, rate 1e-3, the network, three hidden layers of 100.""",
        dict(agent="supervised:record_every=500", diagnose_every=5_000, checkpoint_every=50_000),
    ),
    "nap-random-labels": Preset(
        "random-labels",
        {"dataset": "cifar10", "images": "50000", "tasks": "200", "updates": "100000"},
        """Continual random-label CIFAR-10 of Lyle et al. 2024 (NaP, arXiv 2407.01800).

secondary: 200 resets of all targets, 100,000 updates each, Adam 1e-4, CNN and MLP.
ours: batch 32 and the network, three hidden layers of 100.""",
        dict(agent="supervised:record_every=1000", schedule="constant:rate=1e-4", diagnose_every=10_000, checkpoint_every=100_000),
    ),
    "ash-adams-warm-start": Preset(
        "growing-data",
        {"dataset": "cifar10", "images": "50000", "held_out": "10000", "tasks": "2", "first": "0.5", "updates": "20000", "draw": "passes"},
        """Warm start of Ash & Adams 2020 (arXiv 1910.08475): half of CIFAR-10, then all of it; the score is held-out accuracy.

memory: the two stages, ResNet-18, SGD 0.001 of batch 128.
ours: 20,000 updates a stage, where they train until 99% of the images are learned. Beside it, `--chain reset` is the network that
starts with all the data.""",
        dict(
            agent="supervised:batch_size=128,record_every=500",
            network="resnet18",
            optimizer="sgd",
            schedule="constant:rate=0.001",
            diagnose_every=5_000,
        ),
    ),
    "zaidi-stages": Preset(
        "growing-data",
        {"dataset": "cifar10", "images": "50000", "held_out": "10000", "tasks": "10", "first": "1", "updates": "4000", "draw": "passes"},
        """Re-initialisation of Zaidi et al. 2022 (arXiv 2206.10011): stages on all of CIFAR-10; the score is held-out accuracy.

memory: training in equal stages, the network changed and the schedule started again between them.
ours: all numbers; the official ones were not read. Without other regularisers as it stands; with them, add `--chain weight-decay
... --schedule linear:rate=1e-3,clock=visit`. The paper's data augmentation, PreAct-ResNet-18 and Tiny ImageNet are missing.
`--chain shrink-and-perturb`, `reset:...` are what to compare.""",
        dict(agent="supervised:batch_size=128,record_every=500", network="resnet18", schedule="constant:rate=1e-3", diagnose_every=4_000),
    ),
    "zaidi-noisy-stages": Preset(
        "growing-data",
        {
            "dataset": "cifar10",
            "images": "50000",
            "held_out": "10000",
            "tasks": "10",
            "first": "1",
            "updates": "4000",
            "draw": "passes",
            "noise": "0.4",
        },
        """`zaidi-stages` with label noise: 40% of the labels learned from are random, those held out are clean.

ours: the share, where the paper's were not read; for the rest see `show zaidi-stages`.""",
        dict(agent="supervised:batch_size=128,record_every=500", network="resnet18", schedule="constant:rate=1e-3", diagnose_every=4_000),
    ),
}
