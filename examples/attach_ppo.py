"""PPO in one file, as people write it who want to see every line, with the lines of plasticity-rl marked by numbers:
`python examples/attach_ppo.py`.

CartPole-v1 whose observations get another constant offset in each task, of which the agent is not told. Prints the mean return over each
task, and what share of the units was dormant at its end. One seed: the loop is the point, not the numbers.
"""

import sys

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from plasticity_rl.attach import attach  # 1
from plasticity_rl.attach.diagnosis import Diagnosis  # 2

CHAIN = ("l2-init:strength=1e-3", "redo:tau=0.1,every=320")
ENVS, STEPS, EPOCHS, MINIBATCHES = 8, 64, 4, 4
GAMMA, LAMBDA, CLIP, ENTROPY, VALUE, LEARNING_RATE = 0.99, 0.95, 0.2, 0.01, 0.5, 1e-3


class Agent(nn.Module):
    """A policy and a value on one trunk."""

    def __init__(self, inputs: int, actions: int, width: int = 64) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.policy, self.value = nn.Linear(width, actions), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latent = self.trunk(x)
        return self.policy(latent), self.value(latent)[:, 0]


def advantages_of(rewards: Tensor, values: Tensor, ends: Tensor, last: Tensor) -> Tensor:
    """Generalised advantages of (steps, envs); `ends[t]` is 1 if step t ended an episode."""
    found, after = torch.zeros_like(rewards), torch.zeros_like(last)
    for t in reversed(range(len(rewards))):
        following = last if t == len(rewards) - 1 else values[t + 1]
        surprise = rewards[t] + GAMMA * following * (1 - ends[t]) - values[t]
        found[t] = after = surprise + GAMMA * LAMBDA * (1 - ends[t]) * after
    return found


def train(tasks: int, rollouts: int, chain: tuple[str, ...] = CHAIN, seed: int = 0) -> list[tuple[float, float]]:
    """Mean return of the episodes of each task, and the share of dormant units at its end."""
    torch.manual_seed(seed)
    numbers = np.random.default_rng(seed)
    same_step = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
    envs = gymnasium.make_vec("CartPole-v1", ENVS, vectorization_mode="sync", vector_kwargs=same_step)
    agent = Agent(4, 2)
    optimizer = torch.optim.Adam(agent.parameters(), LEARNING_RATE)
    plan = attach(agent, optimizer, chain, torch.zeros(2, 4))  # 3
    diagnosis = Diagnosis(agent)  # 4
    observations, score, results = envs.reset(seed=seed)[0], np.zeros(ENVS), []
    for _ in range(tasks):
        offset, returns = numbers.uniform(-2, 2, 4), []
        for _ in range(rollouts):
            seen, actions, log_probs = torch.zeros(STEPS, ENVS, 4), torch.zeros(STEPS, ENVS), torch.zeros(STEPS, ENVS)
            rewards, values, ends = torch.zeros(STEPS, ENVS), torch.zeros(STEPS, ENVS), torch.zeros(STEPS, ENVS)
            with torch.no_grad():
                for t in range(STEPS):
                    seen[t] = torch.as_tensor(observations + offset)
                    logits, values[t] = agent(seen[t])
                    drawn = Categorical(logits=logits)
                    actions[t] = drawn.sample()
                    log_probs[t] = drawn.log_prob(actions[t])
                    observations, reward, ended, cut, _ = envs.step(actions[t].long().numpy())
                    over = ended | cut
                    rewards[t], ends[t] = torch.as_tensor(reward), torch.as_tensor(over)
                    score += reward
                    returns += score[over].tolist()
                    score[over] = 0
                last = agent(torch.as_tensor(observations + offset, dtype=torch.float32))[1]
            advantages = advantages_of(rewards, values, ends, last)
            batch = [each.flatten(0, 1) for each in (seen, actions, log_probs, advantages, advantages + values)]
            for _ in range(EPOCHS):
                for part in torch.randperm(STEPS * ENVS).chunk(MINIBATCHES):
                    x, action, log_prob, advantage, target = (each[part] for each in batch)
                    logits, value = agent(x)
                    policy = Categorical(logits=logits)
                    ratio = (policy.log_prob(action) - log_prob).exp()
                    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                    gain = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).mean()
                    loss = VALUE * (value - target).square().mean() - gain - ENTROPY * policy.entropy().mean()
                    loss = loss + plan.penalty()  # 5
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                    optimizer.step()
                    plan.after_step()  # 6
        found = diagnosis.measure((batch[0],))  # 7
        results.append((float(np.mean(returns)), found["dormant_fraction"]))  # 8
        plan.task_boundary()  # 9
    envs.close()
    return results


if __name__ == "__main__":
    words = sys.argv[1:] or ["3", "60"]
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        print("usage: python examples/attach_ppo.py [TASKS ROLLOUTS] - how many tasks, and rollouts of each: 3 60", file=sys.stderr)
        sys.exit(2)
    for number, (score, dormant) in enumerate(train(*map(int, words))):
        print(f"task {number}: mean return {score:.0f}, dormant units {dormant:.0%}")
