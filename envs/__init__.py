"""Benchmarks: sequences of tasks to learn. The table gives each its name on disk; a name is never given to another."""

BENCHMARKS = {
    "random-labels": "envs.streams.RandomLabels",
    "permuted-labels": "envs.streams.PermutedLabels",
    "noisy-labels": "envs.streams.NoisyLabels",
    "permuted-inputs": "envs.inputs.PermutedInputs",
    "drifting-inputs": "envs.inputs.DriftingInputs",
    "growing-data": "envs.growing.GrowingData",
    "class-incremental": "envs.growing.ClassIncremental",
    "recurring": "envs.growing.Recurring",
    "large-mean": "envs.regression.LargeMean",
    "teachers": "envs.regression.Teachers",
    "slow-bits": "envs.regression.SlowBits",
    "composite": "envs.composite.Composite",
    "bandit": "envs.bandit.Bandit",
    "cartpole": "envs.control.CartPole",
    "acrobot": "envs.control.Acrobot",
    "lunarlander": "envs.control.LunarLander",
    "catch": "envs.control.Catch",
    "procgen": "envs.procgen.Procgen",
    "atari": "envs.atari.Atari",
}
