"""Base class of metrics in people's own modules, which an experiment names in its field `metrics`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from plasticity_rl.networks.layers import Layers, Params


class Observed(NamedTuple):
    """ONE network on the batch that it has just learned from."""

    params: Params
    layers: Layers
    units: Params
    """hidden layer -> its units after the activation, (samples, units)"""
    raw: Params
    """hidden layer -> its units before the activation"""
    outputs: Tensor
    """outputs of all heads, (batch, outputs)"""


@dataclass(frozen=True)
class NetworkMetric(ABC):
    """A metric of people's own, a frozen dataclass with defaults; computed every `diagnose_every` updates, also for untrained networks.

    In metrics.csv it is named by the path of its class, `my_metrics.Positive/hidden0`, and `my_metrics.Positive_fresh/hidden0` untrained.
    """

    @abstractmethod
    def measure(self, seen: Observed) -> dict[str, Tensor]:
        """Key, such as a layer's name, -> scalar; the key "" for one value per network. Lifted over members: no `.item()`, no shapes that
        depend on data."""
