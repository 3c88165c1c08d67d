"""Training speed compared with common tools: same machine, same algorithm settings, alternating windows.

SPS is agent steps of all members per second; a step is 4 emulator frames. The ceiling is this project's emulator speed with random actions
and no learner. Memory is the peak resident memory of all of a program's processes, with shared pages counted in each.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType, TracebackType
from typing import NamedTuple

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.format import count
from launch.bench.peers import cleanrl, ours
from launch.bench.peers.competitors import COMPETITORS, Entry
from launch.bench.peers.environments import python_with
from launch.bench.peers.windows import Failed, Measured, Start, take_turns
from launch.ray_cluster import CHECKOUT
from plasticity_rl import processor
from plasticity_rl.checks import UsageError
from plasticity_rl.processor import fast_bfloat16


class Row(NamedTuple):
    """A measured program."""

    entry: Entry
    version: str
    measured: Measured

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (f"{self.entry.name} {self.version}".strip(), self.entry.detail)))

    @property
    def median(self) -> float:
        """Median speed in steps per second; 0 if there is none."""
        return statistics.median(self.measured.speeds) if self.measured.speeds and not self.measured.failure else 0.0


def measure(agents: Sequence[str], checkout: Path | None, seconds: float, rounds: int, peers: Path) -> None:
    """Print the table, from `rounds` windows of at least `seconds` per program. `checkout` is CleanRL's folder; `peers` holds the virtual
    environments. Raises UsageError if one of the folders is something else, or the system is not Linux.
    """
    if not Path("/proc/self/stat").exists():
        raise UsageError("bench train needs Linux: it finds the processes to pause in /proc")
    if checkout and not (checkout / "cleanrl").is_dir():
        raise UsageError(f"{checkout} is not a checkout of CleanRL: it has no folder cleanrl")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    entries = [entry for entry in COMPETITORS if entry.agent in agents and (checkout or entry.who is not cleanrl)]
    minutes = len(entries) * (rounds * seconds * 1.3 + 20) / 60
    left_out = "" if checkout else "; CleanRL is left out: --cleanrl says where a checkout of it is"
    console.print(f"{len(entries)} programs, about {minutes:.0f} minutes{left_out}", soft_wrap=True)
    with _Teller(console) as tell:
        pythons = {who: _python(who, peers, tell) for who in dict.fromkeys(entry.who for entry in entries)}
        for agent in agents:
            present = [entry for entry in entries if entry.agent == agent]
            able = [entry for entry in present if isinstance(pythons[entry.who], Path)]
            starts = [_start(entry, Path(pythons[entry.who]), checkout) for entry in able]
            measured = take_turns(starts, seconds, rounds, lambda text, more, agent=agent: tell(f"{agent}: {text}", more))
            found = dict(zip(able, measured, strict=True))
            missing = {entry: Measured([], failure=str(pythons[entry.who])) for entry in present if entry not in found}
            rows = [Row(entry, _version(entry, checkout), (found | missing)[entry]) for entry in present]
            console.print(table(rows, agent))
            for row in rows:
                if row.measured.failure:
                    console.print(f"{row.name}: failed: {row.measured.failure}", style="red", markup=False, soft_wrap=True)
    console.print(
        f"\nSPS: agent steps of all members a second; medians of {rounds} windows of at least {seconds:g} s in turn [lowest-highest]"
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    fast, why = fast_bfloat16("auto")
    console.print(f"{processor.name()}, {count(os.cpu_count() or 1, 'processor')}, {device}, torch {torch.__version__}", soft_wrap=True)
    console.print(f"bfloat16: {why}{'' if fast else ', and is left out'}", soft_wrap=True)


def table(rows: Sequence[Row], agent: str) -> Table:
    """Make the table of one agent: program, speed, ratio to the best peer and share of the emulator's ceiling."""
    shown = Table(title=f"\n{agent}", title_justify="left", box=None, padding=(0, 1))
    shown.add_column("", no_wrap=True)
    for heading in ("SPS", "x peer", "ceiling", "MB"):
        shown.add_column(heading, justify="right", no_wrap=True)
    best = max((row.median for row in rows if row.entry.who is not ours), default=0.0)
    ceilings = {row.entry.num_envs: row.median for row in rows if row.entry.ceiling}
    for row in rows:
        speeds, memory = row.measured.speeds, f"{row.measured.memory / 1e6:,.0f}"
        if row.measured.failure:
            shown.add_row(row.name, "failed", "", "", memory)
            continue
        ceiling = ceilings.get(row.entry.num_envs)
        times = f"{row.median / best:.2f}" if best and not row.entry.ceiling else ""
        share = f"{row.median / ceiling:.0%}" if ceiling and not row.entry.ceiling else ""
        shown.add_row(row.name, f"{row.median:,.0f} [{min(speeds):,.0f}-{max(speeds):,.0f}]", times, share, memory)
    return shown


def _python(who: ModuleType, peers: Path, tell: "_Teller") -> Path | str:
    """Return the Python that runs a module of `peers`, or the reason why there is none."""
    if who is ours:
        return Path(sys.executable)
    try:
        return python_with(who.REQUIREMENTS, peers / who.__name__.rpartition(".")[2], lambda line: tell(f"{who.NAME} is installed", line))
    except Failed as failure:
        return str(failure)


def _start(entry: Entry, python: Path, checkout: Path | None) -> Start:
    """Make the command of an entry. Other programs run without this project's environment variables."""
    named = ", ".join(filter(None, (entry.name, entry.detail)))
    if entry.who is ours:
        environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
        return Start(named, [str(python), "-m", entry.who.__name__, *entry.arguments], environment, entry.warm)
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}  # __main__ sets it
    first = [str(checkout)] if entry.who is cleanrl else []
    return Start(named, [str(python), "-I", str(entry.who.__file__), *first, *entry.arguments], environment, entry.warm)


def _version(entry: Entry, checkout: Path | None) -> str:
    """Return the version, or a checkout's commit."""
    if entry.ceiling:
        return metadata.version("envpool")
    if entry.who in (ours, cleanrl):
        folder = CHECKOUT if entry.who is ours else checkout
        said = subprocess.run(["git", "-C", str(folder), "describe", "--always", "--dirty"], capture_output=True, text=True)
        return said.stdout.strip()
    return entry.who.VERSION


class _Teller:
    """Status display: a changing line on a terminal, elsewhere plain lines without consecutive duplicates."""

    def __init__(self, console: Console) -> None:
        self._console, self._status, self._before = console, console.status(""), ""

    def __enter__(self) -> "_Teller":
        self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._status.stop()

    def __call__(self, text: str, more: str = "") -> None:
        if self._console.is_terminal:
            self._status.update(escape(f"{text}  {more}"[: self._console.width - 4]))
        elif text != self._before:
            self._console.print(text, markup=False, soft_wrap=True)
        self._before = text
