"""RLlib: PPO and DQN on its new API stack, with its Atari wrapper at 84 x 84 and the Nature CNN in its default module.

PPO stacks frames with RLlib's connectors, 5% faster than the wrapper according to its examples; DQN's replay needs the wrapper. While Ray
runs, other users and the network can reach it: a token keeps them out. Run this file as a script, with the Python of RLlib's virtual
environment.
"""

import importlib
import json
import os
import secrets
import sys
import time

NAME = "RLlib"
VERSION = "2.60.0"
REQUIREMENTS = (f"ray[rllib]=={VERSION}", "torch==2.13.0", "gymnasium==1.2.2", "ale-py==0.12.1", "opencv-python-headless==5.0.0.93")
# The last convolution covers its whole input: it is the dense layer of 512, which the default module has no other place for.
NATURE = {
    "conv_filters": [[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"], [512, 7, 1, "valid"]],
    "head_fcnet_hiddens": [],
    "vf_share_layers": True,
}


def train(algorithm: str, num_envs: int, settings: dict) -> None:
    """Train until killed; `settings` are arguments of `training()`."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import gymnasium  # pyright: ignore[reportMissingImports]
    import ray  # pyright: ignore[reportMissingImports]
    import torch
    from ray.rllib.connectors.env_to_module.frame_stacking import FrameStackingEnvToModule  # pyright: ignore[reportMissingImports]
    from ray.rllib.connectors.learner.frame_stacking import FrameStackingLearner  # pyright: ignore[reportMissingImports]
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig  # pyright: ignore[reportMissingImports]
    from ray.rllib.env.wrappers.atari_wrappers import wrap_atari_for_new_api_stack  # pyright: ignore[reportMissingImports]
    from ray.tune.registry import register_env  # pyright: ignore[reportMissingImports]

    ray.init(include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1", _temp_dir=os.getcwd())
    connected = algorithm == "PPO"

    def breakout(rules: dict) -> object:
        return wrap_atari_for_new_api_stack(gymnasium.make("ale_py:ALE/Breakout-v5", **rules), dim=84, framestack=None if connected else 4)

    register_env("breakout", breakout)
    config = getattr(importlib.import_module(f"ray.rllib.algorithms.{algorithm.lower()}"), f"{algorithm}Config")()
    rules = {"frameskip": 1, "full_action_space": False, "repeat_action_probability": 0.0}
    config.environment("breakout", env_config=rules, clip_rewards=True)
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs)
    config.learners(num_gpus_per_learner=int(torch.cuda.is_available()))
    config.rl_module(model_config=DefaultModelConfig(**NATURE))
    if connected:
        config.env_runners(env_to_module_connector=lambda *_: FrameStackingEnvToModule(num_frames=4))
        config.training(learner_connector=lambda *_: FrameStackingLearner(num_frames=4))
    else:
        config.env_runners(rollout_fragment_length=4)  # RLlib's DQN alternates between 4 steps and one update
        config.reporting(min_sample_timesteps_per_iteration=100, min_time_s_per_iteration=0)
    config.training(**settings)
    learner = config.build_algo()
    while True:
        result = learner.train()
        print(f"steps {int(result['num_env_steps_sampled_lifetime'])} at {time.monotonic()}", flush=True)


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
