"""Sample Factory: APPO on its own Atari example - wrappers, `convnet_atari` (the Nature CNN with its layer of 512) and command line.

Its normalisation of inputs and returns is off, as nobody else has any. One policy step is one training batch, which is what it reports.
Run as a script, by the Python of its own environment.
"""

import os
import sys
import time

NAME = "Sample Factory"
VERSION = "2.1.1"
REQUIREMENTS = (
    *(f"sample-factory=={VERSION}", "torch==2.13.0", "gymnasium==0.29.1"),
    *("ale-py==0.10.2", "opencv-python-headless==4.11.0.86"),  # the last that gymnasium 0.29 finds, with its games in the wheel
)


def train(options: list[str]) -> None:
    """Until killed; `options` are those of its command line."""
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
    always += ["--train_for_env_steps=1000000000", "--heartbeat_reporting_interval=1000000"]  # being paused is no sign of death
    settings, runner = make_runner(parse_atari_args([*always, *options]))
    runner.register_observer(Reports())
    runner.init()
    runner.run()


def breakout(*settings: object, **named: object) -> object:
    """The game, in whichever process."""
    import ale_py  # noqa: F401  # pyright: ignore[reportMissingImports]
    from sf_examples.atari.atari_utils import make_atari_env  # pyright: ignore[reportMissingImports]

    return make_atari_env(*settings, **named)


if __name__ == "__main__":
    train(sys.argv[1:])
