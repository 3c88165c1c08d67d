"""Cost of diagnostics: the extra time of an update that makes all rows of metrics.csv, relative to the updates between two of them."""

import sys

import torch
from rich.console import Console
from rich.table import Table

from agents.diagnostics.rows import HELD, Diagnostics
from analysis.format import count
from launch.bench.interventions import Update
from launch.bench.update import seconds_per_call
from launch.config.defaults import DEFAULTS
from launch.config.parse import experiment
from launch.run.runner import THREADS
from plasticity_rl.networks.specs import MLP, Nature
from plasticity_rl.records.events import Metric

BENCHMARKS = {"mlp": "random-labels", "nature": "atari"}
EVERY = {network: DEFAULTS[benchmark]["diagnose_every"] for network, benchmark in BENCHMARKS.items()}  # updates
WHERE = dict(visit=0, task="", cycle=0, frames=0, steps=0, updates=0)


def measure(seconds: float) -> None:
    """Print the table; `seconds` is the length of a window, of updates or of diagnostics."""
    torch.set_flush_denormal(True)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    shown = Table(box=None, padding=(0, 1))
    for heading in ("network", "members", "update, ms", "rows", "their time, ms", "every", "share"):
        shown.add_column(heading, justify="left" if heading == "network" else "right")
    for network in EVERY:
        for members in (1, 5):
            with console.status(f"{network}, {count(members, 'member')}: compiling and measuring"):
                update, rows, reported = _times(network, members, seconds)
            every = EVERY[network]
            share = f"{rows / (every * update):.1%}"
            shown.add_row(network, str(members), f"{update * 1e3:.2f}", str(reported), f"{rows * 1e3:.1f}", str(every), share)
    console.print(shown)
    console.print("\nevery: updates between two diagnostics, the defaults of random-labels and atari; compiled updates, batches of 32")


def _times(network: str, members: int, seconds: float) -> tuple[float, float, int]:
    """Measure seconds per update, extra seconds of an update with diagnostics, and the number of rows that it makes."""
    torch.set_num_threads(THREADS if {"mlp": MLP(), "nature": Nature()}[network].shares_well(members) else 1)
    update = Update(network, members, ())
    diagnostics = Diagnostics(update.learner, experiment({"benchmark": BENCHMARKS[network], "diagnose_every": 1}))

    def measured() -> list[Metric]:
        diagnostics.look(update.batch["inputs"])
        reported = update.learner.update(1e-4, update.batch, *update.extras, measure=True)
        return list(diagnostics.rows(WHERE, reported, update.batch, *update.extras))

    for _ in range(HELD // update.batch["inputs"].shape[1]):
        measured()
    count = len(measured())
    plain, longer = seconds_per_call(update, seconds), seconds_per_call(measured, seconds)
    return plain, max(longer - plain, 0.0), count
