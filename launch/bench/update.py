"""ms per update for S members, eager and compiled, beside a plain `nn.Sequential` + `torch.optim.Adam` loop, interleaved in one process.

The network is the demo's: 64 -> 100 -> 100 -> 100 -> 10, ReLU, Adam, batches of 32, without a chain (as the plain loop) and with NaP.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import nn

from agents.supervised import Supervised
from analysis.format import count
from launch.run.runner import THREADS
from plasticity_rl.interventions import NormalizeAndProject, assemble
from plasticity_rl.networks.specs import MLP
from plasticity_rl.optim.optimizers import Adam
from plasticity_rl.training.learner import Learner

MEMBERS = (1, 5, 32, 128)
ROUNDS = 5


def measure(seconds: float) -> None:
    """Print a table of medians over ROUNDS alternating windows of `seconds`."""
    torch.set_flush_denormal(True)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(
        f"torch {torch.__version__}; medians of {ROUNDS} interleaved windows of {seconds:g} s; a plain loop runs on one thread, its best"
    )
    table = Table(title="ms per update, and times faster per member than the plain loop", title_justify="left", box=None, padding=(0, 2))
    for heading in ("members", "threads", "chain", "plain", "eager", "compiled", "eager, x", "compiled, x"):
        table.add_column(heading, justify="right")
    loop_of_one = plain()
    for members in MEMBERS:
        threads = THREADS if MLP().shares_well(members) else 1
        for name, chain in (("none", ()), ("nap", (NormalizeAndProject(),))):
            with console.status(f"{count(members, 'member')}, {name}: compiling and measuring"):
                torch.set_num_threads(threads)  # a compiled update is made for a thread count
                ways = [(loop_of_one, 1), (ours(members, chain, False), threads), (ours(members, chain, True), threads)]
                windows = [[seconds_per_call(way, seconds, on) for way, on in ways] for _ in range(ROUNDS)]
                loop, eager, compiled = (statistics.median(times) * 1e3 for times in zip(*windows, strict=True))
            table.add_row(
                str(members),
                str(threads),
                name,
                f"{loop:.3f}",
                f"{eager:.3f}",
                f"{compiled:.3f}",
                f"{loop * members / eager:.2f}",
                f"{loop * members / compiled:.2f}",
            )
    console.print(table)


def seconds_per_call(call: Callable[[], object], seconds: float, threads: int | None = None) -> float:
    """Measure seconds per call in a window of `seconds`, with `threads` threads if given."""
    if threads is not None:
        torch.set_num_threads(threads)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        count += 1
    return (time.perf_counter() - start) / count


def plain(device: str = "cpu") -> Callable[[], object]:
    """Return a function that makes one update of a plain PyTorch loop."""
    layers: list[nn.Module] = []
    for width in (64, 100, 100):
        layers += [nn.Linear(width, 100), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(100, 10)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    inputs, labels = torch.randn(32, 64, device=device), torch.randint(10, (32,), device=device)

    def update() -> None:
        loss = F.cross_entropy(network(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update


def ours(members: int, chain: tuple, compile: bool, device: str = "cpu", row: int = 1) -> Callable[[], object]:
    """Return a function that makes `row` updates of `members` members, each with its own batch."""
    agent = Supervised()
    network, optimizer = assemble(MLP(), Adam(), chain, (64,), 10)
    learner = Learner(network, lambda params, batch: agent.loss(network, params, batch), optimizer, chain, members, 0, device, compile)
    shape = (members, 32)
    batches = [{"inputs": torch.randn(*shape, 64, device=device), "labels": torch.randint(10, shape, device=device)} for _ in range(row)]
    learner.update(1e-3, batches[0])  # compiles
    return lambda: learner.updates([1e-3] * row, batches)
