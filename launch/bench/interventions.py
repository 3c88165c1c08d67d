"""Cost of each method: time of an update with it over time without it, both compiled, in alternating windows of one process.

`mlp` is the demo's network on batches of 32 digits; `nature` is DQN's network and loss, with a target network, on batches of 32 frame
stacks; both use Adam. On a CPU, members of `nature` are updated one after the other by the function compiled for one member. Methods have
their defaults. A periodic refresh is timed by itself and divided by its period; refreshes at task boundaries are left out.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from agents.dqn import DQN
from agents.supervised import Supervised
from launch.bench.update import seconds_per_call
from launch.config.methods import passes_again
from launch.config.parse import part_class
from launch.run.runner import THREADS
from plasticity_rl.checks import UsageError
from plasticity_rl.interventions import Intervention, assemble
from plasticity_rl.networks.specs import MLP, Nature
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.training.learner import Learner

MEMBERS = (1, 5)
COMPILING = 14  # approximate seconds per method outside its windows
BATCH, CLASSES, ACTIONS, RATE = 32, 10, 6, 1e-4


class Cost(NamedTuple):
    """Cost of one method on one network."""

    ratios: tuple[float, ...] = ()
    """time with the method over time without it, one per round"""
    failure: str = ""
    """reason why there are no ratios"""

    def __str__(self) -> str:
        if self.failure:
            return "-"
        return f"{self.median:.2f} [{min(self.ratios):.2f}-{max(self.ratios):.2f}]"

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)


Costs = dict[tuple[str, int], Cost]
"""network and members -> cost"""


def measure(words: Sequence[str], networks: Sequence[str], seconds: float, rounds: int) -> None:
    """Print the table of these methods on these networks, from `rounds` windows of `seconds` with and without each method."""
    torch.set_flush_denormal(True)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    count = len(networks) * len(MEMBERS) * len(words)
    minutes = len(networks) * len(words) * (COMPILING + len(MEMBERS) * 2 * rounds * seconds) / 60
    console.print(f"{count} measurements, about {minutes:.0f} minutes", soft_wrap=True)
    costs: dict[str, Costs] = {word: {} for word in words}
    done = 0
    for network in networks:
        with console.status(f"{network}: compiling without a method"):
            without = list(_made(network, ()))
        for word in words:
            with console.status(f"{network}, {word}: compiling and measuring"):
                found = _costs(without, word, seconds, rounds)
            for members, cost in zip(MEMBERS, found, strict=True):
                costs[word][network, members] = cost
                done += 1
                told = cost.failure or str(cost)
                console.print(f"{done}/{count} {network}, S = {members}, {word}: {told}", markup=False, soft_wrap=True)
    console.print("", table(costs))
    console.print(
        f"\nmedians of {rounds} windows of {seconds:g} s with and without, in turn [lowest-highest]; the share of refreshes that are due "
        f"every so many updates is added, refreshes at tasks are left out; torch {torch.__version__}",
        markup=False,
        soft_wrap=True,
    )


class Update:
    """An update of S members of a network under a chain, on one fixed batch. Refreshes happen on request only."""

    def __init__(
        self, network: str, members: int, chain: tuple[Intervention, ...], compile: bool = True, like: "Update | None" = None
    ) -> None:
        """`like` is an Update with other members, whose compiled function is reused if the shapes are the same."""
        self.network, self.members = network, members
        built, optimizer, loss, self.batch = _dense(members, chain) if network == "mlp" else _frames(members, chain)
        self.learner = Learner(built, loss, optimizer, chain, members, 0, compile=compile)
        if like is not None and like.learner.chunk_size == self.learner.chunk_size:
            self.learner._step = like.learner._step
        self.extras = [built.cast(self.learner.net.params)] if network == "nature" else []
        clocks = [each for each in chain if getattr(each, "clock", None) == "update"]
        self.every = max((getattr(each, "every", 1) for each in clocks), default=1)
        """updates between two refreshes; 1 also without refreshes"""

    def __call__(self, refresh: bool = False) -> None:
        """Make one update, followed by a refresh on request; with `every` 1 both are the same."""
        self.learner.ticks["update"] = self.every - 1 if refresh else 0
        self.learner.update(RATE, self.batch, *self.extras)


def _made(network: str, chain: tuple[Intervention, ...]) -> Iterator[Update]:
    """Yield a compiled Update for each number of members."""
    update = None
    for members in MEMBERS:
        torch.set_num_threads(THREADS if {"mlp": MLP(), "nature": Nature()}[network].shares_well(members) else 1)
        update = Update(network, members, chain, like=update)
        update()
        update(refresh=True)
        yield update


def _costs(without: Sequence[Update], word: str, seconds: float, rounds: int) -> list[Cost]:
    """Measure a method's cost relative to the updates `without` it, for each number of members."""
    costs: list[Cost] = []
    try:
        updates = _made(without[0].network, (part_class("method", word)(),))
        for plain, update in zip(without, updates, strict=True):
            costs.append(Cost(tuple(ratio(plain, update, update.every, seconds) for _ in range(rounds))))
        return costs
    except UsageError as error:
        failure = f"refused: {error}"
    except Exception as error:  # a failing method must not end the other measurements
        failure = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return costs + [Cost(failure=failure)] * (len(without) - len(costs))


