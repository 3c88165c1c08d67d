"""Network updates per second: S members in one compiled update, beside plain PyTorch loops, one alone and one on every processor.

The network is the demo's: 64 -> 100 -> 100 -> 100 -> 10, ReLU, Adam, batches of 32, no chain. A plain loop is `nn.Sequential` and
`torch.optim.Adam` on one thread, its fastest setting, on one fixed batch; members see a new batch in each update of a call. Separate
processes run one plain loop per processor at once, or one on a GPU.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch
from rich.console import Console
from rich.table import Table

from launch.bench.update import ours, plain
from launch.run.provenance import machine
from launch.run.runner import THREADS
from plasticity_rl.networks.specs import MLP
from plasticity_rl.training.learner import MAX_FUSED_UPDATES

ROUNDS = 5
UPDATES = 20_000  # per network in the demo: twenty tasks of 1,000

Window = Callable[[float], float]
"""seconds to measure -> network updates per second"""


def measure(sizes: Sequence[int], seconds: float, device: str) -> None:
    """Print a table of medians over ROUNDS alternating windows of `seconds`."""
    torch.set_flush_denormal(True)
    console = Console(highlight=False)
    count = 1 if device.startswith("cuda") else THREADS
    with processes(count, device) as separate:
        ways: dict[str, tuple[Window, int]] = {"plain loop": (timed(plain(device), 1, 1, device), 1), f"{count} processes": (separate, 1)}
        for size in sizes:
            threads = THREADS if MLP().shares_well(size) else 1
            with console.status(f"{size} members: compiling"):
                torch.set_num_threads(threads)  # a compiled update is made for a thread count
                row = ours(size, (), True, device, MAX_FUSED_UPDATES)
                ways[f"{size} members"] = timed(row, size * MAX_FUSED_UPDATES, threads, device), threads
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(ROUNDS):
            for way, (window, _) in ways.items():
                with console.status(f"window {turn + 1} of {ROUNDS}: {way}"):
                    speeds[way].append(window(seconds))
    where = machine(device)
    console.print(
        f"{where['device']}, {where['machine']}, torch {torch.__version__}; {ROUNDS} interleaved windows of {seconds:g} s", soft_wrap=True
    )
    console.print(table({way: (threads, speeds[way]) for way, (_, threads) in ways.items()}))


def table(measured: dict[str, tuple[int, list[float]]]) -> Table:
    """Make the table from variant -> threads and speed per window; the first two variants are the baselines."""
    shown = Table(title=f"updates of single networks; networks are trained for {UPDATES:,}", title_justify="left", box=None, padding=(0, 1))
    headings = ("way", "threads", "updates/s", "from-to", "networks/h", "x loop", "x processes")
    for heading in headings:
        shown.add_column(heading, justify="left" if heading == "way" else "right", no_wrap=True)
    medians = {way: statistics.median(speeds) for way, (_, speeds) in measured.items()}
    loop, separate, *_ = medians.values()
    for way, (threads, speeds) in measured.items():
        speed = medians[way]
        cells = (f"{speed:,.0f}", f"{min(speeds):,.0f}-{max(speeds):,.0f}", f"{speed * 3600 / UPDATES:,.0f}")
        shown.add_row(way, str(threads), *cells, f"{speed / loop:.2f}", f"{speed / separate:.2f}")
    return shown


def timed(update: Callable[[], object], updates: int, threads: int, device: str) -> Window:
    """Make a window that calls `update`, which makes `updates` network updates per call."""

    def window(seconds: float) -> float:
        torch.set_num_threads(threads)
        _wait(device)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            update()
            count += 1
            if count % 100 == 0:
                _wait(device)  # GPU calls are asynchronous
        _wait(device)
        return count * updates / (time.perf_counter() - start)

    return window


@contextmanager
def processes(count: int, device: str) -> Iterator[Window]:
    """Start `count` processes with a plain loop each; a window measures them simultaneously."""
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(count)]
    workers = [spawn.Process(target=_work, args=(theirs, device), daemon=True) for _, theirs in pipes]
    for worker in workers:
        worker.start()

    def window(seconds: float) -> float:
        for mine, _ in pipes:
            mine.send(seconds)
        return sum(mine.recv() for mine, _ in pipes)

    try:
        for mine, _ in pipes:
            mine.recv()  # wait until it has started
        yield window
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(pipe: Connection, device: str) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    window = timed(plain(device), 1, 1, device)
    window(0.2)
    pipe.send(None)
    while True:
        pipe.send(window(pipe.recv()))


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
