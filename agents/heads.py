"""Representations of an action value: a scalar, a distribution over fixed atoms, or quantiles; one class each, with one interface.

`outputs` is the number of outputs per action; `expected(outputs)` maps (batch, ..., actions, outputs) to values (batch, actions);
`losses(chosen, after, returns, discounts, fractions)` compares the outputs of the chosen action with the target network's for the best next
action.
"""

import math
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class ValueHead(Protocol):
    """Interface of an action-value head."""

    @property
    def outputs(self) -> int: ...
    @property
    def fractions(self) -> int:
        """Quantile fractions per example; 0 without quantiles."""
        ...

    def expected(self, outputs: Tensor) -> Tensor: ...
    def losses(self, chosen: Tensor, after: Tensor, returns: Tensor, discounts: Tensor, fractions: Tensor | None) -> Tensor: ...


class Scalar(NamedTuple):
    """Scalar value, with the Huber loss of its temporal-difference error."""

    outputs: int = 1
    fractions: int = 0

    def expected(self, outputs: Tensor) -> Tensor:
        return outputs[..., 0]

    def losses(self, chosen: Tensor, after: Tensor, returns: Tensor, discounts: Tensor, fractions: Tensor | None) -> Tensor:
        """Losses (batch,); `chosen` and `after` are values (batch, 1)."""
        return F.huber_loss(chosen[:, 0], returns + discounts * after[:, 0], reduction="none")


class Categorical(NamedTuple):
    """Distribution over atoms from -v_max to v_max, learned by cross-entropy. If `whole`, the target is the full next distribution, shifted
    by the reward and projected onto the atoms (C51; Bellemare et al. 2017, arXiv 1707.06887); otherwise its mean, shared by the two nearest
    atoms (two-hot).
    """

    outputs: int
    v_max: float
    whole: bool
    fractions: int = 0

    def atoms(self, like: Tensor) -> Tensor:
        return torch.linspace(-self.v_max, self.v_max, self.outputs, device=like.device, dtype=like.dtype)

    def expected(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(-1) @ self.atoms(outputs)

    def losses(self, chosen: Tensor, after: Tensor, returns: Tensor, discounts: Tensor, fractions: Tensor | None) -> Tensor:
        """Losses (batch,); `chosen` and `after` are logits (batch, atoms)."""
        probabilities = after.softmax(-1)
        if self.whole:
            places = returns[:, None] + discounts[:, None] * self.atoms(after)
        else:
            places = (returns + discounts * self.expected(after))[:, None]
            probabilities = torch.ones_like(places)
        return -(self.project(places, probabilities) * chosen.log_softmax(-1)).sum(-1)

    def project(self, places: Tensor, probabilities: Tensor) -> Tensor:
        """Project `probabilities` (batch, n) of values at `places` (batch, n) onto the two nearest atoms each: (batch, atoms)."""
        width = 2 * self.v_max / (self.outputs - 1)
        near = places.clamp(-self.v_max, self.v_max)[:, None, :] - self.atoms(places)[None, :, None]
        return ((1 - near.abs() / width).clamp(min=0) * probabilities[:, None, :]).sum(-1)


class Quantiles(NamedTuple):
    """Values at random quantile fractions, with the quantile Huber loss (IQN; Dabney et al. 2018, arXiv 1806.06923)."""

    fractions: int
    outputs: int = 1

    def expected(self, outputs: Tensor) -> Tensor:
        return outputs[..., 0].mean(1)

    def losses(self, chosen: Tensor, after: Tensor, returns: Tensor, discounts: Tensor, fractions: Tensor | None) -> Tensor:
        """Losses (batch,), summed over the fractions of `chosen` and averaged over those of `after`.

        `chosen` and `after` are (batch, K, 1); `fractions` (batch, K) are those of `chosen`.
        """
        assert fractions is not None
        goals = returns[:, None] + discounts[:, None] * after[..., 0]
        errors = goals[:, None, :] - chosen  # (batch, K, K of the target)
        huber = F.huber_loss(chosen.expand_as(errors), goals[:, None, :].expand_as(errors), reduction="none")
        return ((fractions[..., None] - (errors < 0).to(errors.dtype)).abs() * huber).mean(-1).sum(-1)


def among(values: Tensor, num_actions: Tensor | None, other: float | None = None) -> Tensor:
    """Action values or logits (..., actions), with the lowest finite number, or `other`, for actions after the first `num_actions` (...):
    they are never chosen, and have no probability. None: all remain."""
    if num_actions is None:
        return values
    there = torch.arange(values.shape[-1], device=values.device) < num_actions[..., None]
    return torch.where(there, values, torch.finfo(values.dtype).min if other is None else other)


def centre(values: Tensor, num_actions: Tensor | None) -> Tensor:
    """Mean of the first `num_actions` (...) of `values` (..., actions), (..., 1); None: of all."""
    if num_actions is None:
        return values.mean(-1, keepdim=True)
    return among(values, num_actions, 0.0).sum(-1, keepdim=True) / num_actions[..., None]


def epsilon_greedy(greedy: Tensor, uniform: Tensor, epsilon: Tensor, num_actions: Tensor | int) -> Tensor:
    """The `greedy` actions (B,), or with probability `epsilon` random ones among `num_actions`, by numbers `uniform` (B, 2) in [0, 1)."""
    explore, which = uniform.unbind(-1)
    return torch.where(explore < epsilon, (which * num_actions).long(), greedy)


def sample(logits: Tensor, uniform: Tensor) -> Tensor:
    """Sample an action per row by the Gumbel-max trick, from one uniform number in [0, 1) per action."""
    tiny = torch.finfo(uniform.dtype).tiny
    return (logits - (-uniform.clamp(min=tiny).log()).clamp(min=tiny).log()).argmax(-1)


def log_probability(logits: Tensor, actions: Tensor) -> Tensor:
    """Log-probabilities of the actions, (...)."""
    return logits.log_softmax(-1).gather(-1, actions[..., None])[..., 0]


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the policy in nats, (...)."""
    logs = logits.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1)


def policy_logits(logits: Tensor, limit: float, epsilon: float, num_actions: Tensor | None = None) -> Tensor:
    """Logits (..., actions) of a policy whose logits stay within `limit` of their mean, unless it is 0, and that takes a uniformly random
    action with probability `epsilon`; all among the first `num_actions`."""
    if limit:
        centred = logits - centre(logits, num_actions)
        logits = limit * (centred / limit).tanh()
    logits = among(logits, num_actions)
    if epsilon:
        if num_actions is None:
            uniform = torch.full_like(logits, math.log(epsilon / logits.shape[-1]))
        else:
            uniform = (epsilon / num_actions[..., None]).log()
        logs = logits.log_softmax(-1) + math.log1p(-epsilon)
        logits = among(torch.logaddexp(among(logs, num_actions, 0.0), uniform), num_actions)  # of the lowest number, no second derivative
    return logits
