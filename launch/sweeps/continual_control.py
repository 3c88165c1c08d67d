"""CartPole with offsets that nobody tells the learner of, as in TRAC and C-CHAIN: ten chains, and three policies that keep exploring.

The protocol is the default of the benchmark's word: see launch/config/defaults.py. The published numbers are of six seeds. A comparison
with ours stands in docs/continual-control.md. Strengths are each method's defaults, not tuned.
"""

CHAINS = (
    [],
    ["reset"],
    ["l2-init"],
    ["weight-clipping"],
    ["churn"],
    ["layer-norm"],
    ["nap"],
    ["redo"],
    ["layer-norm", "weight-decay"],
    ["continual-backprop"],
)
# Without intervention. Nats of 0.69 at most; odds of at most e^6; one action in twenty drawn evenly. All three are this project's choice.
EXPLORING = ("ppo:entropy_floor=0.2", "ppo:logit_limit=3", "ppo:mixture_epsilon=0.05")

EXPERIMENTS = (
    *({"benchmark": "continual-cartpole", "chain": chain, "members": 6} for chain in CHAINS),
    *({"benchmark": "continual-cartpole", "agent": agent, "members": 6} for agent in EXPLORING),
)
