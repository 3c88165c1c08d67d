"""Agents: learning algorithms. The table maps names on disk to classes; a name is never reused for another class."""

AGENTS = {
    "supervised": "agents.supervised.Supervised",
    "dqn": "agents.dqn.DQN",
    "pqn": "agents.pqn.PQN",
    "ppo": "agents.ppo.PPO",
    "impala": "agents.impala.IMPALA",
    "sac": "agents.sac.SAC",
    "td3": "agents.td3.TD3",
}
