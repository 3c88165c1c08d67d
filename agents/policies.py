"""Policies over a few actions: distributions given by logits (..., actions)."""

import torch
from torch import Tensor


def sample(logits: Tensor, uniform: Tensor) -> Tensor:
    """An action for each row, from as many numbers in [0, 1) as there are actions: the Gumbel-max trick."""
    tiny = torch.finfo(uniform.dtype).tiny
    return (logits - (-uniform.clamp(min=tiny).log()).clamp(min=tiny).log()).argmax(-1)


def log_probability(logits: Tensor, actions: Tensor) -> Tensor:
    """Of the actions (...)."""
    return logits.log_softmax(-1).gather(-1, actions[..., None])[..., 0]


def entropy(logits: Tensor) -> Tensor:
    """In nats, (...)."""
    logs = logits.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1)
