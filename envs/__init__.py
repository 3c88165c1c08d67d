"""Benchmarks: sequences of tasks to learn. BENCHMARKS maps their names on disk to classes; a name is never reused."""

BENCHMARKS = {
    "random-labels": "envs.supervised.labels.RandomLabels",
    "permuted-labels": "envs.supervised.labels.PermutedLabels",
    "noisy-labels": "envs.supervised.labels.NoisyLabels",
    "permuted-inputs": "envs.supervised.inputs.PermutedInputs",
    "drifting-inputs": "envs.supervised.inputs.DriftingInputs",
    "growing-data": "envs.supervised.growing.GrowingData",
    "class-incremental": "envs.supervised.growing.ClassIncremental",
    "recurring": "envs.supervised.growing.Recurring",
    "large-mean": "envs.supervised.regression.LargeMean",
    "teachers": "envs.supervised.regression.Teachers",
    "slow-bits": "envs.supervised.regression.SlowBits",
    "composite": "envs.supervised.composite.Composite",
    "bandit": "envs.reinforcement.bandit.Bandit",
    "cartpole": "envs.reinforcement.control.CartPole",
    "acrobot": "envs.reinforcement.control.Acrobot",
    "lunarlander": "envs.reinforcement.control.LunarLander",
    "catch": "envs.reinforcement.control.Catch",
    "procgen": "envs.reinforcement.procgen.Procgen",
    "atari": "envs.reinforcement.atari.Atari",
}
