"""Words for the parts of experiments, presets, and the defaults of each benchmark and agent: data only."""

from typing import Any

from envs.reinforcement import atari
from envs.reinforcement.backends.spaces import Box
from launch.config import memory, minatar, papers
from plasticity_rl import registry

PAPERS = papers.PRESETS | memory.PRESETS | minatar.PRESETS

# Published game sequences as settings of `atari`, with their budgets if known; ale-10 and ale-ram are this project's.
PRESETS: dict[str, dict[str, str]] = {
    "abbas-5": {"games": "+".join(atari.ABBAS_5), "frames": "20_000_000"},
    "cora-6": {"games": "+".join(atari.CORA_6), "frames": "50_000_000", "cycles": "2"},
    "carmack-8": {"games": "+".join(atari.CARMACK_8), "frames": "400_000", "cycles": "3"},
    "ale-10": {"games": "+".join(atari.ALE_10), "frames": "20_000_000", "cycles": "2"},
    "atari-26": {"games": "+".join(atari.ATARI_26)},
    "atari-57": {"games": "+".join(atari.ATARI_57)},
    "ale-ram": {"games": "+".join(atari.RAM_4), "frames": "204_800", "cycles": "3", "observe": "ram"},
}
# Sequences of small environments, as settings of another word; this project's choice. Random scores are means of the episodes of 64
# environments in 10,000 steps (minigrid-4: standard errors below 0.005) and 3,000 (jumanji-3: 0.004, 0.06 and 15). Those of DeepMind
# Control are of the first episodes of 200 environments (walker: 0.8, 0.3 and 0.1) and 300 (quadruped: 11 each), with the seeds 0, 1, 2, ...
# and actions of `np.random.default_rng(0).uniform(-1, 1, (environments, numbers))`.
SEQUENCES: dict[str, tuple[str, dict[str, str]]] = {
    "minigrid-4": (
        "envpool",
        {
            "ids": "MiniGrid-Empty-Random-6x6-v0+MiniGrid-DoorKey-5x5-v0+MiniGrid-LavaGapS5-v0+MiniGrid-Dynamic-Obstacles-5x5-v0",
            "observe": "image+direction",
            "pad": "true",
            "frames": "32_768",
            "cycles": "2",
            "random_scores": "0.261+0.032+0.042+-0.987",
        },
    ),
    "jumanji-3": (
        "envpool",
        {
            "ids": "Jumanji/Snake-v1+Jumanji/PacMan-v1+Jumanji/Game2048-v1",
            "observe": "grid+player_locations+ghost_locations+pellet_locations+board",
            "pad": "true",
            "frames": "32_768",
            "cycles": "2",
            "random_scores": "0.106+3.76+1078",
        },
    ),
    # Random: 3,136 episodes of 64 environments in 10,000 steps of uniformly random actions, standard error 5.
    "continual-pendulum": (
        "envpool",
        {"ids": "Pendulum-v1", "shifts": "offset", "tasks": "6", "frames": "8_000", "random_scores": "-1226"},
    ),
    "walker": (
        "envpool",
        {
            "ids": "WalkerStand-v1+WalkerWalk-v1+WalkerRun-v1",
            "frames": "500_000",
            "cycles": "2",
            "random_scores": "129+32.5+22.9",
        },
    ),
    # These parts are what DeepMind Control observes in the two tasks; EnvPool adds those of others.
    "quadruped": (
        "envpool",
        {
            "ids": "QuadrupedWalk-v1+QuadrupedRun-v1",
            "observe": "egocentric_state+torso_velocity+torso_upright+imu+force_torque",
            "frames": "500_000",
            "cycles": "2",
            "random_scores": "110+110",
        },
    ),
    # The stream never ends for the learner: visits are bookkeeping, of which it is not told.
    "nonstationary-catch": ("catch", {"told": "false", "tasks": "20", "frames": "8192"}),
}

# Every word for a part of an experiment, with the path of its class: the names on disk, and presets.
PARTS = {kind: dict(registry.words(kind)) for kind in ("benchmark", "agent", "network", "optimizer", "schedule")}
PARTS["benchmark"] |= dict.fromkeys(PRESETS, PARTS["benchmark"]["atari"])
PARTS["benchmark"] |= {word: PARTS["benchmark"][of] for word, (of, _) in SEQUENCES.items()}
PARTS["benchmark"] |= {word: PARTS["benchmark"][paper.of] for word, paper in PAPERS.items()}
PARTS["agent"] |= dict.fromkeys(("c51", "rainbow", "rainbow-sequential"), PARTS["agent"]["dqn"])

