"""Agents: how a benchmark is learned. The table gives each its name on disk; a name is never given to another."""

AGENTS = {
    "supervised": "agents.supervised.Supervised",
    "dqn": "agents.dqn.DQN",
    "pqn": "agents.pqn.PQN",
    "ppo": "agents.ppo.PPO",
    "impala": "agents.impala.IMPALA",
}
