"""Programs to compare for each agent, with every setting that affects speed.

SAC swings up Gymnasium's pendulum, with two layers of 256. All others play Breakout with a Nature CNN in float32 (this project also in
bfloat16, if the machine is fast at it), from a steady state: after compilation and filling of the replay, at an epsilon of 0.1 throughout.
Each program uses its own emulator, preprocessing, learning rate schedule and minor settings.
"""

import json
from types import ModuleType
from typing import Any, NamedTuple

from launch.bench.peers import cleanrl, ours, rllib, sample_factory, stable_baselines3
from plasticity_rl.processor import fast_bfloat16

WARM = {
    "sac": 1200,
    "ppo": 2048,
    "pqn": 2048,
    "dqn": 1400,
    "rainbow": 1400,
}  # steps of a member: two rollouts, or 1,000 for the replay and 100 updates
ENVS = dict.fromkeys(WARM, 8) | {"sac": 1}  # environments of a member
FAST = "bfloat16" if fast_bfloat16("auto")[0] else "float32"


class Entry(NamedTuple):
    """A program to measure, with its settings."""

    agent: str
    who: ModuleType
    """module of `launch.bench.peers`"""
    arguments: tuple[str, ...]
    """command line arguments of the module, run as a script"""
    detail: str = ""
    """text printed after the name"""
    num_envs: int = 0
    """number of environments of all members; only set for this project"""
    ceiling: bool = False
    """True for the emulator without a learner"""

    @property
    def name(self) -> str:
        return ours.EMULATOR if self.ceiling else self.who.NAME

    @property
    def warm(self) -> int:
        """Number of steps before the first window."""
        return WARM[self.agent] * max(self.num_envs // ENVS[self.agent], 1)


GAME = "atari:games=Breakout,frames=4_000_000_000,sticky=0,full_actions=false,life_loss=true"  # the other programs' rules
PLAYED = {"benchmark": GAME, "diagnose_every": 10**9, "checkpoint_every": 10**9}  # never, as the other programs do neither


def _ours(agent: str, words: str, every: int, members: int = 1, precision: str = "float32", norm: str = "none") -> Entry:
    """Make an entry of this project: 8 environments per member, a report after `every` steps of a member."""
    network = f"nature:precision={precision},norm={norm}"
    said = PLAYED | {"agent": f"{agent}:num_envs=8,{words}", "network": network, "members": members}
    detail = f"{members} member{'s' * (members > 1)}, {precision}"
    return Entry(agent, ours, ("train", str(every), json.dumps(said)), detail, 8 * members)


SWUNG = {"benchmark": "envpool:ids=Pendulum-v1,frames=1_000_000_000", "diagnose_every": 10**9, "checkpoint_every": 10**9}


def _ours_sac(members: int, precision: str) -> Entry:
    """Make an entry of SAC with one environment per member."""
    said = SWUNG | {"agent": SAC, "network": f"mlp:depth=2,width=256,precision={precision}", "members": members}
    detail = f"{members} member{'s' * (members > 1)}, {precision}"
    return Entry("sac", ours, ("train", "200", json.dumps(said)), detail, members)


def _both(agent: str, words: str, every: int, norm: str = "none") -> list[Entry]:
    """Return this project's entry in each precision that this machine is fast at."""
    return [_ours(agent, words, every, precision=precision, norm=norm) for precision in dict.fromkeys((FAST, "float32"))]


def _ceiling(agent: str, num_envs: int = 8, played: dict[str, Any] = PLAYED) -> Entry:
    arguments = ("emulate", str(num_envs), json.dumps(played))
    return Entry(agent, ours, arguments, f"{num_envs} environments", num_envs=num_envs, ceiling=True)


def _cleanrl(agent: str, script: str, every: int, options: str) -> Entry:
    return Entry(agent, cleanrl, (script, str(every), *options.split()))


def _stable_baselines3(agent: str, num_envs: int, **settings: Any) -> Entry:
    return Entry(agent, stable_baselines3, (agent.upper(), str(num_envs), json.dumps(settings)))


def _rllib(agent: str, num_envs: int, **settings: Any) -> Entry:
    return Entry(agent, rllib, (agent.upper(), str(num_envs), json.dumps(settings)))


def _sample_factory(agent: str, detail: str, options: str) -> Entry:
    return Entry(agent, sample_factory, tuple(options.split()), detail)


# Rollouts of 128 steps in 8 environments; 4 epochs of 4 minibatches of 256.
ROLLOUTS = "rollout_length=128,epochs=4,minibatches=4"
CLEANRL_ROLLOUTS = "--env-id Breakout-v5 --num-envs 8 --num-steps 128 --update-epochs 4 --num-minibatches 4"
APPO = "--rollout=128 --num_epochs=4 --batch_size=256 --num_batches_per_epoch=4 --normalize_input=False --normalize_returns=False"

# An update with a batch of 256 every step, after 1,000 steps.
SAC = "sac:min_replay=1000,replay=100000"
CLEANRL_SAC = "--env-id Pendulum-v1 --batch-size 256 --learning-starts 1000 --buffer-size 100000"

# A batch of 32 every 4 steps, after 1,000 steps; a target network update every 8,000 steps; a replay of 10,000.
REPLAY = "batch_size=32,train_every=4,min_replay=1000,target_every=2000,replay=10000"
GREEDY = "exploration_fraction=0,final_epsilon=0.1"
CLEANRL_REPLAY = (
    "--env-id BreakoutNoFrameskip-v4 --batch-size 32 --train-frequency 4 --learning-starts 1000 --target-network-frequency 8000 "
    "--buffer-size 10000"
)

COMPETITORS = (
    *(_ours_sac(members, precision) for members in (1, 5) for precision in dict.fromkeys((FAST, "float32"))),
    _stable_baselines3("sac", 1, batch_size=256, learning_starts=1000, buffer_size=100_000),
    _cleanrl("sac", "sac_continuous_action.py", 100, CLEANRL_SAC),
    _ceiling("sac", 1, SWUNG),
    _ceiling("sac", 5, SWUNG),
    *_both("ppo", ROLLOUTS, every=1024),
    _stable_baselines3("ppo", 8, n_steps=128, n_epochs=4, batch_size=256, clip_range=0.1, ent_coef=0.01, learning_rate=2.5e-4),
    _cleanrl("ppo", "ppo_atari_envpool.py", 1024, CLEANRL_ROLLOUTS),
    _rllib(
        "ppo",
        8,
        **dict(train_batch_size_per_learner=1024, num_epochs=4, minibatch_size=256, lr=2.5e-4),
        **dict(clip_param=0.1, entropy_coeff=0.01, vf_loss_coeff=0.5, use_kl_loss=False, grad_clip=0.5),
    ),
    _sample_factory("ppo", "synchronous", f"{APPO} --async_rl=False --num_workers=8 --num_envs_per_worker=1"),
    _sample_factory("ppo", "asynchronous", f"{APPO} --async_rl=True --num_workers=2 --num_envs_per_worker=4 --worker_num_splits=2"),
    _ceiling("ppo"),
    *_both("pqn", ROLLOUTS, every=1024, norm="layer"),
    _cleanrl("pqn", "pqn_atari_envpool.py", 1024, CLEANRL_ROLLOUTS),
    _ceiling("pqn"),
    *_both("dqn", f"{REPLAY},{GREEDY}", every=200),
    _ours("dqn", f"{REPLAY},{GREEDY}", every=200, members=5, precision=FAST),
    _stable_baselines3(
        "dqn",
        1,
        **dict(batch_size=32, train_freq=4, gradient_steps=1, learning_starts=1000, target_update_interval=8000, buffer_size=10_000),
        **dict(exploration_initial_eps=0.1, exploration_final_eps=0.1),
    ),
    _cleanrl("dqn", "dqn_atari.py", 100, f"{CLEANRL_REPLAY} --start-e 0.1 --end-e 0.1"),
    _rllib(
        "dqn",
        1,
        **dict(train_batch_size=32, num_steps_sampled_before_learning_starts=1000, target_network_update_freq=8000),
        **dict(replay_buffer_config=dict(type="EpisodeReplayBuffer", capacity=10_000), epsilon=0.1, double_q=False, dueling=False),
    ),
    _ceiling("dqn"),
    _ceiling("dqn", 40),
    *_both("rainbow", REPLAY, every=200),
    _cleanrl("rainbow", "rainbow_atari.py", 100, f"{CLEANRL_REPLAY} --n-step 3 --n-atoms 51"),
    _ceiling("rainbow"),
)
