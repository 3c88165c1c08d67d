"""How long a run waits for a checkpoint of a large replay, and how long until it is on the disk."""

import shutil
import time
from pathlib import Path

import torch

from plasticity_rl.records.background import Saving
from plasticity_rl.records.events import Snapshot

FRAME = (84, 84)
BETWEEN = 62_500  # frames of a member that come in between two checkpoints: 250,000 emulator frames
ROUNDS = 3


def measure(frames: int, place: Path) -> None:
    """Print a line for each of ROUNDS checkpoints of a replay of so many frames of random pixels; between two, BETWEEN frames are new."""
    ring = torch.empty((frames, *FRAME), dtype=torch.uint8)
    for at in range(0, frames, BETWEEN):
        ring[at : at + BETWEEN] = torch.randint(0, 256, ring[at : at + BETWEEN].shape, dtype=torch.uint8)
    folder = place / "checkpoints-of-bench"
    folder.mkdir(parents=True)
    try:
        for number in range(ROUNDS):
            saving, written, cursor = Saving(folder, number, Snapshot({"frames": ring}, {"number": number})), 0, number * BETWEEN
            while not saving.done():  # the run goes on, and writes a frame every millisecond
                ring[(cursor + written) % frames] = number
                written += 1
                time.sleep(0.001)
            size, waited, seconds = saving.bytes / 1e9, saving.waited, saving.seconds
            print(f"{size:.1f} GB: the run waited {waited:.2f} s; on the disk after {seconds:.1f} s, {written:,} frames later", flush=True)
            for at in range(cursor, cursor + min(BETWEEN, frames)):
                ring[at % frames] = torch.randint(0, 256, FRAME, dtype=torch.uint8)
    finally:
        shutil.rmtree(folder)
