"""The command that checks anyone's checkpoint, without retraining."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from launch.commands.options import Plugins, allow
from plasticity_rl.checks import UsageError


def check(
    paths: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH [PATH ...]", help_behavior_hint="(required)")],
    /,
    *,
    inputs: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz", help_behavior_hint="(or --env)")] = None,
    env: Annotated[str | None, tyro.conf.arg(metavar="ID", help_behavior_hint="(or --inputs)")] = None,
    play: Literal["random", "own"] = "random",
    samples: int = 512,
    network: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: all)")] = None,
    module: Annotated[str | None, tyro.conf.arg(metavar="MODULE.FUNCTION", help_behavior_hint="(optional)")] = None,
    logits: Annotated[tuple[int, ...], tyro.conf.arg(metavar="[INT ...]", help_behavior_hint="(default: the file's)")] = (),
    twins: int = 5,
    pairs: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: 10; 8 if costly)")] = None,
    updates: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: 500; fewer if costly)")] = None,
    learning_rate: float = 1e-3,
    seed: int = 0,
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(optional)")] = None,
    json: bool = False,
    fail_under: Annotated[float | None, tyro.conf.arg(metavar="RATIO", help_behavior_hint="(optional)")] = None,
    plugin: Plugins = (),
) -> int:
    """Did my agent lose plasticity? Check a checkpoint of anyone's, without retraining, beside newly initialised twins: docs/check.md.

    By layer: dormant, dead, saturated and idle units, ranks, norms, gradients; of the whole: tangent kernel, entropy. Copies of the network
    and twins then learn random functions: their ratio is the verdict. Five seconds for a small MLP, two minutes for a Nature CNN.

    Args:
        paths: a .zip of Stable-Baselines3; .pt, .pth or .safetensors with --module; a run's folder; or a folder of such files
        inputs: what the network sees: array x (examples, ...), normalised as in training; array y, if any, are targets of your own
        env: environment of Gymnasium or EnvPool whose observations are collected
        play: who chooses the actions there; `random` shows all checkpoints the same observations
        samples: observations
        network: one network of the file: policy, value, q, q0, q1; or a part of the module, such as actor
        module: function that makes a new, untrained network for files of weights, such as my_nets.make
        logits: for a policy in a file of weights: the numbers of actions whose logits its outputs are; entropy is then judged, too
        twins: newly initialised networks that the numbers by layer are compared with
        pairs: copies, and as many twins, that learn random functions
        updates: updates of each, of Adam in batches of 32
        learning_rate: step size of these updates
        seed: seed of twins, functions and episodes
        html: also write a page with figures
        json: print all numbers as JSON instead of the table
        fail_under: exit with code 1 if a trainability ratio is below this; otherwise the code is 0 whatever the verdict
        plugin: a module with parts of your own that a run uses
    """
    if not paths:
        raise UsageError("check needs a checkpoint")
    for path in paths:
        if not path.exists():
            raise UsageError(f"no such file or folder: {path}")
    from launch.check.command import Settings, examine

    allow(plugin)
    settings = Settings(inputs, env, play, samples, network, module, logits, twins, pairs, updates, learning_rate, seed)
    return examine(paths, settings, html, json, fail_under)
