"""What a network says of an action's value: a number, a distribution over fixed atoms, or quantiles; one class each, one shape.

`outputs` is how many numbers an action has; `expected(outputs)` (batch, ..., actions, outputs) -> values (batch, actions);
`losses(chosen, after, returns, discounts, fractions)` compares the chosen action's outputs with the target network's at the best next one.
"""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class ValueHead(Protocol):
    """What the heads share."""

    @property
    def outputs(self) -> int: ...
    @property
    def fractions(self) -> int:
        """How many quantile fractions an example is asked at; 0 where it is not."""
        ...

    def expected(self, outputs: Tensor) -> Tensor: ...
    def losses(self, chosen: Tensor, after: Tensor, returns: Tensor, discounts: Tensor, fractions: Tensor | None) -> Tensor: ...


class Scalar(NamedTuple):
    """One number, by the Huber loss of its temporal-difference error."""

    outputs: int = 1
    fractions: int = 0

    def expected(self, outputs: Tensor) -> Tensor:
        return outputs[..., 0]

    def losses(self, chosen: Tensor, after: Tensor, returns: Tensor, discounts: Tensor, fractions: Tensor | None) -> Tensor:
        """`chosen` and `after` (batch, 1)."""
        return F.huber_loss(chosen[:, 0], returns + discounts * after[:, 0], reduction="none")


class Categorical(NamedTuple):
    """Probabilities of atoms between -limit and limit, learned by cross-entropy: with the target's whole distribution, moved by the reward
    and put back on the atoms (C51; Bellemare et al. 2017, arXiv 1707.06887), or with its mean, shared by the two atoms around it (two-hot).
    """

    outputs: int
    limit: float
    whole: bool
    fractions: int = 0

    def atoms(self, like: Tensor) -> Tensor:
        return torch.linspace(-self.limit, self.limit, self.outputs, device=like.device, dtype=like.dtype)

    def expected(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(-1) @ self.atoms(outputs)

    def losses(self, chosen: Tensor, after: Tensor, returns: Tensor, discounts: Tensor, fractions: Tensor | None) -> Tensor:
        """`chosen` and `after` (batch, atoms), logits."""
        probabilities = after.softmax(-1)
        if self.whole:
            places = returns[:, None] + discounts[:, None] * self.atoms(after)
        else:
            places = (returns + discounts * self.expected(after))[:, None]
            probabilities = torch.ones_like(places)
        return -(self.project(places, probabilities) * chosen.log_softmax(-1)).sum(-1)

    def project(self, places: Tensor, probabilities: Tensor) -> Tensor:
        """Probabilities (batch, n) of values at `places` (batch, n), each shared between the two atoms around it: (batch, atoms)."""
        width = 2 * self.limit / (self.outputs - 1)
        near = places.clamp(-self.limit, self.limit)[:, None, :] - self.atoms(places)[None, :, None]
        return ((1 - near.abs() / width).clamp(min=0) * probabilities[:, None, :]).sum(-1)


class Quantiles(NamedTuple):
    """Values at random fractions of the distribution, by the quantile Huber loss (IQN; Dabney et al. 2018, arXiv 1806.06923)."""

    fractions: int
    outputs: int = 1

    def expected(self, outputs: Tensor) -> Tensor:
        return outputs[..., 0].mean(1)

    def losses(self, chosen: Tensor, after: Tensor, returns: Tensor, discounts: Tensor, fractions: Tensor | None) -> Tensor:
        """`chosen` and `after` (batch, K, 1); `fractions` (batch, K) those of `chosen`. Summed over them, mean over the target's."""
        assert fractions is not None
        goals = returns[:, None] + discounts[:, None] * after[..., 0]
        errors = goals[:, None, :] - chosen  # (batch, K, K of the target)
        huber = F.huber_loss(chosen.expand_as(errors), goals[:, None, :].expand_as(errors), reduction="none")
        return ((fractions[..., None] - (errors < 0).to(errors.dtype)).abs() * huber).mean(-1).sum(-1)


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
