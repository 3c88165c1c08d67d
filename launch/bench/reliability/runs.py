"""Small runs of every kind, their uninterrupted twins, and when two of them are the same."""

import hashlib
import shutil
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from random import Random

from launch.bench.reliability.processes import Command, last_line
from plasticity_rl import registry
from plasticity_rl.records import checkpoint
from plasticity_rl.records.folder import RunFolder, find_runs

ACTING = {
    "dqn": "dqn:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10",
    "rainbow": "rainbow:num_envs=4,batch_size=8,replay=160,min_replay=40,target_every=10",
    "pqn": "pqn:num_envs=4,rollout_length=8,epochs=2,minibatches=2",
    "ppo": "ppo:num_envs=4,rollout_length=8,epochs=2,minibatches=2",
    "impala": "impala:num_envs=4,rollout_length=8,minibatches=2",
}
NUMBERS = {
    "sac": "sac:num_envs=2,batch_size=8,replay=160,min_replay=40",
    "td3": "td3:num_envs=2,batch_size=8,replay=160,min_replay=40",
    "ppo, gaussian": "ppo:num_envs=4,rollout_length=8,epochs=2,minibatches=2",
}
"""agents whose actions are numbers"""
PENDULUM = ["--benchmark", "envpool:ids=Pendulum-v1,frames=1600,cycles=2", "--network", "mlp:width=12,depth=2", "--checkpoint-every", "400"]
WORLDS = {
    "control": ["--benchmark", "cartpole:tasks=2,frames=1600", "--network", "mlp:width=12,depth=2", "--checkpoint-every", "400"],
    "catch": ["--benchmark", "catch:tasks=2,frames=1600", "--network", "mlp:width=12,depth=2", "--checkpoint-every", "400"],
    "atari": ["--benchmark", "atari:games=Breakout+RoadRunner,frames=1600", "--network", "nature:width=16", "--checkpoint-every", "100"],
}
STREAM = ["--benchmark", "random-labels:images=60,tasks=3,updates=60", "--agent", "supervised:batch_size=8,record_every=15", "--network"]
STREAM += ["mlp:width=12,depth=2", "--checkpoint-every", "25", "--diagnose-every", "20"]
MEMBERS = ["--members", "2"]
SETTINGS = {"layer-rates": "layer-rates:factors=0.5", "tailored": "tailored:eta=0.3"}
"""methods whose defaults change nothing, or do not fit so small a network"""


def in_turn(kinds: dict[str, list[str]], random: Random) -> Iterator[tuple[str, list[str]]]:
    """All kinds in a random order, without end."""
    found = list(kinds.items())
    random.shuffle(found)
    yield from cycle(found)


def kinds() -> dict[str, list[str]]:
    """Words of a run of every agent in every world that it can act in, and of every method on a stream."""
    methods = {method: [*STREAM, *MEMBERS, "--chain", SETTINGS.get(method, method)] for method in registry.METHODS}
    return acting_kinds() | methods


def acting_kinds() -> dict[str, list[str]]:
    """Words of a run of every agent in every world that it can act in."""
    found = {f"{agent}, {world}": [*words, "--agent", settings] for world, words in WORLDS.items() for agent, settings in ACTING.items()}
    found |= {agent: [*PENDULUM, "--agent", settings] for agent, settings in NUMBERS.items()}
    return {name: [*words, *MEMBERS] for name, words in found.items()}


class Twins:
    """Uninterrupted runs, each made once, and folders for their twins."""

    def __init__(self, folder: Path, more: tuple[str, ...] = ("--eager",)) -> None:
        """`more` words are added to each command line."""
        self._folder, self._more, self._made, self._count = folder, more, {}, 0

    def words(self, words: list[str], root: Path) -> list[str]:
        """The command line of a run below `root`."""
        return ["run", "--name", "run", "--runs", str(root), *words, *self._more]

    def whole(self, words: list[str]) -> tuple[str, float]:
        """Digest of an uninterrupted run, and the seconds that it took. Raises RuntimeError if it does not end well."""
        key = " ".join(words)
        if key not in self._made:
            root = self.empty()
            command = Command(self.words(words, root), root / "log")
            if code := command.wait():
                raise RuntimeError(f"{key} ended with code {code}: {last_line(command.said)}")
            self._made[key] = digest(root), command.took
            shutil.rmtree(root)
        return self._made[key]

    def empty(self) -> Path:
        """A new folder."""
        self._count += 1
        made = self._folder / str(self._count)
        made.mkdir()
        return made


def the_run(root: Path) -> RunFolder:
    """The one run below a folder."""
    (run,) = find_runs(root)
    return run


def digest(root: Path) -> str:
    """Hash of the scores and of every tensor and counter at the end of the one run below `root`; of its state if it did not end."""
    run = the_run(root)
    found = hashlib.sha256(run.scores.read_bytes())
    last, problems = checkpoint.load_latest(run.checkpoints)
    if not run.is_done or problems or last is None:
        return f"not done: {run.failure or problems}"
    for name, tensor in sorted(last.tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    counters = {name: value for name, value in last.counters.items() if name != "records"}  # metrics.csv holds times
    found.update(repr(sorted(counters.items())).encode())
    return found.hexdigest()
