"""Random streams, each a pure function of its name: nothing to checkpoint, and a new stream changes no other."""

import hashlib


def derive(*name: int | str) -> int:
    """63-bit seed of the stream with that name, such as `derive(seed, member, "fresh", 12)`."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, name)).encode()).digest()[:8], "little") >> 1


Member = tuple[int, int]
"""(seed, number), on which all random numbers of a member depend"""


def members_of(seed: int, count: int) -> tuple[Member, ...]:
    """Members of one seed, numbered from 0."""
    return tuple((seed, number) for number in range(count))


PURPOSES = {
    # networks, methods and updates
    "birth": "the networks that a run begins with",
    "network": "initial parameters; the next word says whose",
    "reference": "the untrained networks of diagnostics and probes",
    "state": "initial state of a method",
    "noise": "noise in updates, of the optimizer or a method; label noise of a benchmark",
    "curvature": "first vectors of Lanczos runs",
    "probe": "networks, targets and observations of probes",
    "probe batches": "order of the examples in a probe",
    # supervised benchmarks
    "batches": "examples of each batch, drawn with replacement",
    "pass": "order of the examples in a pass",
    "bits": "bit sequences",
    "frames": "games and actions behind a data set of frames",
    "function": "target functions",
    "labels": "random labels",
    "last task": "which examples are still of the last task while a task changes gradually",
    "names": "permutations of the classes",
    "numbers": "random numbers to fit",
    "order": "order of examples or classes as they arrive",
    "pixels": "permutations of the pixels",
    "recurring": "the order in which tasks recur",
    "subset": "classes of a task",
    "target": "the network that makes targets",
    "teacher": "teacher networks",
    # checks of checkpoints
    "twin": "newly initialised networks beside a checkpoint",
    # reinforcement benchmarks and acting
    "acting noise": "noise of noisy networks while acting",
    "evaluation": "actions and episodes of evaluations",
    "channels": "places of a board's channels in a task",
    "explore": "actions; with `normal` after it, Gaussian numbers",
    "games": "order of the games in a cycle",
    "new labels": "which actions have their new meaning while a task changes gradually",
    "observation noise": "noise of observations, and its size for each feature of a task",
    "offset": "offsets of a task's observations",
    "no-ops": "no-ops at the start of episodes, where an emulator does not draw them",
    "play": "episodes that are played from a checkpoint",
    "pool": "episodes of training",
    "rescale": "factors of a task's observations",
    "right": "the best arm of a task",
    "set": "attributes of environments that differ between tasks",
    "tasks": "permutations of features and actions",
    # reinforcement learning
    "fractions": "quantile fractions",
    "learning noise": "noise of noisy networks in updates",
    "policy": "actions of SAC's policy in updates",
    "smoothing": "noise of TD3's target policy",
    "minibatches": "order of a rollout's steps in its epochs",
    "replay": "transitions to replay",
}
"""Words in names of random streams -> what is drawn. A renamed word changes the numbers of every run: add, never rename."""
