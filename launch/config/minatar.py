"""Settings for MinAtar, and protocols of papers on it: data only."""

from typing import Any

from launch.config.papers import Preset

NETWORK = "minatar-cnn:width=128"
# Young & Tian 2019 by their code, with Adam in the place of centred RMSProp with momentum, and eight games at once, for speed. Epsilon
# falls over 100,000 steps of the default visit. Rewards are as they are: nearly all are 1. The intervals are this project's choice.
DQN: dict[str, Any] = dict(
    agent="dqn:num_envs=8,batch_size=32,train_every=1,replay=100000,min_replay=5000,target_every=1000,exploration_fraction=0.1,"
    "final_epsilon=0.1,rewards=raw",
    network=NETWORK,
    optimizer="adam",
    schedule="constant:rate=2.5e-4",
    diagnose_every=10_000,
    checkpoint_every=250_000,
)

PRESETS: dict[str, Preset] = {
    "c-chain-minatar": Preset(
        "minatar",
        {"games": "SpaceInvaders+Asterix+Seaquest", "frames": "2_000_000", "told": "false"},
        """Continual MinAtar of C-CHAIN (Tang et al. 2025, arXiv 2506.00592): three games in sequence, of which a double DQN is not told.

code: the games, with ten channels; 2M steps each, batch 32, an update every step, target network every 1,000, Adam 3e-4, discount 0.99,
10,000 random steps before the first update. Replay and epsilon as the code runs: a replay of 100,000 that is kept from game to game, and
epsilon from 1 to 0.1 over 100,000 steps. Its scripts state 500,000 for both, but do not hand them to the agent.
secondary: mean scores 22.0 (plain) and 29.5 (C-CHAIN) over twelve seeds; beside it, `--chain churn`.
differs: the random steps are not repeated in the later games, the loss is Huber's and not the square, eight games are played at once, and
episodes are cut after 10,000 steps (theirs in Seaquest after 1,000 without reward).
ours: rows and checkpoints.""",
        dict(
            agent="dqn:num_envs=8,batch_size=32,train_every=1,replay=100000,min_replay=10000,target_every=1000,exploration_fraction=0.0166667,"
            "final_epsilon=0.1,double=true,rewards=raw",
            schedule="constant:rate=3e-4",
        ),
    ),
    "nap-minatar": Preset(
        "minatar",
        {
            "games": "Breakout+Asterix+SpaceInvaders+Freeway",
            "frames": "15_204_352",
            "cycles": "20",
            "channels": "10",
            "permute": "true",
            "shuffle": "true",
        },
        """MinAtar in twenty cycles with shuffled games and permuted channels, learned by PPO: the protocol of AdamO's experiments (arXiv
2606.09762), after NaP (Lyle et al. 2024, arXiv 2407.01800), whose own games are Atari's.

code: four games, ten channels that change places at every visit, 15M steps each in whole rollouts of 2,048 x 128, four epochs of 128
minibatches, Adam 2.5e-4, clip 0.2, entropy 0.01, gradients to a norm of 0.5, two networks of four layers of 64 with orthogonal weights.
differs: the games' order is the same in all runs, and there are no results to stand beside: theirs are figures. Gymnax's games, with their
limit of 1,000 steps, are not used.
ours: rows and checkpoints. It is meant for a GPU; `nap-minatar:frames=262144,cycles=4` is a small one.""",
        dict(
            agent="ppo:num_envs=2048,rollout_length=128,epochs=4,minibatches=128,clip_range=0.2,entropy_coef=0.01,separate=true,rewards=raw",
            network="mlp:depth=4,width=64,initial=orthogonal",
            optimizer="adam:epsilon=1e-5,clip_norm=0.5",
            diagnose_every=2048,
            checkpoint_every=15_204_352,
        ),
    ),
}
