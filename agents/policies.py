"""Policies that agents sample from: a choice among actions, and Gaussian numbers; one class each, with one interface."""

from typing import NamedTuple, Protocol

from torch import Tensor

from agents import gaussian, heads


class Policy(Protocol):
    """Policy in (batch) states."""

    def sample(self, drawn: dict[str, Tensor]) -> Tensor:
        """Actions by the random numbers of `ActingAgent.draws`."""
        ...

    def log_probability(self, actions: Tensor) -> Tensor:
        """Log-probabilities, or log-densities, (batch,)."""
        ...

    @property
    def entropy(self) -> Tensor:
        """Entropy in nats, (batch,)."""
        ...


class Choice(NamedTuple):
    """Choice among actions by `logits` (batch, actions)."""

    logits: Tensor

    def sample(self, drawn: dict[str, Tensor]) -> Tensor:
        return heads.sample(self.logits, drawn["uniform"])

    def log_probability(self, actions: Tensor) -> Tensor:
        return heads.log_probability(self.logits, actions)

    @property
    def entropy(self) -> Tensor:
        return heads.entropy(self.logits)


class Gaussian(NamedTuple):
    """Independent Gaussians with `means` (batch, numbers) and `log_stds` (numbers,), not bounded."""

    means: Tensor
    log_stds: Tensor

    def sample(self, drawn: dict[str, Tensor]) -> Tensor:
        return self.means + self.log_stds.exp() * drawn["normal"]

    def log_probability(self, actions: Tensor) -> Tensor:
        return gaussian.log_density(actions, self.means, self.log_stds)

    @property
    def entropy(self) -> Tensor:
        return gaussian.entropy(self.log_stds).expand(self.means.shape[:-1])
