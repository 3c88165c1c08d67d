"""CleanRL: scripts of a checkout that the user names, unchanged; a thread beside them reads how far they are.

PPO and PQN run on EnvPool, DQN and Rainbow on gymnasium with one environment, as the scripts have it. Run as a script, by the Python of
its own environment.
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
    "stable-baselines3==2.3.2",  # whose Atari wrappers and replay older checkouts import
)


def train(checkout: Path, script: str, every: int, options: list[str]) -> None:
    """Until killed; `every` is the least number of steps between two reports, a rollout where there are rollouts."""
    import ale_py  # noqa: F401  # pyright: ignore[reportUnusedImport]

    sys.path.insert(0, str(checkout))
    sys.argv = [str(checkout / "cleanrl" / script), "--total-timesteps", "1000000000", *options]
    threading.Thread(target=watch, args=(every,), daemon=True).start()
    runpy.run_path(sys.argv[0], run_name="__main__")


def watch(every: int) -> None:
    """Print the script's own count whenever it has come so much further."""
    reported = 0
    while True:
        time.sleep(0.02)
        steps = getattr(sys.modules["__main__"], "global_step", 0)  # runpy lets the script be __main__
        if steps >= reported + every:
            reported = steps
            print(f"steps {steps} at {time.monotonic()}", flush=True)


if __name__ == "__main__":
    train(Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
