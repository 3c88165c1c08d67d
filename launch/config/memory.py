"""Settings in which reinforcement learning has to memorise, and high replay ratios: data only."""

from launch.config.papers import Preset

# An update every step, and networks small enough for ten members to be trained in a minute.
AGENT = (
    "dqn:num_envs=8,batch_size=32,train_every=1,replay=20000,min_replay=100,target_every=100,exploration_fraction=0.2,final_epsilon=0.05,"
    "double=true,rewards=clip"
)
SHARED: dict[str, str | int] = dict(
    network="mlp:depth=2,width=64", schedule="constant:rate=1e-3", diagnose_every=2000, checkpoint_every=2000
)

PRESETS: dict[str, Preset] = {
    "bandit-memory": Preset(
        "bandit",
        {"images": "100", "tasks": "12", "frames": "2000", "length": "20"},
        """Memorising again and again what a hundred digits pay, by a DQN with replay: the contextual bandit of Lyle et al. 2024 (arXiv
2402.18762) at a small size.

ours: all numbers; the right action of each image is drawn anew in each of twelve tasks, and a visit is 2,000 images. Returns are right
actions of 20, 2 by chance.""",
        SHARED | dict(agent=f"{AGENT},discount=0"),
    ),
    "image-mdp-memory": Preset(
        "image-mdp",
        {"labels": "random", "images": "100", "tasks": "12", "frames": "2000", "length": "20"},
        """Memorising again and again which of a hundred digits belong to which state, with values bootstrapped along a ring of ten states:
the block MDP of Lyle et al. 2023 (arXiv 2303.01486) at a small size.

secondary: the ring. ours: all numbers; images are dealt out to states anew in each of twelve tasks, and a visit is 2,000 steps. Returns are
right actions of 20, 2 by chance.""",
        SHARED | dict(agent=f"{AGENT},discount=0.9"),
    ),
    "primacy-bias-bandit": Preset(
        "bandit",
        {"images": "100", "tasks": "6", "frames": "600", "length": "20"},
        """Sixteen updates after every step, which a DQN bears better with resets: the replay ratios of Nikishin et al. 2022 (arXiv
2205.07802) and D'Oro et al. 2023 in a small contextual bandit.

ours: all numbers. The papers have one task, and what is lost there comes from its first experience; here it shows from task to task, and in
docs/memory.md what was tried within one. Beside it, `--chain reset:part=network,clock=update,every=4000` keeps the replay.""",
        SHARED | dict(agent=f"{AGENT},discount=0,updates_per_step=16", diagnose_every=8000, checkpoint_every=600),
    ),
}
