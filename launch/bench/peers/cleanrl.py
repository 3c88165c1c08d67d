"""CleanRL: unchanged scripts of the user's checkout; a thread reports their progress.

As in the scripts, PPO and PQN run on EnvPool, DQN and Rainbow on gymnasium with one environment. Run this file as a script, with the
Python of CleanRL's virtual environment.
"""

import runpy
import sys
import threading
import time
from pathlib import Path

NAME = "CleanRL"
REQUIREMENTS = (
    *("torch==2.13.0", "gym==0.23.1", "envpool==0.8.4", "gymnasium==0.29.1", "ale-py==0.10.2", "numpy==1.26.4"),
    *("opencv-python-headless==4.11.0.86", "tensorboard==2.21.0", "tyro==1.0.17"),
    "stable-baselines3==2.3.2",  # older checkouts import its Atari wrappers and replay
)


def train(checkout: Path, script: str, every: int, options: list[str]) -> None:
    """Train until killed; `every` is the minimum number of steps between two reports (a rollout, if the script has rollouts)."""
    import ale_py  # noqa: F401  # pyright: ignore[reportUnusedImport]

    sys.path.insert(0, str(checkout))
    sys.argv = [str(checkout / "cleanrl" / script), "--total-timesteps", "1000000000", *options]
    threading.Thread(target=watch, args=(every,), daemon=True).start()
    runpy.run_path(sys.argv[0], run_name="__main__")


def watch(every: int) -> None:
    """Print the script's step count whenever it has grown by `every`."""
    reported = 0
    while True:
        time.sleep(0.02)
        steps = getattr(sys.modules["__main__"], "global_step", 0)  # runpy runs the script as __main__
        if steps >= reported + every:
            reported = steps
            print(f"steps {steps} at {time.monotonic()}", flush=True)


if __name__ == "__main__":
    train(Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
