"""A long run with all that comes and goes in it, watched for growth of memory, handles and processes."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.stats import theilslopes

EVERY = 10.0  # seconds between two samples
KILL = 60.0  # seconds between two deaths of an actor
SETTLED = 0.25  # share of the time that is left out: caches fill
WORDS = "atari:games=Breakout+RoadRunner,frames=40000,cycles=1000 --agent ppo:num_envs=8,rollout_length=16 --network nature:width=16"
WORDS += " --members 2 --actors 2 --evaluate 1 --checkpoint-every 2000 --diagnose-every 50 --eager"
COLUMNS: tuple[str, ...] = ("seconds", "learner MB", "all MB", "files", "threads", "processes", "steps")


def sample(run: int, folder: Path) -> dict[str, float]:
    """Memory, open files and threads of the learner's process; memory and number of all processes of its session."""
    members = [int(each) for each in subprocess.run(["pgrep", "-s", str(run)], capture_output=True, text=True).stdout.split()]
    status = dict(line.split(":", 1) for line in Path(f"/proc/{run}/status").read_text().splitlines())
    every = 0
    for member in members:
        with suppress(OSError, IndexError):
            every += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    scores = next(folder.glob("*/*/scores.csv"), None)
    last = scores.read_bytes().rstrip(b"\n").rpartition(b"\n")[2].split(b",") if scores else []
    return {
        "learner MB": int(status["VmRSS"].split()[0]) / 1000,
        "all MB": every / 1e6,
        "files": len(os.listdir(f"/proc/{run}/fd")),
        "threads": int(status["Threads"]),
        "processes": len(members),
        "steps": int(last[5]) if len(last) > 5 and last[5].isdigit() else 0,
    }


def growth(seconds: Sequence[float], values: Sequence[float]) -> float:
    """Growth in an hour, as a share of the median: the median of the slopes between all pairs of samples."""
    found: Any = theilslopes(values, seconds)
    return float(found.slope) * 3600 / max(float(np.median(values)), 1e-9)


def measure(hours: float, out: Path) -> bool:
    """Watch a run, kill one of its actors every minute, and write the samples; returns whether nothing grew by 1% in an hour."""
    rows: list[dict[str, float]] = []
    with TemporaryDirectory() as folder, open(out, "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        command = [sys.executable, "-m", "launch", "run", "--runs", folder, "--name", "soak", "--benchmark", *WORDS.split()]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        began = killed = time.monotonic()
        try:
            while (now := time.monotonic()) - began < hours * 3600 and run.poll() is None:
                time.sleep(EVERY)
                if now - killed > KILL:
                    killed = now
                    actors = subprocess.run(["pgrep", "-s", str(run.pid), "-f", "ray::RayWorker"], capture_output=True, text=True)
                    if found := actors.stdout.split():
                        os.kill(int(found[len(rows) % len(found)]), signal.SIGKILL)
                rows.append({"seconds": round(time.monotonic() - began, 1), **sample(run.pid, Path(folder))})
                table.writerow(rows[-1])
                file.flush()
            if run.poll() is not None:
                print(f"the run ended with code {run.returncode}")
                return False
            run.send_signal(signal.SIGTERM)
            run.wait(120)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
    return report(rows)


def report(rows: list[dict[str, float]]) -> bool:
    """Print a line for each quantity; returns whether none grew."""
    settled = rows[int(len(rows) * SETTLED) :]
    seconds, flat = [row["seconds"] for row in settled], True
    for name in COLUMNS[1:-1]:
        values = [row[name] for row in settled]
        hourly = growth(seconds, values)
        flat &= hourly < 0.01
        print(f"{name}: {min(values):,.0f} to {max(values):,.0f}, median {np.median(values):,.0f}, growth {hourly:+.2%} in an hour")
    print(f"{rows[-1]['seconds'] / 3600:.2f} hours, {rows[-1]['steps']:,.0f} steps of each member")
    return flat