# Rewards are scaled: clipped ones add up to hundreds, and a DQN's values on CartPole then become unstable.
CONTROL: dict[str, Any] = dict(
    agent="dqn:num_envs=8,batch_size=32,replay=50000,min_replay=1000,target_every=250,exploration_fraction=0.2,final_epsilon=0.05,double=true,"
    "rewards=scale",
    network="mlp:depth=2,width=128",
    optimizer="adam",
    schedule="constant:rate=5e-4",
    diagnose_every=1000,
    checkpoint_every=50_000,
)
# The protocol of TRAC (Muppidi et al. 2024) and C-CHAIN (Tang et al. 2025), by their code: 200 iterations of 800 steps a task, 5 epochs
# of minibatches of 32. Theirs play one environment that starts anew in every iteration; eight at once are this project's choice, for
# speed. The intervals of diagnostics, and probes of 500 updates at the end of each visit, are ours.
CONTINUAL: dict[str, Any] = dict(
    agent="ppo:num_envs=8,rollout_length=100,epochs=5,minibatches=25,clip_range=0.2,rewards=raw,reward_divisor=20,separate=true,"
    "advantage_norm=rollout,value_targets=returns,value_clip=false,value_coef=1",
    network="mlp:depth=3,width=256,activation=leaky-relu,slope=0.1",
    optimizer="adam",
    schedule="constant:rate=1e-3",
    diagnose_every=625,
    probe_every=25_000,
    probe_updates=500,
    checkpoint_every=160_000,
)
RAM_NETWORK = "mlp:depth=2,width=256"
# PPO as on other games, but with a larger rate; a probe at the end of each visit. Pilots stand in docs/sequential.md.
ALE_RAM: dict[str, Any] = dict(
    agent="ppo",
    network=RAM_NETWORK,
    optimizer="adam:epsilon=1e-5,clip_norm=0.5",
    schedule="linear:rate=1e-3,clock=visit",
    diagnose_every=400,
    probe_every=800,
    probe_updates=500,
    checkpoint_every=51_200,
)
# DQN Zoo's Rainbow; `rainbow-sequential` differs only in its schedule.
RAINBOW = {"n_step": "3", "double": "true", "dueling": "true", "value": "c51", "priority_exponent": "0.5", "noise": "0.1"}
RAINBOW |= {"exploration_fraction": "0", "final_epsilon": "0"}
# Torsos for images use a precision that this machine is fast at: see `experiment`.
TORSOS: dict[str, dict[str, str]] = {word: {"precision": "auto"} for word in ("nature", "impala-cnn", "resnet18")}
AGENT_PRESETS: dict[str, dict[str, str]] = {
    "c51": {"value": "c51", "final_epsilon": "0.01"},
    "rainbow": RAINBOW,
    "rainbow-sequential": RAINBOW,
}
# An agent's defaults on games. Schedules restart at every visit, so that no game starts with a decayed rate.
GAMES: dict[str, dict[str, str]] = {
    "c51": dict(optimizer="adam:epsilon=3.125e-4", schedule="constant:rate=2.5e-4"),  # Bellemare et al. 2017
    "rainbow": dict(optimizer="adam:epsilon=1.5625e-4,clip_norm=10", schedule="constant:rate=6.25e-5"),  # DQN Zoo
    "rainbow-sequential": dict(optimizer="adam:epsilon=1.5625e-4,clip_norm=10", schedule="warmup-cosine"),  # Lyle et al. 2024
    "pqn": dict(network="nature:norm=layer", optimizer="radam:clip_norm=10", schedule="linear:rate=2.5e-4,clock=visit"),  # CleanRL
    "ppo": dict(optimizer="adam:epsilon=1e-5,clip_norm=0.5", schedule="linear:rate=2.5e-4,clock=visit"),  # Huang et al. 2022
    # Espeholt et al. 2018, but with the benchmark's torso instead of their residual one.
    "impala": dict(optimizer="rmsprop:epsilon=0.01,corrected=false,clip_norm=40", schedule="linear:rate=6e-4,clock=visit"),
}
# An agent's defaults on control problems, chosen by this project.
CONTROLLERS: dict[str, dict[str, str]] = {
    **{word: dict(agent=word + CONTROL["agent"].removeprefix("dqn")) for word in AGENT_PRESETS},
    "pqn": dict(
        agent="pqn:num_envs=8,rollout_length=32,exploration_fraction=0.3,rewards=scale",
        network="mlp:depth=2,width=128,norm=layer",
        optimizer="radam:clip_norm=10",
        schedule="linear:rate=1e-3,clock=visit",
    ),
    "ppo": dict(
        agent="ppo:rollout_length=64,clip_range=0.2,rewards=scale",
        optimizer="adam:epsilon=1e-5,clip_norm=0.5",
        schedule="linear:rate=2e-3,clock=visit",
    ),
    "impala": dict(
        agent="impala:num_envs=8,rollout_length=5,minibatches=2,entropy_coef=0.05,rewards=scale",
        optimizer="adam:clip_norm=40",
        schedule="linear:rate=2e-3,clock=visit",
    ),
}
# Learners of continuous actions. The network and rates of SAC are Haarnoja et al.'s (arXiv 1812.05905) and those of PPO CleanRL's for
# MuJoCo, with its rollouts of 2,048 steps shared by eight environments; diagnostics and checkpoints are ours.
CONTINUOUS: dict[str, Any] = dict(
    agent="sac",
    network="mlp:depth=2,width=256",
    optimizer="adam",
    schedule="constant:rate=3e-4",
    diagnose_every=5_000,
    checkpoint_every=50_000,
)
CONTINUOUS_AGENTS: dict[str, dict[str, str]] = {
    "td3": dict(agent="td3:min_replay=5000"),
    "ppo": dict(
        agent="ppo:num_envs=8,rollout_length=256,epochs=10,minibatches=32,clip_range=0.2,entropy_coef=0,rewards=scale,separate=true,"
        "policy=gaussian",
        network="mlp:depth=2,width=64,activation=tanh",
        optimizer="adam:epsilon=1e-5,clip_norm=0.5",
        schedule="linear:rate=3e-4,clock=visit",
    ),
}
# Small networks and batches, for minutes on two processors; a probe at the end of each visit. All are this project's choice.
PENDULUM: dict[str, Any] = CONTINUOUS | dict(
    agent="sac:batch_size=64,min_replay=500,replay=8000,random_fraction=0.0625",
    network="mlp:depth=2,width=64",
    schedule="constant:rate=1e-3",
    diagnose_every=2_500,
    probe_every=7_500,
    probe_updates=500,
    checkpoint_every=8_000,
)
# Rewards of these sequences differ in scale from task to task.
SEQUENCE = CONTROL | CONTROLLERS["ppo"] | dict(agent=CONTROLLERS["ppo"]["agent"].replace("rewards=scale", "rewards=scale-per-visit"))
CLASSES: dict[str, Any] = dict(
    agent="supervised", network="mlp", optimizer="adam", schedule="constant:rate=1e-3", diagnose_every=2000, checkpoint_every=5_000
)
NUMBERS: dict[str, Any] = CLASSES | dict(agent="supervised:objective=mse")
STREAMS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("random-labels", "permuted-labels", "noisy-labels", "permuted-inputs", "drifting-inputs"), CLASSES),
    **dict.fromkeys(("growing-data", "class-incremental", "recurring"), CLASSES),
    **dict.fromkeys(("large-mean", "teachers", "composite"), NUMBERS),
    # The learner and its batches of one example are Dohare et al.'s; the rate is this project's choice.
    "slow-bits": NUMBERS
    | dict(
        agent="supervised:objective=mse,batch_size=1,record_every=1000",
        network="mlp:depth=1,width=5",
        optimizer="sgd",
        schedule="constant:rate=0.01",
        diagnose_every=5_000,
        checkpoint_every=50_000,
    ),
}
# Each benchmark's defaults.
DEFAULTS: dict[str, dict[str, Any]] = {
    **STREAMS,
    # Rewards, 0 or 1, are not scaled, because the growth of the values is studied.
    **dict.fromkeys(
        ("bandit", "image-mdp"), CONTROL | dict(agent=CONTROL["agent"].replace("rewards=scale", "rewards=clip").replace("50000", "20000"))
    ),
    "cartpole": CONTROL,
    "acrobot": CONTROL,
    "lunarlander": CONTROL,
    "catch": CONTROL,
    **dict.fromkeys(("continual-cartpole", "continual-acrobot", "continual-lunarlander", "continual-mountaincar"), CONTINUAL),
    "gymnasium": CONTROL,
    "envpool": CONTROL,
    **dict.fromkeys(("mujoco", "slippery-ant", "walker", "quadruped", "cw10", "cw20"), CONTINUOUS),
    **dict.fromkeys(("minigrid-4", "jumanji-3"), SEQUENCE),
    "continual-pendulum": PENDULUM,
    "nonstationary-catch": CONTROL | {"checkpoint_every": 8_192},
    "minatar": minatar.DQN,
    # As in `atari`, but half the replay, which takes 6 GB per member at 12 kB per frame.
    "procgen": dict(
        agent="dqn:replay=500000",
        network="nature",
        optimizer="adam:epsilon=1.5e-4",
        schedule="constant:rate=6.25e-5",
        diagnose_every=1000,
        checkpoint_every=250_000,
    ),
    # Rate and epsilon are DQN Zoo's Rainbow's; a segment of 250,000 steps (1M frames) fits long episodes.
    "atari": dict(
        agent="dqn",
        network="nature",
        optimizer="adam:epsilon=1.5e-4",
        schedule="constant:rate=6.25e-5",
        diagnose_every=1000,
        checkpoint_every=250_000,
    ),
    "ale-ram": ALE_RAM,
}

