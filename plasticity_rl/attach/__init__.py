"""Interventions on any nn.Module with a torch.optim optimizer: `attach`."""

from plasticity_rl.attach.plan import Plan as Plan
from plasticity_rl.attach.plan import attach as attach
