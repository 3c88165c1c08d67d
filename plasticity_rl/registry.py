"""Names of parts: the words in spec.json and on the command line, and the class of each. Imports no torch.

A word stays valid when files and classes move or change names; it is never given to another part. This table holds the library's parts;
`envs` and `agents` hold benchmarks and agents. Parts of plugins are named by their path (see plugins.py).
"""

import importlib
import sys

from plasticity_rl import plugins
from plasticity_rl.checks import choose

METHODS = {
    word: f"plasticity_rl.interventions.{word.replace('-', '_')}.{name}"
    for word, name in {
        "adam-rel": "AdamRel",
        "aid": "AID",
        "batch-mean-norm": "BatchMeanNorm",
        "batch-norm": "BatchNorm",
        "born-again": "BornAgain",
        "calibrated-partial-resets": "CalibratedPartialResets",
        "churn": "Churn",
        "continual-backprop": "ContinualBackprop",
        "crelu": "CReLU",
        "dash": "DASH",
        "dynamic-sparsity": "DynamicSparsity",
        "effective-rank": "EffectiveRank",
        "fan-in": "FanIn",
        "feature-norm": "FeatureNorm",
        "feature-trust-region": "FeatureTrustRegion",
        "fire": "FIRE",
        "fourier": "Fourier",
        "gelu": "GELU",
        "hare-and-tortoise": "HareAndTortoise",
        "infer": "InFeR",
        "l2": "L2",
        "l2-init": "L2Init",
        "layer-norm": "LayerNorm",
        "layer-rates": "LayerRates",
        "layerwise": "Layerwise",
        "leaky-relu": "LeakyReLU",
        "low-rank": "LowRank",
        "nap": "NormalizeAndProject",
        "noisy-updates": "NoisyUpdates",
        "norm-constraint": "NormConstraint",
        "orthogonal": "Orthogonal",
        "parseval": "Parseval",
        "plasticity-injection": "PlasticityInjection",
        "powerprop": "Powerprop",
        "prelu": "PReLU",
        "redo": "ReDo",
        "regrama": "ReGraMa",
        "reset": "Reset",
        "rms-norm": "RMSNorm",
        "safe-adam": "SafeAdam",
        "selective-weight-reinitialization": "SelectiveWeightReinitialization",
        "self-normalized-resets": "SelfNormalizedResets",
        "shrink-and-perturb": "ShrinkAndPerturb",
        "smooth-leaky": "SmoothLeaky",
        "soft-reset": "SoftReset",
        "spectral": "Spectral",
        "spectral-norm": "SpectralNorm",
        "static-sparsity": "StaticSparsity",
        "tailored": "Tailored",
        "tanh": "Tanh",
        "trac": "TRAC",
        "wasserstein": "Wasserstein",
        "weight-clipping": "WeightClipping",
        "weight-decay": "WeightDecay",
        "weight-normalization": "WeightNormalization",
    }.items()
}
NETWORKS = {
    "mlp": "plasticity_rl.networks.specs.MLP",
    "nature": "plasticity_rl.networks.specs.Nature",
    "minatar-cnn": "plasticity_rl.networks.specs.MinAtarCNN",
    "impala-cnn": "plasticity_rl.networks.specs.Impala",
    "resnet18": "plasticity_rl.networks.specs.Resnet18",
    "transformer": "plasticity_rl.networks.specs.Transformer",
    "simba": "plasticity_rl.networks.residual.Simba",
    "bro": "plasticity_rl.networks.residual.BroNet",
}
OPTIMIZERS = {
    "sgd": "plasticity_rl.optim.optimizers.SGD",
    "rmsprop": "plasticity_rl.optim.optimizers.RMSprop",
    "adam": "plasticity_rl.optim.optimizers.Adam",
    "radam": "plasticity_rl.optim.optimizers.RAdam",
    "lars": "plasticity_rl.optim.optimizers.LARS",
    "lamb": "plasticity_rl.optim.optimizers.LAMB",
    "muon": "plasticity_rl.optim.optimizers.Muon",
    "upgd": "plasticity_rl.optim.optimizers.UPGD",
    "lion": "plasticity_rl.optim.lion.Lion",
    "adamo": "plasticity_rl.optim.adamo.AdamO",
    "schedule-free": "plasticity_rl.optim.schedule_free.ScheduleFree",
    "soap": "plasticity_rl.optim.soap.SOAP",
    "kron": "plasticity_rl.optim.kron.Kron",
}
SCHEDULES = {
    "constant": "plasticity_rl.optim.schedules.Constant",
    "linear": "plasticity_rl.optim.schedules.Linear",
    "warmup-cosine": "plasticity_rl.optim.schedules.WarmupCosine",
    "cyclic": "plasticity_rl.optim.schedules.Cyclic",
    "rewarm": "plasticity_rl.optim.schedules.Rewarm",
    "recorded": "plasticity_rl.optim.schedules.Recorded",
}
METRICS: dict[str, str] = {}
"""none: the library's own are reported by every run (metrics/catalogue.py)"""
TABLES = {"method": METHODS, "network": NETWORKS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "metric": METRICS}
ELSEWHERE = {"benchmark": ("envs", "BENCHMARKS"), "agent": ("agents", "AGENTS")}
"""kind -> (package, table), for kinds whose packages the library does not depend on"""


def words(kind: str) -> dict[str, str]:
    """Words of a kind (a key of TABLES or ELSEWHERE) -> path of the class."""
    if kind in TABLES:
        return TABLES[kind]
    package, table = ELSEWHERE[kind]
    return getattr(importlib.import_module(package), table)


def find(kind: str, word: str) -> type:
    """Class of a word. Raises UsageError for an unknown word, naming the nearest."""
    if word.startswith(plugins.MARK):
        return plugins.find(kind, word.removeprefix(plugins.MARK))
    table = words(kind)
    module, _, name = table[choose(kind, word, table)].rpartition(".")
    return getattr(importlib.import_module(module), name)


def name(part: object) -> str:
    """Word of a part, or `plugin:module.Class` for a plugin's."""
    path = f"{type(part).__module__}.{type(part).__name__}"
    return _by_path().get(path, f"{plugins.MARK}{path}")


def title(part: object) -> str:
    """Name of a part for people: its word, or `module.Class` for a plugin's."""
    return name(part).removeprefix(plugins.MARK)


def _by_path() -> dict[str, str]:
    """Path of a class -> its word, for all tables of imported packages: a part's own package is always imported."""
    found = {path: word for table in TABLES.values() for word, path in table.items()}
    for package, table in ELSEWHERE.values():
        if module := sys.modules.get(package):
            found |= {path: word for word, path in getattr(module, table).items()}
    return found