DEFAULTS |= {word: DEFAULTS[paper.of] | paper.defaults for word, paper in PAPERS.items()}

TORSO = 36
"""smallest side of an image, in pixels, that `nature` reads"""


def defaults_of(benchmark: Any, word: str | None) -> dict[str, Any]:
    """Return a benchmark's defaults: those of its word, `atari` for presets of games; without one, those of streams, of small control
    problems, or of games if it shows images. Continuous actions have other learners than small control problems.
    """
    found = DEFAULTS["atari" if word in PRESETS.keys() - DEFAULTS.keys() else word] if word else _usual(benchmark)
    return CONTINUOUS if found is CONTROL and _continuous(benchmark) else found


def _usual(benchmark: Any) -> dict[str, Any]:
    if benchmark.supervision == "labels":
        return CLASSES if benchmark.predicts == "classes" else NUMBERS
    return DEFAULTS["procgen"] if _shows_images(benchmark.inputs) else CONTROL


def _continuous(benchmark: Any) -> bool:
    return benchmark.supervision == "rewards" and isinstance(benchmark.action_space, Box)


def _shows_images(inputs: tuple[int, ...]) -> bool:
    return len(inputs) == 3 and min(inputs[1:]) >= TORSO


def agent_defaults(defaults: dict[str, Any], agent: str, benchmark: Any) -> dict[str, Any]:
    """Return a benchmark's `defaults` as they are for an agent, with another network for `nature` where there are no images: on MinAtar's
    boards the one of its authors, else an MLP."""
    if _continuous(benchmark):
        return defaults if agent == defaults["agent"].partition(":")[0] else defaults | CONTINUOUS_AGENTS.get(agent, {})
    own = minatar.NETWORK if defaults["network"] == minatar.NETWORK else RAM_NETWORK
    if agent != defaults["agent"].partition(":")[0]:
        protocols = (CONTINUAL, CONTROL), (SEQUENCE, CONTROL), (memory.SHARED, CONTROL), (ALE_RAM, DEFAULTS["atari"])
        for protocol, general in protocols:
            if defaults["network"] == protocol["network"]:
                defaults = defaults | general
        defaults = defaults | (CONTROLLERS if defaults["network"] == CONTROL["network"] else GAMES).get(agent, {})
    network, _, settings = defaults["network"].partition(":")
    if network == "nature" and not _shows_images(benchmark.inputs):
        defaults = defaults | {"network": ",".join(filter(None, (own, settings)))}
    return defaults


def preset(kind: str, word: str) -> dict[str, str]:
    """Return the settings that a preset adds; none for a class's own word."""
    if kind == "benchmark":
        return PAPERS[word].settings if word in PAPERS else SEQUENCES[word][1] if word in SEQUENCES else PRESETS.get(word, {})
    return {"agent": AGENT_PRESETS, "network": TORSOS}.get(kind, {}).get(word, {})
