"""A plain PyTorch loop on changing tasks, with three lines of interventions: `python examples/attach_supervised.py`.

Random labels of random inputs, others in every task; prints the accuracy over each task. One seed and few tasks: the loop is the point, not
the numbers.
"""

import sys

import torch
import torch.nn.functional as F
from torch import nn

from plasticity_rl.attach import attach
from plasticity_rl.interventions import Intervention, NormalizeAndProject, ReDo

CHAIN = (NormalizeAndProject(), ReDo(every=200))


def train(chain: tuple[Intervention, ...], tasks: int, updates: int) -> list[float]:
    """Mean accuracy over the updates of each task."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for reads in (64, 100, 100):
        layers += [nn.Linear(reads, 100), nn.LayerNorm(100), nn.ReLU()]
    module = nn.Sequential(*layers, nn.Linear(100, 10))
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    inputs = torch.randn(1200, 64)
    plan = attach(module, optimizer, chain, inputs[:2])
    accuracies = []
    for _ in range(tasks):
        labels, right = torch.randint(10, (1200,)), 0.0
        for _ in range(updates):
            batch = torch.randint(1200, (32,))
            logits = module(inputs[batch])
            loss = F.cross_entropy(logits, labels[batch]) + plan.penalty()  # 1
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            plan.after_step()  # 2
            right += (logits.argmax(1) == labels[batch]).float().mean().item()
        accuracies.append(right / updates)
        plan.task_boundary()  # 3
    return accuracies


if __name__ == "__main__":
    words = sys.argv[1:] or ["5", "1000"]
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        print("usage: python examples/attach_supervised.py [TASKS UPDATES] - how many tasks, and updates of each: 5 1000", file=sys.stderr)
        sys.exit(2)
    tasks, updates = map(int, words)
    print(*(f"{accuracy:.3f}" for accuracy in train(CHAIN, tasks, updates)))
