"""Sample Factory: APPO on its Atari example, with its wrappers, `convnet_atari` (Nature CNN with a layer of 512) and command line.

Normalisation of inputs and returns is off, as in the other programs. It reports policy steps, of which each is one training batch.
Run this file as a script, with the Python of Sample Factory's virtual environment.
"""

import os
import sys
import time

NAME = "Sample Factory"
VERSION = "2.1.1"
REQUIREMENTS = (
    *(f"sample-factory=={VERSION}", "torch==2.13.0", "gymnasium==0.29.1"),
    *("ale-py==0.10.2", "opencv-python-headless==4.11.0.86"),  # the last version that gymnasium 0.29 finds, with ROMs in the wheel
)


def train(options: list[str]) -> None:
    """Train until killed; `options` are command line options of Sample Factory."""
    import torch
    from sample_factory.algo.runners.runner import AlgoObserver  # pyright: ignore[reportMissingImports]
    from sample_factory.envs.env_utils import register_env  # pyright: ignore[reportMissingImports]
    from sample_factory.train import make_runner  # pyright: ignore[reportMissingImports]
    from sf_examples.atari.train_atari import parse_atari_args  # pyright: ignore[reportMissingImports]

    class Reports(AlgoObserver):
        def on_training_step(self, runner: object, training_iteration_since_resume: int) -> None:
            steps = training_iteration_since_resume * settings.batch_size * settings.num_batches_per_epoch
            print(f"steps {steps} at {time.monotonic()}", flush=True)

    register_env("atari_breakout", breakout)
    device = "gpu" if torch.cuda.is_available() else "cpu"
    always = ["--env=atari_breakout", "--experiment=bench", f"--train_dir={os.getcwd()}", f"--device={device}"]
    always += ["--train_for_env_steps=1000000000", "--heartbeat_reporting_interval=1000000"]  # a pause must not count as a crash
    settings, runner = make_runner(parse_atari_args([*always, *options]))
    runner.register_observer(Reports())
    runner.init()
    runner.run()


def breakout(*settings: object, **named: object) -> object:
    """Make the game, in any process."""
    import ale_py  # noqa: F401  # pyright: ignore[reportMissingImports]
    from sf_examples.atari.atari_utils import make_atari_env  # pyright: ignore[reportMissingImports]

    return make_atari_env(*settings, **named)


if __name__ == "__main__":
    train(sys.argv[1:])
