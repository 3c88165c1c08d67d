"""Promise: environments that crash or hang are begun anew, and the run goes on as if nothing had happened."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

from launch.bench.reliability import faulty_envs
from launch.bench.reliability.processes import last_line, run
from launch.bench.reliability.promise import Outcome, Promise
from launch.bench.reliability.runs import Twins, digest

PATIENCE = 5.0  # seconds
LIMIT = 15.0  # seconds from a failure to the next step
AGENTS = ("ppo:num_envs=2,rollout_length=8,epochs=1,minibatches=2", "dqn:num_envs=2,batch_size=8,replay=160,min_replay=40")


def words(log: Path, fault: str, at: int, agent: str) -> list[str]:
    """A run whose first environment to make `at` steps fails, once."""
    kwargs = f"fault={fault};at={at};times=1;log={log}"
    benchmark = f"gymnasium:ids=Faulty-v0,frames=1600,kwargs={kwargs}"
    more = ["--network", "mlp:width=12,depth=2", "--members", "2", "--checkpoint-every", "800", "--plugin", faulty_envs.__name__]
    return ["--benchmark", benchmark, "--agent", agent, *more]


def trials(folder: Path, random: Random) -> Iterator[Outcome]:
    """Failures of every kind at random steps."""
    twins = Twins(folder, ("--eager", "--isolate", "--patience", f"{PATIENCE:g}"))
    log = folder / "faults"
    while True:
        agent, fault, at = random.choice(AGENTS), random.choice(["raise", "shape", "abort", "hang"]), random.randrange(1, 150)
        expected, _ = twins.whole(words(log, "none", 0, agent))
        root = twins.empty()
        log.unlink(missing_ok=True)
        code, said = run(twins.words(words(log, fault, at, agent), root), root / "log")
        restarts = [line for line in said.splitlines() if "opened anew" in line]
        seconds = float(restarts[0].partition("opened anew in ")[2].split()[0]) if restarts else 0.0
        held = code == 0 and digest(root) == expected and len(restarts) == 1 and seconds < LIMIT
        yield Outcome(held, f"{fault} at step {at}" + ("" if held else f": code {code}, {last_line(said)}"), seconds)
        shutil.rmtree(root)


PROMISE = Promise("Isolated environments that raise, crash or hang are begun anew, and scores do not change", "15 s", trials)