def ratio(without: Callable[[], object], update: Callable[..., object], every: int, seconds: float) -> float:
    """Measure one round: time with over time without the method, with a refresh's time divided by `every`."""
    before, after = seconds_per_call(without, seconds), seconds_per_call(update, seconds)
    if every > 1:
        start = time.perf_counter()
        update(refresh=True)
        after += max(time.perf_counter() - start - after, 0.0) / every
    return after / before


def table(costs: dict[str, Costs]) -> Table:
    """Return a table with a row per method and one for their medians."""
    cells = list(dict.fromkeys(cell for each in costs.values() for cell in each))
    made = Table("method", title="time of an update with a method, over without", title_justify="left", box=None, padding=(0, 2))
    for network, members in cells:
        made.add_column(f"{network} S={members}", justify="right")
    made.add_column("second pass")
    for word, found in costs.items():
        made.add_row(word, *(str(found[cell]) for cell in cells), "yes" if passes_again(part_class("method", word)) else "no")
    medians = [[found[cell].median for found in costs.values() if not found[cell].failure] for cell in cells]
    made.add_row("median", *(f"{statistics.median(each):.2f}" if each else "-" for each in medians), "", style="bold")
    return made


def _dense(members: int, chain: tuple[Intervention, ...]) -> tuple[Any, Any, Any, dict[str, torch.Tensor]]:
    """Make network, optimizer, loss and batch of supervised learning."""
    agent = Supervised()
    network, optimizer = assemble(MLP(), Adam(), chain, (64,), CLASSES)
    batch = {"inputs": torch.rand(members, BATCH, 64), "labels": torch.randint(CLASSES, (members, BATCH))}
    return network, optimizer, lambda params, batch: agent.loss(network, params, batch), batch


def _frames(members: int, chain: tuple[Intervention, ...]) -> tuple[Any, Any, Any, dict[str, torch.Tensor]]:
    """Make network, optimizer, loss and batch of Q-learning."""
    agent = DQN()
    network, optimizer = assemble(Nature(), Adam(), chain, (4, 84, 84), ACTIONS)
    shape = (members, BATCH)
    frames = {name: torch.randint(256, (*shape, 4, 84, 84), dtype=torch.uint8) for name in ("inputs", "next_inputs")}
    ones = {name: torch.ones(shape) for name in ("discounts", "weights")}
    chosen = {"actions": torch.randint(ACTIONS, shape), "task": torch.zeros(shape, dtype=torch.int64), "returns": torch.randn(shape)}
    return network, optimizer, lambda params, batch, target: agent.loss(network, params, batch, target), frames | ones | chosen
